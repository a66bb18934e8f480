"""Keys for programs, and what the owner's list of sessions shows.

Every step looks before it creates, as in 0001: the same upgrade can simply be run again.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from bittrade.models.types import MYSQL_TABLE, BigKey, UtcDateTime, ascii_text, text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SEEN = ("device", "address", "last_seen_at")


def create_table(name: str, *parts: Any) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **MYSQL_TABLE)


def create_index(name: str, table: str, columns: list[str]) -> None:
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns)


def column_names(table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}


def add_column(table: str, column: sa.Column[Any]) -> None:
    if column.name not in column_names(table):
        op.add_column(table, column)


def upgrade() -> None:
    add_column("sessions", sa.Column("device", text(200), nullable=True))
    add_column("sessions", sa.Column("address", ascii_text(64), nullable=True))
    add_column("sessions", sa.Column("last_seen_at", UtcDateTime(), nullable=True))
    create_table(
        "api_keys",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("user_id", BigKey, nullable=False),
        sa.Column("name", text(100), nullable=False),
        sa.Column("prefix", ascii_text(16), nullable=False),
        sa.Column("secret_hash", ascii_text(64), nullable=False),
        sa.Column("scopes", ascii_text(64), nullable=False),
        sa.Column("addresses", ascii_text(1000), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_address", ascii_text(64), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_keys_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("secret_hash", name="uq_api_keys_secret_hash"),
    )
    create_index("ix_api_keys_user_id", "api_keys", ["user_id"])
    create_index("ix_api_keys_revoked_at", "api_keys", ["revoked_at"])


def downgrade() -> None:
    if sa.inspect(op.get_bind()).has_table("api_keys"):
        op.drop_table("api_keys")
    known = column_names("sessions")
    for name in SEEN:
        if name in known:
            op.drop_column("sessions", name)
