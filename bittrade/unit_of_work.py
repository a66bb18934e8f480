"""A unit of work: one database transaction around one business action.

`commit(work)` runs `work(session)`, commits once, and rolls back on any error. Deadlocks, lock time-outs and their like run
the whole function again, at most four times and for 5 s, never a single statement (MariaDB rolls back only the statement on 1205).
An error *at* COMMIT is not retried: the work may already be durable. `reading()` gives its connection back at its end.

No network call belongs inside either.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from flask import current_app
from sqlalchemy import exc
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from bittrade import metrics
from bittrade.database import MEND, Meaning, find_schema_fault, guard, meaning_of
from bittrade.errors import DatabaseUnavailable, OutcomeUnknown, TooBusy, WrongSchema
from bittrade.extensions import WRITING, db

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_TRIES = 4
RETRY_FOR_S = 5  # a lock's time-out is 3 s, and no request shall take 12
# A proof reads ranges. The server ends a longer statement itself, also when whoever asked it was killed.
PROOF_STATEMENT_S = 60
PROOF_TEXT_BYTES = 2**24  # what GROUP_CONCAT may return: a range of the books is one text
_LEVELS = {Meaning.STORAGE: logging.ERROR, Meaning.REFUSED: logging.ERROR}  # somebody has to act
# SQLite has one writer. Waiting for it inside SQLite would stop a whole gevent process, so writers queue here first.
_sqlite_writer = threading.BoundedSemaphore(1)


# Trades of one user run one after the other anyway, under the balance's lock. They queue here, before they take a
# connection: or one busy user's waiting trades would hold the whole pool.
_MAX_IN_LANE = 600
_LANE_WAIT_S = 3


class _Lane:
    """One user's turn in this process."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.waiting = 0


_lanes: dict[int, _Lane] = {}
_lanes_lock = threading.Lock()


class Writes:
    """When this process last committed, and when the database last could not store something."""

    def __init__(self) -> None:
        self.committed_at = self.storage_failed_at = -math.inf

    def committed_s_ago(self) -> float:
        return time.monotonic() - self.committed_at

    def storage_failed_s_ago(self) -> float:
        return time.monotonic() - self.storage_failed_at


def writes() -> Writes:
    """Return what this process knows of its database's writes."""
    known: Writes = current_app.extensions.setdefault("bittrade_writes", Writes())
    return known


class _CommitFailed(Exception):
    """Wraps what COMMIT raised, so that it is told from what came before it."""


def commit_for(user_id: int, work: Callable[[Session], T]) -> T:
    """`commit`, one at a time for one user in this process. Raises TooBusy besides, when too many are waiting."""
    with lane(user_id):
        return commit(work)


@contextmanager
def lane(user_id: int) -> Iterator[None]:
    """Wait for this user's turn in this process. Raises TooBusy where it does not come, or too many wait."""
    with _lanes_lock:
        lane = _lanes.setdefault(user_id, _Lane())
        if lane.waiting >= _MAX_IN_LANE:
            raise TooBusy(retry_after_s=1)
        lane.waiting += 1
    try:
        if not lane.turn.acquire(timeout=_LANE_WAIT_S):
            raise TooBusy(retry_after_s=1)
        try:
            yield
        finally:
            lane.turn.release()
    finally:
        with _lanes_lock:
            lane.waiting -= 1
            if lane.waiting == 0:
                del _lanes[user_id]


def commit(work: Callable[[Session], T]) -> T:
    """Run `work` in a transaction and commit it. Raises DatabaseUnavailable or OutcomeUnknown besides its errors."""
    began = time.monotonic()
    for attempt in range(1, MAX_TRIES + 1):
        try:
            with _writing() as session:
                result = work(session)
                _commit(session)
                writes().committed_at = time.monotonic()
                return result
        except _CommitFailed as error:
            metrics.UNKNOWN_OUTCOMES.count()
            _log(error.__cause__)
            raise OutcomeUnknown(retry_after_s=1) from error.__cause__
        except (exc.DBAPIError, exc.TimeoutError) as error:
            is_last = attempt == MAX_TRIES or time.monotonic() - began > RETRY_FOR_S
            if is_last or meaning_of(error) is not Meaning.RETRY:
                raise _translated(error) from error
        metrics.DATABASE_RETRIES.count()
        time.sleep(random.uniform(0.005, 0.05) * attempt)  # noqa: S311 - spreads retries, no secret
    raise AssertionError("unreachable: the last try returns or raises")


