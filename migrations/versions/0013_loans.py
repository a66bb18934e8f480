"""Loans against bitcoin; those that accounts were imported with become loans on the terms of today.

Every step looks before it creates, as in 0001: the same upgrade can simply be run again.
"""

import sqlalchemy as sa
from alembic import op

from migrations.checks import add_check, drop_check

from bittrade.models.types import MYSQL_TABLE, BigKey, UtcDateTime, ascii_text

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TYPES_BEFORE = (
    *("MARKET_BUY", "MARKET_SELL", "ORDER_RESERVE", "ORDER_RELEASE", "LIMIT_BUY", "LIMIT_SELL"),
    *("DCA_BUY", "DCA_SELL", "DEPOSIT_INR", "DEPOSIT_BTC", "WITHDRAW_INR", "WITHDRAW_BTC"),
    *("OPENING", "IMPORTED", "REVERSAL", "TRANSFER_OUT", "TRANSFER_IN"),
)
LOAN_TYPES = (
    *("LOAN_CREATE", "LOAN_BORROW", "LOAN_REPAY", "LOAN_ADD_COLLATERAL", "LOAN_WITHDRAW_COLLATERAL"),
    *("INTEREST_ACCRUAL", "PARTIAL_LIQUIDATION", "FULL_LIQUIDATION", "LOAN_WRITE_OFF"),
)
TYPE_CHECK = "ck_transactions_type"
INDEXES = {
    "ix_loans_user": ["user_id", "status", "id"],
    "ix_loans_call": ["status", "call_rate_inr"],
    "ix_loans_liquidation": ["status", "liquidation_rate_inr"],
    "ix_loans_interest": ["status", "interest_since"],
}
MAX_LTV_PCT, CALL_LTV_PCT, LIQUIDATION_LTV_PCT, YEARLY_RATE_BPS = 50, 70, 80, 1200
TERMS = {
    "max_ltv": MAX_LTV_PCT,
    "call_ltv": CALL_LTV_PCT,
    "liquidation_ltv": LIQUIDATION_LTV_PCT,
    "yearly_rate": YEARLY_RATE_BPS,
}
# Watched from any rate on, until it was worked out from which.
ANY_RATE = 2**63 - 1
OPENED = """
INSERT INTO loans (id, user_id, status, collateral_btc, borrowed_inr, interest_accrued, interest_micro, interest_since,
    max_ltv_pct, call_ltv_pct, liquidation_ltv_pct, yearly_rate_bps, call_rate_inr, liquidation_rate_inr, created_at)
SELECT t.id, t.user_id, 'ACTIVE', b.collateral_btc, b.borrowed_inr, b.interest_accrued, 0, :now,
    :max_ltv, :call_ltv, :liquidation_ltv, :yearly_rate, :any_rate, :any_rate, t.created_at
FROM transactions t JOIN balances b ON b.user_id = t.user_id
WHERE t.type = 'OPENING' AND b.collateral_btc + b.borrowed_inr + b.interest_accrued > 0
    AND NOT EXISTS (SELECT 1 FROM loans WHERE loans.id = t.id)
"""


def set_types(types: tuple[str, ...]) -> None:
    drop_check("transactions", TYPE_CHECK)
    add_check("transactions", TYPE_CHECK, f"type IN ({', '.join(repr(name) for name in types)})")


def has_table() -> bool:
    return "loans" in sa.inspect(op.get_bind()).get_table_names()


def has_column() -> bool:
    columns = sa.inspect(op.get_bind()).get_columns("transactions")
    return "loan_id" in {column["name"] for column in columns}


def upgrade() -> None:
    set_types((*TYPES_BEFORE, *LOAN_TYPES))
    if not has_column():
        op.add_column("transactions", sa.Column("loan_id", BigKey, nullable=True))
    if not has_table():
        create_table()
    known = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("loans")}
    for name, columns in INDEXES.items():
        if name not in known:
            op.create_index(name, "loans", columns)
    clock = "UTC_TIMESTAMP(6)" if op.get_bind().dialect.name != "sqlite" else "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    op.execute(sa.text(OPENED.replace(":now", clock)).bindparams(**TERMS, any_rate=ANY_RATE))
    watch_opened()


def watch_opened() -> None:
    """Work out from which rates on the loans that were opened are watched: only so many are looked at each second."""
    bind = op.get_bind()
    of_any_rate = sa.text(
        "SELECT id, collateral_btc, borrowed_inr + interest_accrued AS owed FROM loans WHERE call_rate_inr = :any_rate"
    )
    rates = [
        {
            "id": row.id,
            "call": watched_rate(row.owed, row.collateral_btc, CALL_LTV_PCT),
            "liquidation": watched_rate(row.owed, row.collateral_btc, LIQUIDATION_LTV_PCT),
        }
        for row in bind.execute(of_any_rate, {"any_rate": ANY_RATE})
    ]
    if rates:
        update = "UPDATE loans SET call_rate_inr = :call, liquidation_rate_inr = :liquidation WHERE id = :id"
        bind.execute(sa.text(update), rates)


def watched_rate(owed: int, collateral: int, percent: int) -> int:
    """Return the rate at which the debt, with a week's interest, is so many percent of what the collateral brings."""
    if not owed or not collateral:
        return 0
    week_s, year_s = 7 * 24 * 3600, 365 * 24 * 3600
    interest_micro = -(-owed * YEARLY_RATE_BPS * week_s * 10**6 // (10**4 * year_s))
    ahead = owed + 2 + interest_micro // 10**6
    return min(ANY_RATE, ahead * 10**10 // (collateral * percent))


def create_table() -> None:
    amounts = ("collateral_btc", "borrowed_inr", "interest_accrued", "interest_micro")
    terms = ("max_ltv_pct", "call_ltv_pct", "liquidation_ltv_pct", "yearly_rate_bps")
    rates = ("call_rate_inr", "liquidation_rate_inr")
    op.create_table(
        "loans",
        sa.Column("id", BigKey, autoincrement=False, nullable=False),
        sa.Column("user_id", BigKey, nullable=False),
        sa.Column("status", ascii_text(10), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in amounts),
        sa.Column("interest_since", UtcDateTime(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in terms),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in rates),
        sa.Column("margin_called_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("status IN ('ACTIVE', 'CLOSED', 'LIQUIDATED')", name=op.f("ck_loans_status")),
        sa.CheckConstraint(
            "collateral_btc >= 0 AND borrowed_inr >= 0 AND interest_accrued >= 0",
            name=op.f("ck_loans_amounts_not_negative"),
        ),
        sa.CheckConstraint(
            "status = 'ACTIVE' OR (collateral_btc = 0 AND borrowed_inr = 0 AND interest_accrued = 0)",
            name=op.f("ck_loans_ended_empty"),
        ),
        sa.CheckConstraint("(status = 'ACTIVE') = (closed_at IS NULL)", name=op.f("ck_loans_closed_at")),
        sa.ForeignKeyConstraint(["id"], ["transactions.id"], name="fk_loans_id_transactions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_loans_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_loans"),
        **MYSQL_TABLE,
    )


def downgrade() -> None:
    """Refuse where something was lent: the history would lose it."""
    names = ", ".join(repr(name) for name in LOAN_TYPES)
    count = sa.text(f"SELECT count(*) FROM transactions WHERE type IN ({names})")
    if lent := op.get_bind().scalar(count):
        raise SystemExit(f"{lent} rows of the history are about loans: the way back would lose them")
    if has_table():
        op.drop_table("loans")
    set_types(TYPES_BEFORE)
    if has_column():
        op.drop_column("transactions", "loan_id")
