"""Alembic's door: runs the migrations on the app's database, one process at a time."""

from contextlib import contextmanager

import sqlalchemy as sa
from alembic import context
from flask import current_app

from bittrade import models  # noqa: F401 - the tables register themselves

LOCK = "bittrade_migrate_"  # and the database: the server has one set of locks for all of them
LOCK_LENGTH = 64
LOCK_WAIT_S = 60
database = current_app.extensions["migrate"].db


@contextmanager
def only_one(connection):
    """Two upgrades at once would each create half of the tables. SQLite's own lock is enough."""
    if connection.dialect.name == "sqlite":
        yield
        return
    # The server keeps the lock for this connection, whatever is committed meanwhile.
    lock = f"{LOCK}{connection.engine.url.database}"[:LOCK_LENGTH]
    if connection.scalar(sa.select(sa.func.get_lock(lock, LOCK_WAIT_S))) != 1:
        raise SystemExit(f"another migration has been running for {LOCK_WAIT_S} s")
    try:
        yield
    finally:
        connection.execute(sa.select(sa.func.release_lock(lock)))


def run() -> None:
    with database.engine.connect() as connection, only_one(connection):
        context.configure(
            connection=connection,
            target_metadata=database.metadata,
            **current_app.extensions["migrate"].configure_args,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


if context.is_offline_mode():
    raise SystemExit("migrations need their database: they look before they create")
run()
