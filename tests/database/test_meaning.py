"""What the databases' errors mean, and what becomes of them: never a 500 for what passes, never a 503 for a bug."""

import sqlite3
from collections.abc import Callable

import pymysql
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import exc
from sqlalchemy.orm import Session

from bittrade import unit_of_work
from bittrade.database import Meaning, meaning_of
from bittrade.errors import DatabaseUnavailable
from bittrade.extensions import db

PASSING = {
    1205: Meaning.RETRY,
    1213: Meaning.RETRY,
    1020: Meaning.RETRY,
    1412: Meaning.RETRY,
    1615: Meaning.RETRY,
    1689: Meaning.RETRY,
    1317: Meaning.LATER,
    1969: Meaning.LATER,
    3024: Meaning.LATER,
    1041: Meaning.LATER,
    1206: Meaning.LATER,
    1637: Meaning.LATER,
    1021: Meaning.STORAGE,
    1026: Meaning.STORAGE,
    1030: Meaning.STORAGE,
    1114: Meaning.STORAGE,
    1180: Meaning.STORAGE,
    1598: Meaning.STORAGE,
    3019: Meaning.STORAGE,
    1047: Meaning.AWAY,
    1053: Meaning.AWAY,
    1156: Meaning.AWAY,
    1159: Meaning.AWAY,
    1290: Meaning.AWAY,
    1792: Meaning.AWAY,
    1835: Meaning.AWAY,
    1836: Meaning.AWAY,
    1927: Meaning.AWAY,
    3032: Meaning.AWAY,
    9001: Meaning.AWAY,
    1040: Meaning.REFUSED,
    1142: Meaning.REFUSED,
    1146: Meaning.REFUSED,
    1226: Meaning.REFUSED,
    4151: Meaning.REFUSED,
}
BUGS = (1054, 1062, 1064, 1153, 1264, 1364, 1406, 1452, 1644, 3819, 4025)


def answer_with(number: int) -> Callable[[Session], object]:
    """Work that the server answers with the error of this number."""
    statement = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'as asked'"
    return lambda session: session.execute(sa.text(statement))


@pytest.mark.parametrize(("number", "meaning"), PASSING.items())
def test_what_passes_is_a_503_or_a_retry_and_what_leads_nowhere_is_thrown_away(
    on_mariadb: Flask, number: int, meaning: Meaning
) -> None:
    calls = []
    connections = set()
    db.engine.dispose()  # what tests before this one left in the pool would be handed out in between

    def work(session: Session) -> None:
        calls.append(1)
        connections.add(session.scalar(sa.text("SELECT CONNECTION_ID()")))
        answer_with(number)(session)

    with pytest.raises(DatabaseUnavailable) as refused:
        unit_of_work.commit(work)
    assert refused.value.facts["retry_after_s"] >= 1
    assert len(calls) == (unit_of_work.MAX_TRIES if meaning is Meaning.RETRY else 1)
    with pytest.raises(DatabaseUnavailable), unit_of_work.reading() as session:
        answer_with(number)(session)
    with db.engine.connect() as connection:
        is_same = connection.scalar(sa.text("SELECT CONNECTION_ID()")) in connections
    assert is_same is (meaning is not Meaning.AWAY)


@pytest.mark.parametrize("number", BUGS)
def test_a_broken_rule_and_a_wrong_statement_stay_bugs(on_mariadb: Flask, number: int) -> None:
    with pytest.raises(exc.DBAPIError):
        unit_of_work.commit(answer_with(number))


def test_with_the_first_of_them_the_whole_pool_is_thrown_away(on_mariadb: Flask) -> None:
    with db.engine.connect() as one, db.engine.connect() as other:
        before = {connection.scalar(sa.text("SELECT CONNECTION_ID()")) for connection in (one, other)}
    with pytest.raises(DatabaseUnavailable):
        unit_of_work.commit(answer_with(1047))
    with db.engine.connect() as one, db.engine.connect() as other:
        after = {connection.scalar(sa.text("SELECT CONNECTION_ID()")) for connection in (one, other)}
    assert not before & after


@pytest.mark.parametrize(
    "wrong", [b"\x03\x00\x00\x07abc", b"\x00\x00\x00\x01", b"\xff" * 64, b"\x05\x00\x00\x01\xfc"]
)
def test_a_connection_that_lost_step_is_thrown_away(on_mariadb: Flask, wrong: bytes) -> None:
    class Garbled:
        """The driver's own buffered reader, with something else in front of what the server sends."""

        def __init__(self, reader: object) -> None:
            self._reader, self._first = reader, wrong

        def read(self, size: int) -> bytes:
            first, self._first = self._first[:size], self._first[size:]
            return first or self._reader.read(size)

        def close(self) -> None:
            self._reader.close()

    def work(session: Session) -> None:
        driver = session.connection().connection.dbapi_connection
        driver._sock.settimeout(1)
        driver._read_timeout = 1
        driver._rfile = Garbled(driver._rfile)
        session.execute(sa.text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        unit_of_work.commit(work)
    assert unit_of_work.commit(lambda session: session.scalar(sa.text("SELECT 1"))) == 1


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (pymysql.InternalError("Packet sequence number wrong - got 3 expected 1"), Meaning.AWAY),
        (pymysql.InterfaceError(0, ""), Meaning.AWAY),
        (pymysql.OperationalError(2013, "Lost connection"), Meaning.AWAY),
        (pymysql.OperationalError(2061, "RSA Encryption not supported"), Meaning.REFUSED),
        (pymysql.ProgrammingError("Cursor closed"), Meaning.BUG),
        (exc.TimeoutError("QueuePool limit reached"), Meaning.LATER),
        (KeyError("a bug"), Meaning.BUG),
        (None, Meaning.BUG),
    ],
)
def test_the_driver_s_own_errors(error: BaseException | None, meaning: Meaning) -> None:
    assert meaning_of(error) is meaning


# --- SQLite -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("SQLITE_BUSY", Meaning.RETRY),
        ("SQLITE_BUSY_SNAPSHOT", Meaning.RETRY),
        ("SQLITE_FULL", Meaning.STORAGE),
        ("SQLITE_IOERR_WRITE", Meaning.STORAGE),
        ("SQLITE_READONLY_DBMOVED", Meaning.AWAY),
        ("SQLITE_CANTOPEN", Meaning.AWAY),
        ("SQLITE_INTERRUPT", Meaning.LATER),
        ("SQLITE_CONSTRAINT_CHECK", Meaning.BUG),
        ("SQLITE_MISMATCH", Meaning.BUG),
    ],
)
def test_sqlite_s_codes(name: str, meaning: Meaning) -> None:
    error = sqlite3.OperationalError("as asked")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
    assert meaning_of(error) is meaning


def test_a_full_sqlite_is_a_503_and_a_wrong_statement_a_bug(on_sqlite: Flask) -> None:
    def fill(session: Session) -> None:
        pages = session.scalar(sa.text("PRAGMA page_count"))
        session.execute(sa.text(f"PRAGMA max_page_count = {pages}"))
        session.execute(sa.text("CREATE TABLE filling (x BLOB)"))
        session.execute(sa.text("INSERT INTO filling VALUES (zeroblob(1000000))"))

    with pytest.raises(DatabaseUnavailable):
        unit_of_work.commit(fill)
    db.engine.dispose()  # the limit goes with its connection
    with pytest.raises(exc.OperationalError):
        unit_of_work.commit(lambda session: session.execute(sa.text("SELEKT 1")))
