"""Questions that every request asks: compiled once, sent on a plain connection, one round trip each.

A Session spends more on such a statement than the database does, and sends three messages for one answer: whether the
server is fit (`database.guard`), the statement, and the end of its transaction. Here the three go out together, so
every answer is known to come from a server that takes writes. On SQLite a question is asked through a Session.
"""

import logging
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from bittrade import database, messages, query_times, unit_of_work
from bittrade.database import Meaning, meaning_of
from bittrade.errors import DatabaseUnavailable
from bittrade.extensions import db
from bittrade.messages import Query, Rows

log = logging.getLogger(__name__)
SHARE = 4  # of DB_POOL_SIZE: a question takes less than a millisecond


class Question:
    """A SELECT with named parameters, asked again and again."""

    def __init__(self, statement: sa.Select[*tuple[Any, ...]]) -> None:
        self._statement = statement
        self._query = Query(statement)

    def ask(self, **values: Any) -> list[Any]:
        """The rows, with a name for each column. Raises DatabaseUnavailable where the database can't be asked."""
        if db.engine.dialect.name == "sqlite":
            with unit_of_work.reading() as session:
                return [self._query.row(*row) for row in session.execute(self._statement, values)]
        text = f"{database.IS_FIT}; {self.text()}; ROLLBACK"
        return self._query.read(_ask(_engine(), text, values), db.engine.dialect)

    def text(self) -> str:
        """Return the SELECT as it goes out, with its placeholders."""
        return self._query.text(db.engine.dialect)


def _ask(engine: Engine, text: str, parameters: dict[str, Any]) -> Rows:
    """Once more on a new connection where a pooled one has died or leads to a server that can't write."""
    try:
        rows = _ask_once(engine, text, parameters)
    except Exception as error:
        if not messages.is_lost(error):
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
    began = query_times.begin()
    try:
        cursor.execute(text, parameters)
        is_fit = database.says_fit(cursor.fetchone())
        cursor.nextset()
        rows: Rows = list(cursor.fetchall())
        cursor.nextset()
        return rows if is_fit else None
    finally:
        query_times.end(began)
        cursor.close()


def _translated(error: Exception) -> Exception:
    """As a unit of work says it: what passes is the caller's to retry, a bug stays what it is."""
    if meaning_of(error) is Meaning.BUG and not messages.is_lost(error):
        return error
    log.warning("database: %s", error)
    return DatabaseUnavailable(retry_after_s=1)


def _engine() -> Engine:
    """Connections of their own: none of them is ever in a transaction."""
    return messages.plain_engine(
        "bittrade_questions", size=max(1, current_app.config["DB_POOL_SIZE"] // SHARE)
    )
