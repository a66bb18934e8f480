"""The newest link of each user's hash chain, and what the proofs of the books leave behind.

Old rows are chained by `flask --app wsgi ledger chain`, when no process of an older version posts any more. Every step
looks before it works, as in 0001: the same upgrade can simply be run again.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from bittrade.models.types import MYSQL_TABLE, BigKey, UtcDateTime, ascii_text, text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = {"chain": ("''", ascii_text(64)), "chain_seq": ("0", sa.BigInteger())}
TABLES = ("ledger_checkpoints", "ledger_proofs", "traded_prices")
ACCOUNTS = (
    *("available_inr", "available_btc", "reserved_inr", "reserved_btc"),
    *("collateral_btc", "borrowed_inr", "interest_accrued"),
)


def create_table(name: str, *parts: Any) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **MYSQL_TABLE)


def columns_of(table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}


def upgrade() -> None:
    for name, (default, kind) in COLUMNS.items():
        if name not in columns_of("balances"):
            op.add_column("balances", sa.Column(name, kind, nullable=False, server_default=sa.text(default)))
    create_table(
        "ledger_proofs",
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        sa.Column("kind", ascii_text(8), nullable=False),
        sa.Column("began_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("transactions", sa.BigInteger(), nullable=True),
        sa.Column("faults", sa.BigInteger(), nullable=True),
        sa.Column("first_fault", text(255), nullable=True),
        sa.Column("last_leg_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('recent', 'whole')", name="kind"),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_proofs"),
    )
    if "ix_ledger_proofs_began_at" not in {
        index["name"] for index in sa.inspect(op.get_bind()).get_indexes("ledger_proofs")
    }:
        op.create_index("ix_ledger_proofs_began_at", "ledger_proofs", ["began_at"])
    create_table(
        "ledger_checkpoints",
        sa.Column("user_id", BigKey, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=False),
        sa.Column("link", ascii_text(64), nullable=False),
        *(sa.Column(account, sa.BigInteger(), nullable=False) for account in ACCOUNTS),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_ledger_checkpoints_user_id_users"),
        sa.PrimaryKeyConstraint("user_id", name="pk_ledger_checkpoints"),
    )
    create_table(
        "traded_prices",
        sa.Column("price_id", BigKey, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["price_id"], ["bitcoin_data.id"], name="fk_traded_prices_price_id_bitcoin_data"
        ),
        sa.PrimaryKeyConstraint("price_id", name="pk_traded_prices"),
    )


def downgrade() -> None:
    inspector = sa.inspect(op.get_bind())
    for name in TABLES:
        if inspector.has_table(name):
            op.drop_table(name)
    for name in COLUMNS:
        if inspector.has_table("balances") and name in columns_of("balances"):
            op.drop_column("balances", name)
