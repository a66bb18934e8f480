"""Services are called as their entry points call them: inside the application's context."""

from collections.abc import Iterator

import pytest
from flask import Flask


@pytest.fixture
def inside(app: Flask) -> Iterator[Flask]:
    """The run's application, with its context entered."""
    with app.app_context():
        yield app
