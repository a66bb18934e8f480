"""Transfers between users: what each half says of the other, their types, and room for longer names of types.

Every step looks before it creates, as in 0001: the same upgrade can simply be run again.
"""

import sqlalchemy as sa
from alembic import op

from migrations.checks import add_check, add_unique, drop_check, drop_unique, set_width

from bittrade.models.types import BigKey, ascii_text, text

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TYPES_BEFORE = (
    *("MARKET_BUY", "MARKET_SELL", "ORDER_RESERVE", "ORDER_RELEASE", "LIMIT_BUY", "LIMIT_SELL"),
    *("DCA_BUY", "DCA_SELL", "DEPOSIT_INR", "DEPOSIT_BTC", "WITHDRAW_INR", "WITHDRAW_BTC"),
    *("OPENING", "IMPORTED", "REVERSAL"),
)
TYPES = (*TYPES_BEFORE, "TRANSFER_OUT", "TRANSFER_IN")
TYPE_CHECK = "ck_transactions_type"
ONE_IN = "uq_transactions_transfer_id"
COLUMNS = {"transfer_id": BigKey, "counterparty_id": BigKey, "counterparty_name": text(100)}


def column_names() -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("transactions")}


def set_types(types: tuple[str, ...]) -> None:
    drop_check("transactions", TYPE_CHECK)
    add_check("transactions", TYPE_CHECK, f"type IN ({', '.join(repr(name) for name in types)})")


def upgrade() -> None:
    set_width("transactions", "type", before=ascii_text(20), after=ascii_text(32))
    for name, kind in COLUMNS.items():
        if name not in column_names():
            op.add_column("transactions", sa.Column(name, kind, nullable=True))
    add_unique("transactions", ONE_IN, "transfer_id")
    set_types(TYPES)


def downgrade() -> None:
    """Refuse where something was transferred: the history would lose it."""
    if "transfer_id" in column_names():
        count = sa.text("SELECT count(*) FROM transactions WHERE type IN ('TRANSFER_OUT', 'TRANSFER_IN')")
        if transfers := op.get_bind().scalar(count):
            raise SystemExit(f"{transfers} rows of the history are transfers: the way back would lose them")
        drop_unique("transactions", ONE_IN)
    set_types(TYPES_BEFORE)
    for name in COLUMNS:
        if name in column_names():
            op.drop_column("transactions", name)
    set_width("transactions", "type", before=ascii_text(32), after=ascii_text(20))
