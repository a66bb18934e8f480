"""Limit orders with the transactions that end them, and recurring plans with their runs.

Every step looks before it creates, as in 0001: the same upgrade can simply be run again.
"""

import sqlalchemy as sa
from alembic import op

from migrations.checks import add_check, add_unique, drop_check, drop_unique

from bittrade.models.types import MYSQL_TABLE, BigKey, UtcDateTime, ascii_text, text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_orders_matching": ["status", "action", "limit_price", "id"],
    "ix_orders_user": ["user_id", "status", "id"],
    "ix_orders_expiry": ["status", "expires_at"],
}
PLAN_INDEXES = {
    "ix_recurring_plans_due": ["status", "attempt_at"],
    "ix_recurring_plans_user": ["user_id", "status"],
}
TYPES_BEFORE = (
    "MARKET_BUY",
    "MARKET_SELL",
    "DEPOSIT_INR",
    "DEPOSIT_BTC",
    "WITHDRAW_INR",
    "WITHDRAW_BTC",
    "REVERSAL",
)
TYPES = (*TYPES_BEFORE, "ORDER_RESERVE", "ORDER_RELEASE", "LIMIT_BUY", "LIMIT_SELL", "DCA_BUY", "DCA_SELL")
ORDER_ONCE = "uq_transactions_order_id"
TYPE_CHECK = "ck_transactions_type"


def table_names() -> set[str]:
    return set(sa.inspect(op.get_bind()).get_table_names())


def transaction_columns() -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("transactions")}


def set_types(types: tuple[str, ...]) -> None:
    drop_check("transactions", TYPE_CHECK)
    add_check("transactions", TYPE_CHECK, f"type IN ({', '.join(repr(name) for name in types)})")


def upgrade() -> None:
    set_types(TYPES)
    if "order_id" not in transaction_columns():
        op.add_column("transactions", sa.Column("order_id", BigKey, nullable=True))
    add_unique("transactions", ORDER_ONCE, "order_id")
    if "orders" not in table_names():
        op.create_table(
            "orders",
            sa.Column("id", BigKey, autoincrement=False, nullable=False),
            sa.Column("user_id", BigKey, nullable=False),
            sa.Column("client_order_id", ascii_text(64), nullable=True),
            sa.Column("action", ascii_text(4), nullable=False),
            sa.Column("asset", ascii_text(3), nullable=False),
            sa.Column("amount", sa.BigInteger(), nullable=False),
            sa.Column("limit_price", sa.BigInteger(), nullable=False),
            sa.Column("reserved", sa.BigInteger(), nullable=False),
            sa.Column("status", ascii_text(10), nullable=False),
            sa.Column("expires_at", UtcDateTime(), nullable=True),
            sa.Column("created_at", UtcDateTime(), nullable=False),
            sa.Column("closed_at", UtcDateTime(), nullable=True),
            sa.Column("closed_by_id", BigKey, nullable=True),
            sa.Column("reason", text(255), nullable=True),
            sa.CheckConstraint("action IN ('buy', 'sell')", name=op.f("ck_orders_action")),
            sa.CheckConstraint("asset IN ('INR', 'BTC')", name=op.f("ck_orders_asset")),
            sa.CheckConstraint(
                "status IN ('OPEN', 'FILLED', 'CANCELLED', 'EXPIRED')", name=op.f("ck_orders_status")
            ),
            sa.CheckConstraint(
                "amount > 0 AND limit_price > 0 AND reserved > 0", name=op.f("ck_orders_amounts_positive")
            ),
            sa.CheckConstraint(
                "(status = 'OPEN') = (closed_by_id IS NULL)", name=op.f("ck_orders_closed_by_a_transaction")
            ),
            sa.ForeignKeyConstraint(["id"], ["transactions.id"], name="fk_orders_id_transactions"),
            sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_orders_user_id_users"),
            sa.ForeignKeyConstraint(
                ["closed_by_id"], ["transactions.id"], name="fk_orders_closed_by_id_transactions"
            ),
            sa.PrimaryKeyConstraint("id", name="pk_orders"),
            sa.UniqueConstraint("closed_by_id", name="uq_orders_closed_by_id"),
            **MYSQL_TABLE,
        )
    create_plans()
    known = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("orders")}
    for name, columns in INDEXES.items():
        if name not in known:
            op.create_index(name, "orders", columns)


