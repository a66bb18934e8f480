"""`db upgrade` on MariaDB: it waits as long as an ALTER takes, has its turn alone, and leaves nothing running."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from bittrade.database import migrating as module
from bittrade.database.migrating import TABLE, MigrationFailed, migrating, migration_engine
from tests.fixtures import ROOT, wait_until


@pytest.fixture
def url(mariadb_url: str, new_mariadb: Callable[[], str]) -> str:
    return new_mariadb()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = migration_engine(sa.make_url(url))
    yield made
    made.dispose()


@pytest.fixture
def onlooker(url: str) -> Iterator[Connection]:
    made = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with made.connect() as connection:
        yield connection


def running(onlooker: Connection, words: str) -> list[int]:
    """Connections to this test's database that are busy with a statement of these words."""
    found = onlooker.execute(
        sa.text(
            "SELECT id FROM information_schema.processlist"
            " WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info LIKE :words"
        ),
        {"words": f"%{words}%"},
    )
    return list(found.scalars())


def turns(onlooker: Connection) -> int:
    return int(onlooker.exec_driver_sql(f"SELECT COUNT(*) FROM {TABLE}").scalar() or 0)  # noqa: S608


def flask(url: str, *command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", *command],
        env=os.environ | {"DATABASE_URL": url},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_requests_time_limits_are_not_the_migration_s(engine: Engine) -> None:
    with migrating(engine) as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        assert (driver._read_timeout, driver._write_timeout) == (None, None)
        assert connection.scalar(sa.text("SELECT @@max_statement_time")) == 0


def test_a_second_one_waits_and_says_for_whom(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.2)
    waiting = f"Another migration .* process {os.getpid()}"
    with migrating(engine), pytest.raises(MigrationFailed, match=waiting), migrating(engine):
        pytest.fail("two at once")
    with migrating(engine) as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_the_turn_of_one_that_was_killed_is_taken_and_its_statement_ended(
    url: str, engine: Engine, onlooker: Connection
) -> None:
    program = (
        "import sys, sqlalchemy as sa; from bittrade.database.migrating import *\n"
        "with migrating(migration_engine(sa.make_url(sys.argv[1]))) as c: c.execute(sa.text('SELECT SLEEP(300)'))"
    )
    killed = subprocess.Popen([sys.executable, "-c", program, url], cwd=ROOT)
    wait_until(lambda: bool(running(onlooker, "SLEEP(300)")), timeout_s=60)
    killed.kill()
    killed.wait()
    assert turns(onlooker) == 1
    onlooker.exec_driver_sql(f"UPDATE {TABLE} SET renewed_at = renewed_at - INTERVAL 1 HOUR")  # noqa: S608
    with migrating(engine):
        assert not running(onlooker, "SLEEP(300)")
    assert turns(onlooker) == 0


def test_a_migration_that_lost_its_turn_ends(
    engine: Engine, onlooker: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_S", 0.05)
    with pytest.raises(MigrationFailed, match="stopped half way"), migrating(engine) as connection:
        be_robbed(onlooker, connection)


def be_robbed(onlooker: Connection, connection: Connection) -> None:
    onlooker.exec_driver_sql(f"UPDATE {TABLE} SET owner = 'another'")  # noqa: S608
    connection.execute(sa.text("SELECT SLEEP(300)"))


def test_sigterm_leaves_no_statement_and_no_turn(url: str, onlooker: Connection) -> None:
    assert flask(url, "db", "upgrade", "0003").wait(120) == 0
    onlooker.exec_driver_sql("LOCK TABLES users WRITE")
    upgrading = flask(url, "db", "upgrade", "0004")
    with sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT").connect() as other:
        wait_until(lambda: bool(running(other, "CREATE INDEX")), timeout_s=60)
        upgrading.send_signal(signal.SIGTERM)
        assert upgrading.wait(60) == 128 + signal.SIGTERM
        assert not running(other, "CREATE INDEX")
        onlooker.exec_driver_sql("UNLOCK TABLES")
        assert turns(other) == 0
    assert flask(url, "db", "upgrade").wait(120) == 0


@pytest.mark.parametrize("wrong", ["password", "port"])
def test_a_failure_is_one_clear_line(url: str, nobody_listens: int, wrong: str) -> None:
    parts = sa.make_url(url)
    parts = (
        parts.set(port=nobody_listens) if wrong == "port" else parts.set(username="nobody", password="s3cret")
    )
    failed = flask(parts.render_as_string(hide_password=False), "db", "upgrade")
    output, _ = failed.communicate(timeout=120)
    assert failed.returncode == 1
    assert "The migration could not begin" in output.splitlines()[-1]
    assert "Traceback" not in output
    assert "s3cret" not in output
