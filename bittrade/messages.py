"""Several statements in one message to the database, on plain connections: for what every request or trade sends.

A Session spends more on such a statement than the database does, and sends them one by one. Here statements are compiled
once, values are escaped by the driver, and only text that was compiled at start goes out. MariaDB and MySQL only.
"""

import re
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import Flask, current_app
from pymysql.constants import CLIENT
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import Dialect

from bittrade import database, query_times
from bittrade.database import Meaning, meaning_of
from bittrade.extensions import db

Rows = list[tuple[Any, ...]]
_EXPANDING = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")


class NotFit(Exception):
    """The server takes no writes: what it says may be old."""


class CommitFailed(Exception):
    """Wraps what happened at COMMIT, or before its answer came: the work may be durable."""


class Query:
    """A SELECT with named parameters. One that is `expanding` takes a list."""

    def __init__(self, statement: sa.Select[*tuple[Any, ...]]) -> None:
        self._statement = statement
        self.row = namedtuple("Row", [str(column.key) for column in statement.selected_columns])  # type: ignore[misc]
        self._compiled: _Compiled | None = None

    def text(self, dialect: Dialect) -> str:
        """Return the driver's text, with its placeholders."""
        return self._compile(dialect).text

    def write(self, transaction: "Transaction", **values: Any) -> str:
        """Return the text with these values in it."""
        compiled, literal = self._compile(transaction.dialect), transaction.literal
        return compiled.text % {name: literal(value) for name, value in (compiled.constants | values).items()}

    def read(self, rows: Rows, dialect: Dialect) -> list[Any]:
        """Return the rows with a name for each column and our own types."""
        readers = self._compile(dialect).readers
        return [self.row(*map(_read, readers, row)) for row in rows]

    def _compile(self, dialect: Dialect) -> "_Compiled":
        if self._compiled is None:
            compiled = self._statement.compile(dialect=dialect)
            kinds = [column.type.dialect_impl(dialect) for column in self._statement.selected_columns]
            self._compiled = _Compiled(
                _EXPANDING.sub(r"%(\1)s", str(compiled)),
                {name: value for name, value in compiled.params.items() if value is not None},
                tuple(kind.result_processor(dialect, None) for kind in kinds),
            )
        return self._compiled


class _Compiled(NamedTuple):
    """The driver's text, the values that are the statement's own, and what makes each column's value ours."""

    text: str
    constants: dict[str, Any]
    readers: tuple[Callable[[Any], Any] | None, ...]


