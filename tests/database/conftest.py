"""Servers of their own, to be made read-only, full and unready."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import flask_migrate
import pytest
from flask import Flask

from bittrade.extensions import db
from drills.mariadb import PrivateMariaDB
from drills.pair import ReplicatedPair
from tests.fixtures import MIGRATIONS


@pytest.fixture(scope="session")
def new_server() -> Iterator[Callable[..., PrivateMariaDB]]:
    """Start one more MariaDB at each call; all end with the run."""
    with ExitStack() as stack:

        def make(**settings: object) -> PrivateMariaDB:
            folder = Path(tempfile.mkdtemp(prefix="bt-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            folder.chmod(0o711)
            server = PrivateMariaDB(folder / "m", **settings)
            stack.callback(server.close)
            server.install()
            return server

        yield make


@pytest.fixture(scope="session")
def server(new_server: Callable[..., PrivateMariaDB]) -> PrivateMariaDB:
    return new_server()


@pytest.fixture(scope="module")
def pair() -> Iterator[ReplicatedPair]:
    """Two servers, one the other's replica."""
    with tempfile.TemporaryDirectory(prefix="bt-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o711)
        made = ReplicatedPair(Path(folder) / "p")
        stack.callback(made.close)
        made.install()
        yield made


@pytest.fixture
def app_on(new_app: Callable[..., Flask]) -> Callable[[str], Flask]:
    """Make an app on a database, migrated."""

    def make(url: str) -> Flask:
        app = new_app(DATABASE_URL=url)
        with app.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)
            db.engine.dispose()
        return app

    return make
