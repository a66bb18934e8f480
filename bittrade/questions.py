"""Questions that every request asks: compiled once, sent on a plain connection, one round trip each.

A Session spends more on such a statement than the database does, and sends three messages for one answer: whether the
server is fit (`database.guard`), the statement, and the end of its transaction. Here the three go out together, so
every answer is known to come from a server that takes writes. On SQLite a question is asked through a Session.
"""

import logging
import os
from collections import namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import current_app
from pymysql.constants import CLIENT
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from bittrade import database, unit_of_work
from bittrade.database import Meaning, meaning_of
from bittrade.errors import DatabaseUnavailable
from bittrade.extensions import db

log = logging.getLogger(__name__)
Rows = list[tuple[Any, ...]]
SHARE = 4  # of DB_POOL_SIZE: a question takes less than a millisecond


class Question:
    """A SELECT with named parameters, asked again and again."""

    def __init__(self, statement: sa.Select[*tuple[Any, ...]]) -> None:
        self._statement = statement
        self._row = namedtuple("Row", [str(column.key) for column in statement.selected_columns])  # type: ignore[misc]
        self._compiled: _Compiled | None = None

    def ask(self, **values: Any) -> list[Any]:
        """The rows, with a name for each column. Raises DatabaseUnavailable where the database can't be asked."""
        if db.engine.dialect.name == "sqlite":
            with unit_of_work.reading() as session:
                return [self._row(*row) for row in session.execute(self._statement, values)]
        compiled = self._compile()
        rows = _ask(_engine(), compiled.text, values)
        return [self._row(*map(_read, compiled.readers, row)) for row in rows]

    def _compile(self) -> "_Compiled":
        if self._compiled is None:
            dialect = db.engine.dialect
            compiled = self._statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
            kinds = [column.type.dialect_impl(dialect) for column in self._statement.selected_columns]
            self._compiled = _Compiled(
                f"{database.IS_FIT}; {compiled}; ROLLBACK",
                tuple(kind.result_processor(dialect, None) for kind in kinds),
            )
        return self._compiled


class _Compiled(NamedTuple):
    """The driver's text, and what makes each column's value ours."""

    text: str
    readers: tuple[Callable[[Any], Any] | None, ...]


def _read(reader: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if reader is None else reader(value)


def _ask(engine: Engine, text: str, parameters: dict[str, Any]) -> Rows:
    """Once more on a new connection where a pooled one has died or leads to a server that can't write."""
    try:
        rows = _ask_once(engine, text, parameters)
    except Exception as error:
        if not _is_lost(error):
            raise _translated(error) from error
        rows = None
    if rows is None:
        engine.dispose()  # the others lead to the same server
        try:
            rows = _ask_once(engine, text, parameters)
        except Exception as error:
            raise _translated(error) from error
    if rows is None:
        raise DatabaseUnavailable(retry_after_s=1)
    return rows


def _ask_once(engine: Engine, text: str, parameters: dict[str, Any]) -> Rows | None:
    connection = engine.raw_connection()
    try:
        rows = _send(connection, text, parameters)
    except BaseException:
        connection.invalidate()  # nobody knows what is still on its way
        raise
    if rows is None:
        connection.invalidate()
    else:
        connection.close()
    return rows


def _send(connection: DBAPIConnection, text: str, parameters: dict[str, Any]) -> Rows | None:
    """The rows; None where the server is not fit."""
    cursor: Any = connection.cursor()
    try:
        cursor.execute(text, parameters)
        is_fit = database.says_fit(cursor.fetchone())
        cursor.nextset()
        rows: Rows = list(cursor.fetchall())
        cursor.nextset()
        return rows if is_fit else None
    finally:
        cursor.close()


def _is_lost(error: Exception) -> bool:
    """Whether it was the connection that failed, and not what was asked."""
    return meaning_of(error) is Meaning.AWAY or database.is_garbled(error)


def _translated(error: Exception) -> Exception:
    """As a unit of work says it: what passes is the caller's to retry, a bug stays what it is."""
    if meaning_of(error) is Meaning.BUG and not _is_lost(error):
        return error
    log.warning("database: %s", error)
    return DatabaseUnavailable(retry_after_s=1)


def _engine() -> Engine:
    """Connections of their own: only these take several statements at once, and none of them is ever in a transaction."""
    engine: Engine | None = current_app.extensions.get("bittrade_questions")
    if engine is None:
        options = dict(current_app.config["SQLALCHEMY_ENGINE_OPTIONS"])
        options["connect_args"] = {**options["connect_args"], "client_flag": CLIENT.MULTI_STATEMENTS}
        size = max(1, options["pool_size"] // SHARE)
        options |= {"pool_pre_ping": False, "pool_reset_on_return": None, "pool_size": size}
        engine = sa.create_engine(db.engine.url, **options)
        database.guard(engine)
        _dispose_with(db.engine, engine)
        current_app.extensions["bittrade_questions"] = engine
    return engine


def _dispose_with(ours: Engine, questions: Engine) -> None:
    """Let these connections go with the application's own; closed by who opened them, not by a fork."""
    owner = os.getpid()
    sa.event.listen(ours, "engine_disposed", lambda _: questions.dispose(close=os.getpid() == owner))
