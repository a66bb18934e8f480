"""Loans against bitcoin. Their money is in the books; a row here says what each loan holds and owes of it."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, UtcDateTime, WholeNumber, ascii_text


class LoanRow(db.Model):  # type: ignore[name-defined]
    """One loan. Its id is that of the transaction that created it. The row of the user's balance guards it."""

    __tablename__ = "loans"
    __table_args__ = (
        sa.CheckConstraint("status IN ('ACTIVE', 'CLOSED', 'LIQUIDATED')", name="status"),
        sa.CheckConstraint(
            "collateral_btc >= 0 AND borrowed_inr >= 0 AND interest_accrued >= 0", name="amounts_not_negative"
        ),
        sa.CheckConstraint(
            "status = 'ACTIVE' OR (collateral_btc = 0 AND borrowed_inr = 0 AND interest_accrued = 0)",
            name="ended_empty",
        ),
        sa.CheckConstraint("(status = 'ACTIVE') = (closed_at IS NULL)", name="closed_at"),
        sa.Index("ix_loans_user", "user_id", "status", "id"),
        # What the watch asks for: whom the rate endangers, and whose interest is due.
        sa.Index("ix_loans_call", "status", "call_rate_inr"),
        sa.Index("ix_loans_liquidation", "status", "liquidation_rate_inr"),
        sa.Index("ix_loans_interest", "status", "interest_since"),
        MYSQL_TABLE,
    )

    id: Mapped[int] = mapped_column(
        BigKey, sa.ForeignKey("transactions.id"), primary_key=True, autoincrement=False
    )
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    status: Mapped[str] = mapped_column(ascii_text(10))
    collateral_btc: Mapped[int] = mapped_column(WholeNumber)  # satoshis
    borrowed_inr: Mapped[int] = mapped_column(WholeNumber)
    interest_accrued: Mapped[int] = mapped_column(WholeNumber)  # charged, in rupees
    # Micro-rupees up to `interest_since` that were not charged; below zero: paid ahead.
    interest_micro: Mapped[int] = mapped_column(WholeNumber)
    interest_since: Mapped[datetime] = mapped_column(UtcDateTime)
    max_ltv_pct: Mapped[int] = mapped_column(sa.Integer)
    call_ltv_pct: Mapped[int] = mapped_column(sa.Integer)
    liquidation_ltv_pct: Mapped[int] = mapped_column(sa.Integer)
    yearly_rate_bps: Mapped[int] = mapped_column(sa.Integer)
    # From these rates for sellers downwards the loan is looked at; a little early (domain/loans.py).
    call_rate_inr: Mapped[int] = mapped_column(WholeNumber)
    liquidation_rate_inr: Mapped[int] = mapped_column(WholeNumber)
    margin_called_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