def _read(reader: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if reader is None else reader(value)


class Insert:
    """An INSERT of any number of rows; it gives back the columns in `returning` (MariaDB)."""

    def __init__(self, table: sa.Table, columns: Sequence[str], returning: Sequence[str] = ()) -> None:
        self._table, self._columns, self._returning = table, columns, returning
        self._head = self._tail = ""
        self._writers: list[tuple[str, Callable[[Any], Any] | None]] = []

    def write(self, transaction: "Transaction", rows: Iterable[Mapping[str, Any]]) -> str:
        """Return the statement with these rows in it; each must have all the columns."""
        if not self._head:
            self._compile(transaction.dialect)
        literal = transaction.literal
        values = (
            ", ".join(
                literal(row[name] if writer is None else writer(row[name])) for name, writer in self._writers
            )
            for row in rows
        )
        return f"{self._head}({'), ('.join(values)}){self._tail}"

    def _compile(self, dialect: Dialect) -> None:
        quote = dialect.identifier_preparer.quote
        kinds = [self._table.c[name].type.dialect_impl(dialect) for name in self._columns]
        self._writers = [
            (name, kind.bind_processor(dialect)) for name, kind in zip(self._columns, kinds, strict=True)
        ]
        self._tail = f" RETURNING {', '.join(map(quote, self._returning))}" if self._returning else ""
        # Names of our own models, and values that the driver escapes.
        self._head = f"INSERT INTO {quote(self._table.name)} ({', '.join(map(quote, self._columns))}) VALUES "  # noqa: S608


class Update:
    """An UPDATE of one row, found by its key, that sets any of the table's columns."""

    def __init__(self, table: sa.Table, key: str) -> None:
        self._table, self._key = table, key
        self._writers: dict[str, tuple[str, Callable[[Any], Any] | None]] = {}

    def write(self, transaction: "Transaction", key: Any, changed: Mapping[str, Any]) -> str:
        """Return the statement that gives the row with this key these values."""
        if not self._writers:
            self._compile(transaction.dialect)
        assignments = ", ".join(self._assign(transaction, name, value) for name, value in changed.items())
        found = self._assign(transaction, self._key, key)
        return f"UPDATE {self._table.name} SET {assignments} WHERE {found}"  # noqa: S608 - names of our own models

    def _assign(self, transaction: "Transaction", name: str, value: Any) -> str:
        column, writer = self._writers[name]
        return f"{column} = {transaction.literal(value if writer is None else writer(value))}"

    def _compile(self, dialect: Dialect) -> None:
        quote = dialect.identifier_preparer.quote
        self._writers = {
            column.name: (quote(column.name), column.type.dialect_impl(dialect).bind_processor(dialect))
            for column in self._table.c
        }


class Transaction:
    """A transaction on a plain connection, at READ COMMITTED. Its first message also asks whether the server takes writes."""

    def __init__(self, engine: Engine, connection: Any) -> None:
        self.dialect = engine.dialect
        self.literal: Callable[[Any], str] = connection.driver_connection.escape
        self._connection = connection
        self._is_open = self._is_known_fit = False

    def ask(self, *questions: tuple[Query, dict[str, Any]]) -> list[list[Any]]:
        """Ask queries with their values in one message; the rows of each. One about an empty list has none.

        Raises NotFit, and what the driver raises.
        """
        asked = [values for _, values in questions if [] not in values.values()]
        texts = [query.write(self, **values) for query, values in questions if values in asked]
        answers = iter(self.send(texts))
        return [
            query.read(next(answers), self.dialect) if values in asked else [] for query, values in questions
        ]

    def send(self, statements: Sequence[str]) -> list[Rows]:
        """Send statements in one message; the rows of each. Raises NotFit, and what the driver raises."""
        self._is_open = True
        if self._is_known_fit:
            return self._send(statements, [])
        fitness, *answers = self._send([database.IS_FIT, *statements], [])
        if not database.says_fit(fitness[0] if fitness else None):
            raise NotFit
        self._is_known_fit = True
        return answers

    def commit(self, statements: Sequence[str]) -> None:
        """Send statements and COMMIT in one message. Raises CommitFailed where the outcome is unknown."""
        answers: list[Rows] = []
        try:
            self._send([*statements, "COMMIT"], answers)
        except Exception as error:
            said_no = not is_lost(error) and (
                len(answers) < len(statements) or meaning_of(error) is Meaning.RETRY
            )
            if said_no:
                raise  # the server refused a statement, or said that it rolled back
            raise CommitFailed from error
        self._is_open = False

    def roll_back(self) -> None:
        """End it without a trace, where it has begun."""
        if self._is_open:
            self._send(["ROLLBACK"], [])
            self._is_open = False

    def _send(self, statements: Sequence[str], answers: list[Rows]) -> list[Rows]:
        cursor, began = self._connection.cursor(), query_times.begin()
        try:
            cursor.execute("; ".join(statements))
            answers.append(list(cursor.fetchall()))
            while cursor.nextset():
                answers.append(list(cursor.fetchall()))
        finally:
            query_times.end(began)
            cursor.close()
        return answers


@contextmanager
def transaction(engine: Engine) -> Iterator[Transaction]:
    """A transaction that is rolled back unless it was committed. Errors take the connection with them."""
    connection = engine.raw_connection()
    try:
        one = Transaction(engine, connection)
        yield one
        one.roll_back()
    except BaseException:
        connection.invalidate()  # nobody knows what is still on its way
        raise
    connection.close()


def is_lost(error: BaseException) -> bool:
    """Whether it was the connection that failed, and not what was asked."""
    return meaning_of(error) is Meaning.AWAY or database.is_garbled(error)


def plain_engine(name: str, *, size: int) -> Engine:
    """Return the current app's pool of this name: only its connections take several statements at once."""
    engine: Engine | None = current_app.extensions.get(name)
    if engine is None:
        options = dict(current_app.config["SQLALCHEMY_ENGINE_OPTIONS"])
        options["connect_args"] = {**options["connect_args"], "client_flag": CLIENT.MULTI_STATEMENTS}
        options |= {"pool_pre_ping": False, "pool_reset_on_return": None, "pool_size": size}
        engine = sa.create_engine(db.engine.url, **options)
        database.guard(engine)
        database.dispose_with(db.engine, engine)
        current_app.extensions[name] = engine
    return engine


def list_plain_engines(app: Flask) -> list[Engine]:
    """Return the pools that `plain_engine` has made."""
    return [engine for engine in app.extensions.values() if isinstance(engine, Engine)]
