"""Which sources confirmed a price, how far each drifts, and which prices receipts name (those are kept for ever).

Each step looks before it creates, as in 0001: the same upgrade can simply be run again. `price_id` is computed by the
database from the receipt, so it holds for old rows too and nobody can forget to fill it in.
"""

import sqlalchemy as sa
from alembic import op

from bittrade.models.types import BigKey, UtcDateTime, ascii_text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INDEX = "ix_transactions_price_id"


def added() -> list[tuple[str, sa.Column]]:
    return [
        ("bitcoin_data", sa.Column("checked_by", ascii_text(128), nullable=True)),
        ("upstreams", sa.Column("drift_bps", sa.Integer(), nullable=True)),
        ("upstreams", sa.Column("drift_at", UtcDateTime(), nullable=True)),
        (
            "transactions",
            sa.Column("price_id", BigKey, sa.Computed("json_extract(receipt, '$.price_id')", persisted=False)),
        ),
    ]


def has_column(table: str, name: str) -> bool:
    return name in {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}


def has_index() -> bool:
    return INDEX in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("transactions")}


def upgrade() -> None:
    for table, column in added():
        if not has_column(table, column.name):
            op.add_column(table, column)
    if not has_index():
        op.create_index(INDEX, "transactions", ["price_id"])


def downgrade() -> None:
    if has_index():
        op.drop_index(INDEX, table_name="transactions")
    for table, column in reversed(added()):
        if has_column(table, column.name):
            op.drop_column(table, column.name)