def create_plans() -> None:
    if "recurring_plans" not in table_names():
        op.create_table(
            "recurring_plans",
            sa.Column("id", BigKey, autoincrement=True, nullable=False),
            sa.Column("user_id", BigKey, nullable=False),
            sa.Column("action", ascii_text(4), nullable=False),
            sa.Column("asset", ascii_text(3), nullable=False),
            sa.Column("amount", sa.BigInteger(), nullable=False),
            sa.Column("max_price", sa.BigInteger(), nullable=True),
            sa.Column("min_price", sa.BigInteger(), nullable=True),
            sa.Column("frequency", ascii_text(10), nullable=False),
            sa.Column("time_zone", ascii_text(64), nullable=False),
            sa.Column("start_at", UtcDateTime(), nullable=False),
            sa.Column("status", ascii_text(10), nullable=False),
            sa.Column("remaining_executions", sa.BigInteger(), nullable=True),
            sa.Column("due_at", UtcDateTime(), nullable=False),
            sa.Column("attempt_at", UtcDateTime(), nullable=False),
            sa.Column("attempts", sa.Integer(), nullable=False),
            sa.Column("unfunded_runs", sa.Integer(), nullable=False),
            sa.Column("executions", sa.BigInteger(), nullable=False),
            sa.Column("total_inr", sa.BigInteger(), nullable=False),
            sa.Column("total_btc", sa.BigInteger(), nullable=False),
            sa.Column("created_at", UtcDateTime(), nullable=False),
            sa.Column("ended_at", UtcDateTime(), nullable=True),
            sa.CheckConstraint("action IN ('buy', 'sell')", name=op.f("ck_recurring_plans_action")),
            sa.CheckConstraint("asset IN ('INR', 'BTC')", name=op.f("ck_recurring_plans_asset")),
            sa.CheckConstraint(
                "frequency IN ('HOURLY', 'DAILY', 'WEEKLY', 'MONTHLY')",
                name=op.f("ck_recurring_plans_frequency"),
            ),
            sa.CheckConstraint(
                "status IN ('ACTIVE', 'PAUSED', 'COMPLETED', 'CANCELLED')",
                name=op.f("ck_recurring_plans_status"),
            ),
            sa.CheckConstraint("amount > 0", name=op.f("ck_recurring_plans_amount_positive")),
            sa.CheckConstraint(
                "remaining_executions IS NULL OR remaining_executions >= 0",
                name=op.f("ck_recurring_plans_remaining_executions"),
            ),
            sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_recurring_plans_user_id_users"),
            sa.PrimaryKeyConstraint("id", name="pk_recurring_plans"),
            **MYSQL_TABLE,
        )
    known = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("recurring_plans")}
    for name, columns in PLAN_INDEXES.items():
        if name not in known:
            op.create_index(name, "recurring_plans", columns)
    if "plan_runs" not in table_names():
        op.create_table(
            "plan_runs",
            sa.Column("plan_id", BigKey, autoincrement=False, nullable=False),
            sa.Column("due_at", UtcDateTime(), nullable=False),
            sa.Column("at", UtcDateTime(), nullable=False),
            sa.Column("outcome", ascii_text(10), nullable=False),
            sa.Column("reason", ascii_text(40), nullable=True),
            sa.Column("transaction_id", BigKey, nullable=True),
            sa.Column("execution_price", sa.BigInteger(), nullable=True),
            sa.Column("inr_amount", sa.BigInteger(), nullable=True),
            sa.Column("btc_amount", sa.BigInteger(), nullable=True),
            sa.CheckConstraint("outcome IN ('executed', 'skipped')", name=op.f("ck_plan_runs_outcome")),
            sa.CheckConstraint(
                "(outcome = 'executed') = (transaction_id IS NOT NULL)",
                name=op.f("ck_plan_runs_transaction_of_executed"),
            ),
            sa.ForeignKeyConstraint(
                ["plan_id"], ["recurring_plans.id"], name="fk_plan_runs_plan_id_recurring_plans"
            ),
            sa.ForeignKeyConstraint(
                ["transaction_id"], ["transactions.id"], name="fk_plan_runs_transaction_id_transactions"
            ),
            sa.PrimaryKeyConstraint("plan_id", "due_at", name="pk_plan_runs"),
            sa.UniqueConstraint("transaction_id", name="uq_plan_runs_transaction_id"),
            **MYSQL_TABLE,
        )


def downgrade() -> None:
    for table in ("plan_runs", "recurring_plans"):
        if table in table_names():
            op.drop_table(table)
    if "orders" in table_names():
        op.drop_table("orders")
    if "order_id" in transaction_columns():
        drop_unique("transactions", ORDER_ONCE)
        op.drop_column("transactions", "order_id")
    set_types(TYPES_BEFORE)
