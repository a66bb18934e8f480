"""Reading from a replica: what may be some seconds old, or whose age is known. The primary answers whenever it can't.

Never for what decides (balances, tokens, prices for trades), and never into a cache that others take for the primary's:
a user's rows are cached at the `seq` that was read with them, anything else under a name of its own (`mark`).
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from flask import current_app
from sqlalchemy import exc
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from bittrade import database, unit_of_work
from bittrade.extensions import db
from bittrade.logs import warn_seldom
from bittrade.models import Balance

log = logging.getLogger(__name__)
T = TypeVar("T")
LOOK_EVERY_S = 1.0
REST_S = 5.0  # how long one that failed is left alone: who looks again may have to wait for it


class Replica:
    """A server that follows the primary, and what this process knows of it."""

    def __init__(self, engine: Engine, max_lag_s: int) -> None:
        self.engine = engine
        self._max_lag_s = max_lag_s
        self._look_at = 0.0
        self._fault: str | None = "nobody has looked yet"

    def find_fault(self) -> str | None:
        """Return why it is left alone; None where it may be asked. Looks at most once a second in each process."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_EVERY_S  # before looking: nobody else needs to meanwhile
            try:
                with self.engine.connect() as connection:
                    self._fault = self._fault_of(connection)
            except (exc.DBAPIError, exc.TimeoutError) as error:
                self.leave_alone(error)
        if self._fault is not None:
            warn_seldom(log, "the replica is left alone: %s", self._fault)
        return self._fault

    def leave_alone(self, error: exc.SQLAlchemyError) -> None:
        """Remember that it failed."""
        self._fault = f"it failed: {error.orig if isinstance(error, exc.DBAPIError) else error}"
        self._look_at = time.monotonic() + REST_S

    def _fault_of(self, connection: sa.Connection) -> str | None:
        status = connection.exec_driver_sql("SHOW SLAVE STATUS").mappings().first()
        if status is None:
            return "it follows nobody"
        lag_s = status["Seconds_Behind_Master"]
        if lag_s is None:
            return (
                f"it has stopped following: {status['Last_Error'] or status['Last_IO_Error'] or 'no error'}"
            )
        return f"it is {lag_s} s behind (at most {self._max_lag_s})" if lag_s > self._max_lag_s else None


def find() -> Replica | None:
    """Return the replica that DATABASE_REPLICA_URL names, if it names one."""
    url = current_app.config["DATABASE_REPLICA_URL"]
    if not url:
        return None
    known: dict[str, Replica] = current_app.extensions.setdefault("bittrade_replica", {})
    if url not in known:
        parts = sa.make_url(url)
        options = database.engine_options(parts, pool_size=current_app.config["DB_POOL_SIZE"])
        options["connect_args"] |= {"connect_timeout": 1}
        engine = sa.create_engine(parts, **options)
        database.dispose_with(db.engine, engine)
        known[url] = Replica(engine, current_app.config["MAX_REPLICA_LAG_S"])
    return known[url]


def read(work: Callable[[Session], T]) -> T:
    """Return what `work` reads, on the replica where it is near enough, else on the primary. Raises DatabaseUnavailable."""
    return _read(work, lambda _session: True)


def read_own(user_id: int, seq: int, work: Callable[[Session], T]) -> T:
    """Return what `work` reads of a user's own rows, no older than `seq`. Raises DatabaseUnavailable."""
    own = sa.select(Balance.seq).where(Balance.user_id == user_id, Balance.seq >= seq)
    return _read(work, lambda session: session.scalar(own) is not None)


def mark() -> str:
    """Return what a name in the cache ends with where its value may come from a replica."""
    return "_of_replica" if current_app.config["DATABASE_REPLICA_URL"] else ""


def _read(work: Callable[[Session], T], is_new_enough: Callable[[Session], bool]) -> T:
    replica = find()
    if replica is not None and replica.find_fault() is None:
        try:
            with Session(replica.engine) as session:
                if is_new_enough(session):
                    return work(session)
        except (exc.DBAPIError, exc.TimeoutError) as error:
            replica.leave_alone(error)  # the primary says whether it was the statement
    with unit_of_work.reading() as session:
        return work(session)
