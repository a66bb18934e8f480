"""/api/health is 503 while nothing can be written, whatever reads say, and never a 500."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import unit_of_work
from bittrade.errors import DatabaseUnavailable
from bittrade.services import health, market, write_probe
from drills.mariadb import PrivateMariaDB
from tests.database.test_meaning import answer_with
from tests.fixtures import set_price, wait_until


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_REMEMBERED_S", 0.0)
    monkeypatch.setattr(write_probe, "_GOOD_FOR_S", 0.0)
    monkeypatch.setattr(health, "_memory", health._Memory())


def status(app: Flask) -> int:
    return app.test_client().get("/api/health").status_code


def test_a_database_that_could_not_store_is_down_until_it_has_been_quiet_for_a_while(
    new_app: Callable[..., Flask], mariadb_url: str, databases: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases(mariadb_url)
    app = new_app(DATABASE_URL=mariadb_url)
    set_price(app)
    assert status(app) == 200
    with app.app_context(), pytest.raises(DatabaseUnavailable):
        unit_of_work.commit(answer_with(1114))
    assert status(app) == 503
    monkeypatch.setattr(write_probe, "_STORAGE_FAULT_S", 0.0)
    assert status(app) == 200


@contextmanager
def locked_against_writes(server: PrivateMariaDB) -> Iterator[None]:
    """As a backup does it: reads go on, commits wait."""
    with server.connect_as_root() as connection, connection.cursor() as cursor:
        cursor.execute("FLUSH TABLES WITH READ LOCK")
        try:
            yield
        finally:
            cursor.execute("UNLOCK TABLES")


@pytest.mark.needs("mariadbd")
def test_a_database_whose_commits_hang_is_down_and_redis_is_not(
    server: PrivateMariaDB, app_on: Callable[[str], Flask]
) -> None:
    app = app_on(server.url)
    set_price(app)
    wait_until(lambda: status(app) == 200, timeout_s=60)
    with locked_against_writes(server):
        answer = app.test_client().get("/api/health")
        assert (answer.status_code, answer.get_json()["redis"]) == (503, "connected")
    wait_until(lambda: status(app) == 200, timeout_s=60)


def test_what_nobody_thought_of_is_down_and_no_bug(
    new_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise RuntimeError("can't start new thread")

    app = new_app()
    monkeypatch.setattr(market, "find_price_age_ms", fail)
    assert status(app) == 503


def test_on_sqlite_it_writes_too(new_app: Callable[..., Flask], sqlite_url: str, databases: Callable) -> None:
    databases(sqlite_url)
    app = new_app(DATABASE_URL=sqlite_url)
    assert status(app) == 200
    with app.app_context(), unit_of_work.reading() as session:
        assert session.scalar(sa.text("SELECT COUNT(*) FROM write_probes")) == 1
