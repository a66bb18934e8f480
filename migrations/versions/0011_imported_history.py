"""Where a row of the history was imported from, and the types that an import brings.

Every step looks before it creates, as in 0001: the same upgrade can simply be run again.
"""

import sqlalchemy as sa
from alembic import op

from migrations.checks import add_check, drop_check

from bittrade.models.types import BigKey, ascii_text

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TYPES_BEFORE = (
    *("MARKET_BUY", "MARKET_SELL", "ORDER_RESERVE", "ORDER_RELEASE", "LIMIT_BUY", "LIMIT_SELL"),
    *("DCA_BUY", "DCA_SELL", "DEPOSIT_INR", "DEPOSIT_BTC", "WITHDRAW_INR", "WITHDRAW_BTC", "REVERSAL"),
)
TYPES = (*TYPES_BEFORE, "OPENING", "IMPORTED")
TYPE_CHECK = "ck_transactions_type"
COLUMNS = {"imported_id": BigKey, "imported_type": ascii_text(40)}


def column_names() -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("transactions")}


def set_types(types: tuple[str, ...]) -> None:
    drop_check("transactions", TYPE_CHECK)
    add_check("transactions", TYPE_CHECK, f"type IN ({', '.join(repr(name) for name in types)})")


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        if name not in column_names():
            op.add_column("transactions", sa.Column(name, kind, nullable=True))
    set_types(TYPES)


def downgrade() -> None:
    """Refuse where something was imported: the history would lose it."""
    if "imported_id" in column_names():
        imported = op.get_bind().scalar(
            sa.text("SELECT count(*) FROM transactions WHERE imported_id IS NOT NULL OR type = 'OPENING'")
        )
        if imported:
            raise SystemExit(f"{imported} rows of the history were imported: the way back would lose them")
    set_types(TYPES_BEFORE)
    for name in COLUMNS:
        if name in column_names():
            op.drop_column("transactions", name)
