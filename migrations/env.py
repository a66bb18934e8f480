"""Alembic's door: runs the migrations on the app's database, one process at a time, with time to wait."""

import signal
import threading
from contextlib import contextmanager

from alembic import context
from flask import current_app

from bittrade import models  # noqa: F401 - the tables register themselves
from bittrade.database.migrating import TABLE, MigrationFailed, migrating, migration_engine

database = current_app.extensions["migrate"].db


def is_ours(name, kind, _parents):
    """Whether a table is the models' business."""
    return not (kind == "table" and name == TABLE)


@contextmanager
def one_connection():
    """SQLite's own lock is enough for it."""
    if database.engine.dialect.name == "sqlite":
        with database.engine.connect() as connection:
            yield connection
        return
    engine = migration_engine(database.engine.url)
    try:
        with migrating(engine) as connection:
            yield connection
    except MigrationFailed as error:
        raise SystemExit(f"{error}.") from None
    finally:
        engine.dispose()


def leave(number, _frame):
    raise SystemExit(128 + number)


@contextmanager
def ending_on_sigterm():
    """Unwind, so that no statement is left running; Python does the same for Ctrl-C by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def keep_step(**done):
    """Commit each step with its number. SQLite's rebuilding of a table has ended the transaction that Alembic would commit:
    a later step that fails would take the numbers of those before it back, and not what they did."""
    done["ctx"].connection.commit()


def run() -> None:
    with ending_on_sigterm(), one_connection() as connection:
        context.configure(
            connection=connection,
            target_metadata=database.metadata,
            include_name=is_ours,
            on_version_apply=keep_step,
            **current_app.extensions["migrate"].configure_args,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


if context.is_offline_mode():
    raise SystemExit("migrations need their database: they look before they create")
run()
