"""Reading the original's database, in one snapshot and without changing it. Two generations of its tables exist, so
what is there is asked first; what values mean is for `conversion`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

import database_url
from bittrade.database import encryption_of
from bittrade.errors import InvalidInput

READ_TIMEOUT_S = 600
HISTORIES = ("transactions", "operations")  # the newer name, and the older one
# TIMESTAMPs then come in UTC, whatever the server's zone is.
_SESSION = "SET SESSION time_zone='+00:00'"
_READ_ONLY = "SET SESSION TRANSACTION READ ONLY"  # from the next transaction on
Raw = dict[str, Any]  # a row as it stands there; a column that this generation lacks is missing


class Source:
    """The original's tables."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        inspector = sa.inspect(connection)
        tables = {name.lower(): name for name in inspector.get_table_names()}
        self.histories = [name for name in HISTORIES if name in tables]
        if "users" not in tables or not self.histories:
            raise InvalidInput(
                "That is not the original's database: it needs users, and transactions or operations"
            )
        names = ("users", self.histories[0], *{"active_plans", "settings"} & tables.keys())
        self._tables = {
            name: sa.table(
                tables[name], *(sa.column(column["name"]) for column in inspector.get_columns(tables[name]))
            )
            for name in names
        }
        self._history = self._tables[self.histories[0]]

    def read_users(self) -> list[Raw]:
        """Return every user, by id."""
        users = self._tables["users"]
        return self._rows(sa.select(users).order_by(users.c.id))

    def read_history(self, *, after: int, until: int) -> list[Raw]:
        """Return the history of the users with after < id <= until: each user's in the order of time."""
        of = self._history.c
        order = [of[name] for name in ("user_id", "created_at", "id") if name in of]
        return self._rows(
            sa.select(self._history).where(of.user_id > after, of.user_id <= until).order_by(*order)
        )

    def count_orphans(self) -> list[tuple[int | None, int]]:
        """Return the users that the history names and who are not there, each with the number of rows."""
        of, users = self._history.c, self._tables["users"]
        is_lost = of.user_id.not_in(sa.select(users.c.id)) | of.user_id.is_(None)
        query = sa.select(of.user_id, sa.func.count()).where(is_lost).group_by(of.user_id)
        return [(user_id, count) for user_id, count in self._connection.execute(query.order_by(of.user_id))]

    def count_active_plans(self) -> list[tuple[int, int]]:
        """Return whose plans are active or paused, each with their number."""
        plans = self._tables.get("active_plans")
        if plans is None:
            return []
        query = sa.select(plans.c.user_id, sa.func.count()).where(plans.c.status.in_(("ACTIVE", "PAUSED")))
        rows = self._connection.execute(query.group_by(plans.c.user_id).order_by(plans.c.user_id))
        return [(user_id, count) for user_id, count in rows]

    def read_settings(self) -> dict[str, str]:
        """Return the multipliers, as they are written there."""
        settings = self._tables.get("settings")
        if settings is None:
            return {}
        rows = self._rows(sa.select(settings.c.key, settings.c.value))
        return {str(row["key"]): str(row["value"]) for row in rows}

    def _rows(self, query: sa.Select[Any]) -> list[Raw]:
        return [dict(row) for row in self._connection.execute(query).mappings()]


@contextmanager
def reading(address: str) -> Iterator[Source]:
    """Open the original's database. Raises InvalidInput with the reason where it can't be read."""
    try:
        url = sa.make_url(database_url.normalize(address))
    except ValueError as error:
        raise InvalidInput(str(error).replace("DATABASE_URL", "--from")) from error
    if url.get_backend_name() != "mysql":
        raise InvalidInput("--from is mysql://user:password@host:3306/bittrade")
    limits = {"connect_timeout": 10, "read_timeout": READ_TIMEOUT_S, "init_command": _SESSION}
    engine = sa.create_engine(
        url,
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        hide_parameters=True,
        connect_args={"charset": "utf8mb4", **limits, **encryption_of(url)},
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(_READ_ONLY)
            connection.rollback()
            yield Source(connection)
    except SQLAlchemyError as error:
        reason: Sequence[Any] = getattr(getattr(error, "orig", None), "args", ()) or (error,)
        raise InvalidInput(f"The original's database refused: {reason[-1]}") from error
    finally:
        engine.dispose()
