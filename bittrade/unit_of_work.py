"""A unit of work: one database transaction around one business action.

`commit(work)` runs `work(session)`, commits once, and rolls back on any error. Deadlocks and lock time-outs run the
whole function again, at most four times and for 5 s, never a single statement (MariaDB rolls back only the statement on 1205).
An error *at* COMMIT is not retried: the work may already be durable. `reading()` gives its connection back at its end.

No network call belongs inside either.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa
from flask import current_app
from sqlalchemy import exc
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from bittrade.errors import DatabaseUnavailable, OutcomeUnknown, TooBusy
from bittrade.extensions import WRITING, db

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_TRIES = 4
RETRY_FOR_S = 5  # a lock's time-out is 3 s, and no request shall take 12
PROOF_TIMEOUT_S = 900
# 1020: record changed since last read (snapshot isolation); 1205: lock wait time-out; 1213: deadlock.
RETRYABLE = {1020, 1205, 1213}
# Too many connections (1040, 1203, 1226), shutting down (1053), read-only (1290), killed (1317, 1927), not reached
# (2002, 2003), gone (2006, 2013), full (1021, 1114), no access (1044, 1045, 1049).
AWAY = {1021, 1040, 1044, 1045, 1049, 1053, 1114, 1203, 1226, 1290, 1317, 1927, 2002, 2003, 2006, 2013}

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


class _CommitFailed(Exception):
    """Wraps what COMMIT raised, so that it is told from what came before it."""


def commit_for(user_id: int, work: Callable[[Session], T]) -> T:
    """`commit`, one at a time for one user in this process. Raises TooBusy besides, when too many are waiting."""
    with _lane(user_id):
        return commit(work)


@contextmanager
def _lane(user_id: int) -> Iterator[None]:
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
                return result
        except _CommitFailed as error:
            raise OutcomeUnknown(retry_after_s=1) from error.__cause__
        except exc.DBAPIError as error:
            if not _is_retryable(error):
                raise _translated(error) from error
            if attempt == MAX_TRIES or time.monotonic() - began > RETRY_FOR_S:
                raise DatabaseUnavailable(retry_after_s=1) from error
        except exc.TimeoutError as error:
            raise DatabaseUnavailable(retry_after_s=1) from error
        time.sleep(random.uniform(0.005, 0.05) * attempt)  # noqa: S311 - spreads retries, no secret
    raise AssertionError("unreachable: the last try returns or raises")


@contextmanager
def reading() -> Iterator[Session]:
    """A session for queries only. Raises DatabaseUnavailable when the database can't be asked."""
    try:
        with Session(db.engine) as session:
            yield session
    except exc.DBAPIError as error:
        raise _translated(error) from error
    except exc.TimeoutError as error:
        raise DatabaseUnavailable(retry_after_s=1) from error


@contextmanager
def proving() -> Iterator[Session]:
    """A session for queries that take minutes and must all see one moment: a snapshot, on a connection of its own.

    The pool's connections give up after some seconds, so that a request does; a proof of the books may not.
    """
    if db.engine.dialect.name == "sqlite":
        with reading() as session:  # its transactions are snapshots already
            yield session
        return
    options = current_app.config["SQLALCHEMY_ENGINE_OPTIONS"]
    limits = {**options["connect_args"], "read_timeout": PROOF_TIMEOUT_S}
    engine = sa.create_engine(
        db.engine.url, poolclass=NullPool, isolation_level="REPEATABLE READ", connect_args=limits
    )
    try:
        with Session(engine) as session:
            yield session
    except exc.DBAPIError as error:
        raise _translated(error) from error
    finally:
        engine.dispose()


@contextmanager
def _writing() -> Iterator[Session]:
    if db.engine.dialect.name != "sqlite":
        with Session(db.engine) as session:
            yield session
        return
    if not _sqlite_writer.acquire(timeout=10):
        raise DatabaseUnavailable(retry_after_s=1)
    try:
        with Session(db.engine.execution_options(**{WRITING: True})) as session:
            yield session
    finally:
        _sqlite_writer.release()


def _commit(session: Session) -> None:
    session.flush()  # its errors are ordinary: nothing was committed yet
    try:
        session.commit()
    except exc.DBAPIError as error:
        if _is_retryable(error):
            raise  # the database said that it rolled back
        raise _CommitFailed from error


def _is_retryable(error: exc.DBAPIError) -> bool:
    if error.orig is None or not error.orig.args:
        return False
    reason = error.orig.args[0]
    return reason in RETRYABLE or (isinstance(reason, str) and "database is locked" in reason)


def _translated(error: exc.DBAPIError) -> Exception:
    """A lost, refused or overloaded database is our caller's to retry; all else (a broken rule, a bug) stays as it is."""
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    # PyMySQL calls every code that it does not know operational, a broken CHECK among them.
    is_away = error.connection_invalidated or isinstance(error, exc.InterfaceError)
    is_away = is_away or code in AWAY | RETRYABLE
    if isinstance(error, exc.OperationalError) and isinstance(code, str):
        is_away = True  # SQLite's: locked, full, read-only, not to be opened
    if not is_away:
        return error
    log.warning("the database is away: %s", code)
    return DatabaseUnavailable(retry_after_s=1)
