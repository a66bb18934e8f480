"""Prices that were held or refused, what is known of each source, and an index for candles and retention.

Every step looks before it creates, as in 0001: the same upgrade can simply be run again.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from bittrade.models.types import MYSQL_TABLE, BigKey, LongText, UtcDateTime, ascii_text, text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("bitcoin_price_events", "upstreams")


def create_table(name: str, *parts: Any) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **MYSQL_TABLE)


def index_names(table: str) -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}


def create_index(name: str, table: str, columns: list[str]) -> None:
    if name not in index_names(table):
        op.create_index(name, table, columns)


def upgrade() -> None:
    create_index("ix_bitcoin_data_as_of", "bitcoin_data", ["as_of"])
    create_table(
        "bitcoin_price_events",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("provider", ascii_text(32), nullable=False),
        sa.Column("outcome", ascii_text(12), nullable=False),
        sa.Column("btc_usd_cents", sa.BigInteger(), nullable=True),
        sa.Column("last_usd_cents", sa.BigInteger(), nullable=True),
        sa.Column("as_of", UtcDateTime(), nullable=True),
        sa.Column("reason", text(255), nullable=False),
        sa.Column("resolved_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("outcome IN ('held', 'confirmed', 'refuted', 'refused')", name="outcome"),
        sa.PrimaryKeyConstraint("id", name="pk_bitcoin_price_events"),
    )
    create_index("ix_bitcoin_price_events_at", "bitcoin_price_events", ["at"])
    create_index("ix_bitcoin_price_events_outcome_at", "bitcoin_price_events", ["outcome", "at"])
    create_table(
        "upstreams",
        sa.Column("name", ascii_text(32), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("open_until", UtcDateTime(), nullable=True),
        sa.Column("paused_until", UtcDateTime(), nullable=True),
        sa.Column("last_success_at", UtcDateTime(), nullable=True),
        sa.Column("last_failure_at", UtcDateTime(), nullable=True),
        sa.Column("last_failure", text(255), nullable=True),
        sa.Column("succeeded", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("month", ascii_text(7), nullable=False),
        sa.Column("month_calls", sa.BigInteger(), nullable=False),
        sa.Column("recent_calls", LongText, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_upstreams"),
    )


def downgrade() -> None:
    inspector = sa.inspect(op.get_bind())
    for name in TABLES:
        if inspector.has_table(name):
            op.drop_table(name)
    if "ix_bitcoin_data_as_of" in index_names("bitcoin_data"):
        op.drop_index("ix_bitcoin_data_as_of", "bitcoin_data")
