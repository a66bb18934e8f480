"""Recurring plans and their runs."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, UtcDateTime, WholeNumber, ascii_text


class RecurringPlan(db.Model):  # type: ignore[name-defined]
    """An instruction to trade again and again. The row of the user's balance guards it: who changes it holds that lock."""

    __tablename__ = "recurring_plans"
    __table_args__ = (
        sa.CheckConstraint("action IN ('buy', 'sell')", name="action"),
        sa.CheckConstraint("asset IN ('INR', 'BTC')", name="asset"),
        sa.CheckConstraint("frequency IN ('HOURLY', 'DAILY', 'WEEKLY', 'MONTHLY')", name="frequency"),
        sa.CheckConstraint("status IN ('ACTIVE', 'PAUSED', 'COMPLETED', 'CANCELLED')", name="status"),
        sa.CheckConstraint("amount > 0", name="amount_positive"),
        sa.CheckConstraint(
            "remaining_executions IS NULL OR remaining_executions >= 0", name="remaining_executions"
        ),
        sa.Index("ix_recurring_plans_due", "status", "attempt_at"),
        sa.Index("ix_recurring_plans_user", "user_id", "status"),
        MYSQL_TABLE,
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    action: Mapped[str] = mapped_column(ascii_text(4))
    asset: Mapped[str] = mapped_column(ascii_text(3))  # what `amount` counts
    amount: Mapped[int] = mapped_column(WholeNumber)
    max_price: Mapped[int | None] = mapped_column(WholeNumber)  # rupees for one bitcoin
    min_price: Mapped[int | None] = mapped_column(WholeNumber)
    frequency: Mapped[str] = mapped_column(ascii_text(10))
    time_zone: Mapped[str] = mapped_column(ascii_text(64))
    start_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[str] = mapped_column(ascii_text(10))
    remaining_executions: Mapped[int | None] = mapped_column(WholeNumber)  # none: for ever
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)  # the next run's time
    attempt_at: Mapped[datetime] = mapped_column(
        UtcDateTime
    )  # when it is tried: later, after a price was missing
    attempts: Mapped[int] = mapped_column(sa.Integer)  # of the run that is due
    unfunded_runs: Mapped[int] = mapped_column(sa.Integer)  # in a row
    # What the runs came to so far, in one transaction with each of them.
    executions: Mapped[int] = mapped_column(WholeNumber)
    total_inr: Mapped[int] = mapped_column(WholeNumber)
    total_btc: Mapped[int] = mapped_column(WholeNumber)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class PlanRun(db.Model):  # type: ignore[name-defined]
    """What became of one due time. Its key is why each due time runs exactly once."""

    __tablename__ = "plan_runs"
    __table_args__ = (
        sa.CheckConstraint("outcome IN ('executed', 'skipped')", name="outcome"),
        sa.CheckConstraint(
            "(outcome = 'executed') = (transaction_id IS NOT NULL)", name="transaction_of_executed"
        ),
        MYSQL_TABLE,
    )

    plan_id: Mapped[int] = mapped_column(
        BigKey, sa.ForeignKey("recurring_plans.id"), primary_key=True, autoincrement=False
    )
    due_at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)  # when it was made or given up
    outcome: Mapped[str] = mapped_column(ascii_text(10))
    reason: Mapped[str | None] = mapped_column(ascii_text(40))  # why it was skipped
    transaction_id: Mapped[int | None] = mapped_column(BigKey, sa.ForeignKey("transactions.id"), unique=True)
    execution_price: Mapped[int | None] = mapped_column(WholeNumber)
    inr_amount: Mapped[int | None] = mapped_column(WholeNumber)
    btc_amount: Mapped[int | None] = mapped_column(WholeNumber)
