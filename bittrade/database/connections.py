"""How connections are made, and which are fit for use: one that leads to a server which can't write is thrown away.

After a switch-over the old primary stays up, read-only, and answers every ping; what it says of balances is old. So each
connection is asked, whenever it leaves the pool, whether its server takes writes. Whatever the login may do in spite of
`read_only` counts for nothing: who writes to an old primary loses what they write.
"""

import os
from collections.abc import Sequence
from typing import Any

import pymysql
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect, ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from bittrade.database.meaning import Meaning, meaning_of

LOOPBACK = ("127.0.0.1", "::1", "localhost", None)
CANNOT_WRITE = 1290
# FOR UPDATE: a proxy that splits reads from writes shall ask the server that writes.
IS_FIT = "SELECT @@global.read_only, @@global.innodb_read_only FOR UPDATE"
_SETTINGS = "SET SESSION innodb_lock_wait_timeout=3, time_zone='+00:00', sql_mode='TRADITIONAL'"


def engine_options(url: URL, *, pool_size: int) -> dict[str, Any]:
    """Return options that fail early: a request never waits for the database for more than some seconds."""
    # Parameters hold e-mails and password hashes: an error's text goes to the log.
    options: dict[str, Any] = {"pool_pre_ping": True, "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        return options | {"connect_args": {"timeout": 0.2, "check_same_thread": False}}
    return options | {
        "isolation_level": "READ COMMITTED",
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": 3,
        "pool_recycle": 1800,
        "connect_args": {
            "charset": "utf8mb4",
            "connect_timeout": 3,
            # A request may wait for this twice (the pool's ping, then a new connection) and must end within 12 s.
            "read_timeout": 5,
            "write_timeout": 5,
            **encryption_of(url),
            "init_command": _SETTINGS,
        },
    }


def encryption_of(url: URL) -> dict[str, Any]:
    """TLS wherever the server offers it; but not on loopback, where PyMySQL would load all the machine's certificates
    for every new connection (some 25 ms of CPU, for each refusal while the database is away too)."""
    is_near = url.host in LOOPBACK and not any(name.startswith("ssl") for name in url.query)
    return {"ssl_disabled": True} if is_near else {}


def guard(engine: Engine) -> None:
    """Throw connections away whose server can't serve, and the whole pool with the first of them."""
    event.listen(engine, "handle_error", _on_error)
    if engine.dialect.name == "sqlite":
        return
    event.listen(engine, "do_connect", _connect)
    # The pool's ping, with another question: as many round trips as before.
    engine.dialect.do_ping = _is_fit  # type: ignore[assignment,method-assign]


def dispose_with(ours: Engine, other: Engine) -> None:
    """Let an engine's connections go with the application's own; closed by who opened them, not by a fork."""
    owner = os.getpid()
    event.listen(ours, "engine_disposed", lambda _: other.dispose(close=os.getpid() == owner))


def _connect(dialect: Dialect, _record: ConnectionPoolEntry, args: Any, parameters: Any) -> DBAPIConnection:
    """Return a new connection to a server that takes writes. Raises only errors of the driver's own kind."""
    errors: Any = dialect.loaded_dbapi
    try:
        connection = dialect.connect(*args, **parameters)
    except errors.Error:
        raise
    except Exception as error:
        # Not the protocol, or not the login, that the driver knows.
        raise errors.OperationalError(2012, f"no handshake: {type(error).__name__}: {error}") from error
    try:
        if _is_fit(connection):
            return connection
        raise errors.OperationalError(CANNOT_WRITE, "the server is read-only")
    except BaseException:
        connection.close()
        raise


def _is_fit(connection: DBAPIConnection) -> bool:
    cursor = connection.cursor()
    try:
        cursor.execute(IS_FIT)
        return says_fit(cursor.fetchone())
    finally:
        cursor.close()


def says_fit(row: Sequence[Any] | None) -> bool:
    """Whether the answer to IS_FIT is that of a server that takes writes. MariaDB 12 has words for it."""
    return all(value in (0, "0", "OFF") for value in row or ())


def _on_error(context: ExceptionContext) -> None:
    """Have connections that lead nowhere thrown away. A driver that lost step raises whatever its parser stumbled over."""
    error = context.original_exception
    if meaning_of(error) is Meaning.AWAY:
        context.is_disconnect = True
    elif is_garbled(error):
        context.is_disconnect = True
        raise exc.InterfaceError(
            None, None, error, connection_invalidated=True, hide_parameters=True
        ) from error


def is_garbled(error: BaseException) -> bool:
    """Whether the driver could not read what came over the wire."""
    if not isinstance(error, Exception) or isinstance(error, UnicodeEncodeError):
        return False
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame is not None else ""
    return module in ("pymysql.connections", "pymysql.protocol") and not isinstance(error, pymysql.MySQLError)
