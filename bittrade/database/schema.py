"""Whether the tables are those that this code was written for."""

from functools import lru_cache
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

MEND = "flask --app wsgi db upgrade"


def find_schema_fault(connection: Connection, migrations: Path) -> str | None:
    """Return why these tables are not this code's, or None. Newer ones are not either: who knows what they mean."""
    head = _head(migrations)
    found = MigrationContext.configure(connection).get_current_revision()
    if found == head:
        return None
    return f"The tables are of revision {found}, the code's are {head}"


@lru_cache
def _head(migrations: Path) -> str | None:
    """What this process was started with, whatever lies in the folder since."""
    return ScriptDirectory(str(migrations)).get_current_head()