@contextmanager
def reading() -> Iterator[Session]:
    """A session for queries only. Raises DatabaseUnavailable when the database can't be asked."""
    try:
        with Session(db.engine) as session:
            _require_schema(session)
            yield session
    except (exc.DBAPIError, exc.TimeoutError) as error:
        raise _translated(error) from error


@contextmanager
def proving() -> Iterator[Session]:
    """A session for many queries that must all see one moment: a snapshot, on a connection of its own.

    The pool's connections give up after some seconds, so that a request does; a proof of the books may wait longer for
    one range, but not for ever.
    """
    if db.engine.dialect.name == "sqlite":
        with reading() as session:  # its transactions are snapshots already
            yield session
        return
    options = current_app.config["SQLALCHEMY_ENGINE_OPTIONS"]
    limits = {**options["connect_args"], "read_timeout": PROOF_STATEMENT_S + 5}
    engine = sa.create_engine(
        db.engine.url, poolclass=NullPool, isolation_level="REPEATABLE READ", connect_args=limits
    )
    guard(engine)
    try:
        with Session(engine) as session:
            _limit_statements(session.connection())
            yield session
    except exc.DBAPIError as error:
        raise _translated(error) from error
    finally:
        engine.dispose()


def _limit_statements(connection: sa.Connection) -> None:
    is_mariadb = getattr(connection.dialect, "is_mariadb", False)
    name, value = (
        ("max_statement_time", PROOF_STATEMENT_S)
        if is_mariadb
        else ("max_execution_time", PROOF_STATEMENT_S * 1000)
    )
    connection.exec_driver_sql(f"SET SESSION {name}={value}, group_concat_max_len={PROOF_TEXT_BYTES}")


@contextmanager
def _writing() -> Iterator[Session]:
    if db.engine.dialect.name != "sqlite":
        with Session(db.engine) as session:
            _require_schema(session)
            yield session
        return
    if not _sqlite_writer.acquire(timeout=10):
        raise DatabaseUnavailable(retry_after_s=1)
    try:
        with Session(db.engine.execution_options(**{WRITING: True})) as session:
            _require_schema(session)
            yield session
    finally:
        _sqlite_writer.release()


def check_schema() -> str | None:
    """Return why the tables are not this code's; None where they are, or where the database is away."""
    try:
        with reading():
            return None
    except WrongSchema as error:
        return error.fault
    except DatabaseUnavailable:
        return None


def is_schema_known() -> bool:
    """Whether the tables were seen to be this code's."""
    return "bittrade_schema" in current_app.extensions


def _require_schema(session: Session) -> None:
    """Look until it was right once, so that a database that was away at the start is looked at when it comes."""
    if is_schema_known():
        return
    migrate = current_app.extensions["migrate"]
    folder = Path(current_app.root_path).parent / migrate.directory
    if fault := find_schema_fault(session.connection(), folder):
        log.error("database: %s: %s", fault, MEND)
        raise WrongSchema(f"{fault}: {MEND}", retry_after_s=5)
    session.rollback()
    current_app.extensions["bittrade_schema"] = True


def _commit(session: Session) -> None:
    session.flush()  # its errors are ordinary: nothing was committed yet
    try:
        session.commit()
    except exc.DBAPIError as error:
        if meaning_of(error) is Meaning.RETRY:
            raise  # the database said that it rolled back
        raise _CommitFailed from error


def _translated(error: exc.SQLAlchemyError) -> Exception:
    """Return our caller's error: what passes is theirs to retry; a broken rule, and a bug, stay as they are."""
    if meaning_of(error) is Meaning.BUG:
        return error
    _log(error)
    return DatabaseUnavailable(retry_after_s=1)


def _log(error: BaseException | None) -> None:
    """Write what the server said, without the statement."""
    meaning = meaning_of(error)
    metrics.DATABASE_ERRORS.count(meaning.name.lower())
    if meaning is Meaning.STORAGE:
        writes().storage_failed_at = time.monotonic()
    reason = error.orig if isinstance(error, exc.DBAPIError) else error
    log.log(_LEVELS.get(meaning, logging.WARNING), "database: %s: %s", meaning.name, reason)
