"""Column types that mean the same on MariaDB, MySQL and SQLite."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

# Explicit, because a server's default may be latin1 and compare without case.
_TABLE = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}
MYSQL_TABLE = {f"{dialect}_{key}": value for dialect in ("mysql", "mariadb") for key, value in _TABLE.items()}

# SQLite only counts up an INTEGER primary key.
BigKey = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LongText = sa.Text().with_variant(
    mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


def ascii_text(length: int) -> sa.types.TypeEngine[str]:
    """Text that is compared byte for byte: keys, codes, normalised e-mails."""
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
    )


def text(length: int) -> sa.types.TypeEngine[str]:
    """Text for people, any Unicode."""
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC time with microseconds. The database keeps it without a zone; DATETIME alone would drop fractions."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time needs its zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class WholeNumber(sa.types.TypeDecorator[int]):
    """BIGINT that takes nothing but an int: MariaDB would silently round 1.5 to 2, even in strict mode."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, _dialect: sa.Dialect) -> int | None:
        if value is not None and type(value) is not int:
            raise TypeError(f"Money is an int, not {type(value).__name__}")
        return value
