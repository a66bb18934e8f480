"""Changing a table's CHECK and UNIQUE constraints, and a column's width, in a migration that can be run again.

The same on MariaDB, MySQL and SQLite.
"""

import re

import sqlalchemy as sa
from alembic import op


def drop_check(table: str, name: str) -> None:
    """Drop a named CHECK, if it is there."""
    if name not in _names(table):
        return
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(table, lambda sql: _without(sql, name))
    else:
        op.drop_constraint(op.f(name), table, type_="check")


def add_check(table: str, name: str, condition: str) -> None:
    """Add a named CHECK, if it is not there."""
    if name in _names(table):
        return
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(table, lambda sql: _with(sql, f"CONSTRAINT {name} CHECK ({condition})"))
    else:
        op.create_check_constraint(op.f(name), table, condition)


def add_unique(table: str, name: str, column: str) -> None:
    """Add a named UNIQUE of one column, if it is not there."""
    if name in _unique_names(table):
        return
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(table, lambda sql: _with(sql, f"CONSTRAINT {name} UNIQUE ({column})"))
    else:
        op.create_unique_constraint(op.f(name), table, [column])


def drop_unique(table: str, name: str) -> None:
    """Drop a named UNIQUE, if it is there."""
    if name not in _unique_names(table):
        return
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(table, lambda sql: _without(sql, name))
    else:
        op.drop_constraint(op.f(name), table, type_="unique")


def set_width(table: str, column: str, *, before: sa.types.TypeEngine, after: sa.types.TypeEngine) -> None:
    """Make a text column that is never NULL wider or narrower, if it is not yet."""
    bind = op.get_bind()
    found = {found["name"]: found["type"] for found in sa.inspect(bind).get_columns(table)}[column]
    if found.length == after.length:
        return
    if bind.dialect.name == "sqlite":
        old, new = f"{column} VARCHAR({before.length})", f"{column} VARCHAR({after.length})"
        _rebuild(table, lambda sql: re.sub(rf"\b{re.escape(old)}", new, sql, count=1))
    else:
        op.alter_column(table, column, existing_type=before, type_=after, existing_nullable=False)


def _unique_names(table: str) -> set[str | None]:
    return {unique["name"] for unique in sa.inspect(op.get_bind()).get_unique_constraints(table)}


def _with(sql: str, clause: str) -> str:
    return f"{sql.rstrip()[:-1].rstrip()}, {clause})"


def _names(table: str) -> set[str | None]:
    return {check["name"] for check in sa.inspect(op.get_bind()).get_check_constraints(table)}


def _without(sql: str, name: str) -> str:
    """Cut a constraint out of a CREATE TABLE, with the comma before it."""
    start = sql.index(f"CONSTRAINT {name} ")
    end = sql.index("(", start)
    depth = 1
    while depth:
        end += 1
        depth += {"(": 1, ")": -1}.get(sql[end], 0)
    return sql[:start].rstrip().removesuffix(",") + sql[end + 1 :]


def _rebuild(table: str, change) -> None:
    """Make the table anew, as SQLite's documentation says (lang_altertable.html, section 7): it can alter no CHECK.

    Foreign keys can only be switched off between transactions; what was done before is committed by then.
    """
    bind = op.get_bind()
    master = sa.text(
        "SELECT sql FROM sqlite_master WHERE tbl_name = :table AND type = :kind AND sql IS NOT NULL"
    )
    (create,) = bind.scalars(master, {"table": table, "kind": "table"})
    indexes = list(bind.scalars(master, {"table": table, "kind": "index"}))
    bind.commit()
    raw, new = bind.connection.driver_connection, f"{table}_new"
    # Names only what is stored: SQLite leaves what it computes itself out of this list.
    stored = ", ".join(row[1] for row in raw.execute(f"PRAGMA table_info({table})"))
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        raw.execute("BEGIN IMMEDIATE")
        raw.execute(re.sub(rf'^CREATE TABLE "?{table}"?', f"CREATE TABLE {new}", change(create)))
        raw.execute(f"INSERT INTO {new} ({stored}) SELECT {stored} FROM {table}")  # noqa: S608 - names of our own
        raw.execute(f"DROP TABLE {table}")
        raw.execute(f"ALTER TABLE {new} RENAME TO {table}")
        for sql in indexes:
            raw.execute(sql)
        raw.execute("COMMIT")
    except BaseException:
        raw.execute("ROLLBACK")
        raise
    finally:
        raw.execute("PRAGMA foreign_keys=ON")
