"""Databases in which nothing was made yet, on MariaDB and on SQLite, for tests of the migrations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import flask_migrate
import pytest
from flask import Flask

from bittrade.extensions import db
from tests.fixtures import MIGRATIONS, build_app


def upgrade() -> None:
    flask_migrate.upgrade(directory=MIGRATIONS)


@pytest.fixture(params=["mariadb", "sqlite"], scope="module")
def new_database(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes databases in which there is nothing yet, on MariaDB and once more on SQLite."""
    if request.param == "mariadb":
        request.getfixturevalue("mariadb_url")  # skips where there is none
    new: Callable[[], str] = request.getfixturevalue(f"new_{request.param}")
    return new


@contextmanager
def using(url: str, redis_url: str) -> Iterator[Flask]:
    app = build_app(DATABASE_URL=url, REDIS_URL=redis_url)
    with app.app_context():
        yield app
        db.engine.dispose()


@pytest.fixture
def empty(new_database: Callable[[], str], redis_url: str) -> Iterator[Flask]:
    """An app on a database of its own in which nothing was made yet."""
    with using(new_database(), redis_url) as app:
        yield app
