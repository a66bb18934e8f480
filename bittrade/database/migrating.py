"""The database as `db upgrade` needs it: patient, one migrator at a time, and nothing left running when it ends.

Whose turn it is stands in a row that its owner renews: a lock of the server's own (GET_LOCK) is one node's in a Galera
cluster, and so is a row lock. A row that nobody renewed for `LEASE_S` is anybody's. GET_LOCK only marks the connection that
changes tables, so that its statement can be found and killed after its client has gone.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from bittrade.database.connections import encryption_of, guard
from bittrade.database.meaning import Meaning, meaning_of

log = logging.getLogger(__name__)
TABLE = "migration_lock"  # of no model: it has to be there before the first migration
LEASE_S = 30
RENEW_S = 5.0
WAIT_S = 60.0
POLL_S = 0.5
KILL_WAIT_S = 15.0
# An ALTER may take hours. What it waits for may not: who waits for a table holds up all who come after.
_SETTINGS = (
    "SET SESSION lock_wait_timeout=60, innodb_lock_wait_timeout=60, /*M! max_statement_time=0, */"
    " time_zone='+00:00', sql_mode='TRADITIONAL'"
)
_lock = sa.Table(
    TABLE,
    sa.MetaData(),
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("renewed_at", DATETIME(fsp=6), nullable=False),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)
_NOW = sa.text("UTC_TIMESTAMP(6)")
_EXPIRED = sa.text(f"renewed_at < UTC_TIMESTAMP(6) - INTERVAL {LEASE_S} SECOND")


class MigrationFailed(Exception):
    """The tables were not, or not wholly, brought up to date; the message says why in one line."""


def migration_engine(url: URL) -> Engine:
    """Return an engine without the requests' time limits."""
    connect_args: dict[str, Any] = {"charset": "utf8mb4", "connect_timeout": 10, "init_command": _SETTINGS}
    engine = sa.create_engine(url, poolclass=NullPool, connect_args={**connect_args, **encryption_of(url)})
    guard(engine)
    return engine


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """Yield the connection that alone changes tables. Raises MigrationFailed; ends what it started, however it is left."""
    state = "could not begin"
    try:
        with engine.connect() as connection, _Turn(engine) as turn:
            turn.mark(connection)
            state = "stopped half way"
            yield connection
    except exc.SQLAlchemyError as error:
        reason = str(error.orig) if isinstance(error, exc.DBAPIError) else str(error)
        raise MigrationFailed(
            f"The migration {state}: {reason}. What was done stays done: mend the cause and run it again"
        ) from error


class _Turn:
    """The row that says whose turn it is, renewed while in here."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._owner = f"bittrade_migrate_{secrets.token_hex(8)}"
        self._who = f"{socket.gethostname()[:60]}, process {os.getpid()}"
        self._is_over = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="migration-lock", daemon=True)

    def __enter__(self) -> "_Turn":
        deadline = time.monotonic() + WAIT_S
        while not self._take():
            if time.monotonic() > deadline:
                raise MigrationFailed(
                    f"Another migration has been running for {WAIT_S:.0f} s: {self._holder()[1]}"
                )
            time.sleep(POLL_S)
        self._renewer.start()
        return self

    def mark(self, connection: Connection) -> None:
        connection.scalar(sa.select(sa.func.get_lock(self._owner, 0)))
        connection.commit()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over.set()
        self._renewer.join(RENEW_S)
        try:
            if kind is not None:
                self._kill(self._owner)
            self._run(sa.delete(_lock).where(_lock.c.owner == self._owner))
        except exc.SQLAlchemyError as error:
            log.warning(
                "the migration's turn was not given back: %s; it ends by itself in %s s", error, LEASE_S
            )

    def _take(self) -> bool:
        self._run(CreateTable(_lock, if_not_exists=True))
        mine: dict[str, Any] = {"owner": self._owner, "who": self._who, "renewed_at": _NOW}
        try:
            return self._run(sa.insert(_lock).values(id=1, **mine)) == 1
        except exc.DBAPIError as error:
            if not isinstance(error, exc.IntegrityError) and meaning_of(error) is not Meaning.RETRY:
                raise
        before, who = self._holder()
        if self._run(sa.update(_lock).where(_EXPIRED).values(**mine)) != 1:
            return False
        log.warning("the migration of %s has stopped: taking its turn", who)
        self._kill(before)
        return True

    def _holder(self) -> tuple[str, str]:
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_lock.c.owner, _lock.c.who)).first()
        return (row[0], row[1]) if row else ("", "nobody")

    def _renew(self) -> None:
        renewal = sa.update(_lock).where(_lock.c.owner == self._owner).values(renewed_at=_NOW)
        while not self._is_over.wait(RENEW_S):
            try:
                if self._run(renewal) == 1:
                    continue
            except exc.SQLAlchemyError as error:
                log.warning("the migration's turn was not renewed: %s", error)
                continue
            log.error("somebody else took this migration's turn: ending it")
            self._kill(self._owner)
            return

    def _kill(self, owner: str) -> None:
        """End what the owner's marked connection is doing on this server, and wait until it has ended."""
        deadline = time.monotonic() + KILL_WAIT_S
        with self._engine.connect() as connection:
            while number := connection.scalar(sa.select(sa.func.is_used_lock(owner))):
                if time.monotonic() > deadline:
                    log.error("connection %s still changes tables: KILL it", number)
                    return
                try:
                    connection.exec_driver_sql(f"KILL {int(number)}")
                except exc.DBAPIError as error:
                    log.debug("KILL %s: %s", number, error)  # it has just ended
                time.sleep(0.1)

    def _run(self, statement: sa.Executable) -> int:
        with self._engine.connect() as connection:
            return connection.execute(statement).rowcount
