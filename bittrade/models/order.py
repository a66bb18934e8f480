"""Orders that wait for their price. Their money is in the books; a row here says what they are and how they ended."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, UtcDateTime, WholeNumber, ascii_text, text


class LimitOrderRow(db.Model):  # type: ignore[name-defined]
    """One limit order. Its id is that of the transaction that reserved its money: the two can never collide.

    The row of the user's balance guards it: who changes it holds that lock.
    """

    __tablename__ = "orders"
    __table_args__ = (
        sa.CheckConstraint("action IN ('buy', 'sell')", name="action"),
        sa.CheckConstraint("asset IN ('INR', 'BTC')", name="asset"),
        sa.CheckConstraint("status IN ('OPEN', 'FILLED', 'CANCELLED', 'EXPIRED')", name="status"),
        sa.CheckConstraint("amount > 0 AND limit_price > 0 AND reserved > 0", name="amounts_positive"),
        sa.CheckConstraint("(status = 'OPEN') = (closed_by_id IS NULL)", name="closed_by_a_transaction"),
        # Matching asks for the open orders of one side within a price; lists and sweeps for the rest.
        sa.Index("ix_orders_matching", "status", "action", "limit_price", "id"),
        sa.Index("ix_orders_user", "user_id", "status", "id"),
        sa.Index("ix_orders_expiry", "status", "expires_at"),
        MYSQL_TABLE,
    )

    id: Mapped[int] = mapped_column(
        BigKey, sa.ForeignKey("transactions.id"), primary_key=True, autoincrement=False
    )
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    client_order_id: Mapped[str | None] = mapped_column(ascii_text(64))
    action: Mapped[str] = mapped_column(ascii_text(4))
    asset: Mapped[str] = mapped_column(ascii_text(3))  # what `amount` counts
    amount: Mapped[int] = mapped_column(WholeNumber)
    limit_price: Mapped[int] = mapped_column(WholeNumber)  # rupees for one bitcoin
    reserved: Mapped[int] = mapped_column(WholeNumber)  # rupees of a buy, satoshis of a sell
    status: Mapped[str] = mapped_column(ascii_text(10))
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_by_id: Mapped[int | None] = mapped_column(BigKey, sa.ForeignKey("transactions.id"), unique=True)
    reason: Mapped[str | None] = mapped_column(text(255))  # why it was cancelled, where somebody said
