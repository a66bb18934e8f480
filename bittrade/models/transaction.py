"""The customer's history, the books behind it, and the answers kept for retries."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.domain.transaction_types import TYPE_NAMES
from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, LongText, UtcDateTime, WholeNumber, ascii_text, text

TRANSACTION_STATUSES = ("PENDING", "EXECUTED", "CANCELLED", "FAILED")


def _one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


class Transaction(db.Model):  # type: ignore[name-defined]
    """One row of a user's history. Amounts are what changed hands, never negative; the legs say in which direction."""

    __tablename__ = "transactions"
    __table_args__ = (
        _one_of("type", TYPE_NAMES),
        _one_of("status", TRANSACTION_STATUSES),
        sa.CheckConstraint("btc_amount >= 0 AND inr_amount >= 0", name="amounts_not_negative"),
        sa.UniqueConstraint("user_id", "seq"),
        sa.UniqueConstraint("user_id", "client_order_id"),
        # The history's order, PENDING first and then newest, is this index read backwards.
        sa.Index("ix_transactions_history", "user_id", "is_pending", "seq"),
        MYSQL_TABLE,
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    seq: Mapped[int] = mapped_column(WholeNumber)  # the user's `balances.seq` after this one
    type: Mapped[str] = mapped_column(ascii_text(32))
    status: Mapped[str] = mapped_column(ascii_text(10))
    is_pending: Mapped[bool] = mapped_column(sa.Boolean(create_constraint=False), default=False)
    btc_amount: Mapped[int] = mapped_column(WholeNumber)
    inr_amount: Mapped[int] = mapped_column(WholeNumber)
    execution_price: Mapped[int | None] = mapped_column(
        WholeNumber
    )  # rupees for one bitcoin; none on a deposit
    receipt: Mapped[str | None] = mapped_column(
        LongText
    )  # JSON: how a trade's figures came about (domain/receipt.py)
    price_id: Mapped[int | None] = mapped_column(  # of the receipt; worked out by the database
        BigKey, sa.Computed("json_extract(receipt, '$.price_id')", persisted=False), index=True
    )
    reverses_id: Mapped[int | None] = mapped_column(BigKey, sa.ForeignKey("transactions.id"), unique=True)
    client_order_id: Mapped[str | None] = mapped_column(ascii_text(64))
    # The limit order that this transaction ends, by a fill or by giving back what it reserved: one for each order.
    order_id: Mapped[int | None] = mapped_column(BigKey, unique=True)
    # What it was where it was imported from. Such a row is only told: it has no legs, and moves nothing here.
    imported_id: Mapped[int | None] = mapped_column(BigKey)
    imported_type: Mapped[str | None] = mapped_column(ascii_text(40))
    # A transfer is two transactions. Each names the other user, as they were called; what came, also what was sent.
    transfer_id: Mapped[int | None] = mapped_column(BigKey, unique=True)
    counterparty_id: Mapped[int | None] = mapped_column(BigKey)
    counterparty_name: Mapped[str | None] = mapped_column(text(100))
    loan_id: Mapped[int | None] = mapped_column(BigKey)  # the loan that this was done to
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    executed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LedgerLeg(db.Model):  # type: ignore[name-defined]
    """One leg of a transaction's entry; append-only. The house's legs (`user_id` NULL) are only ever inserted and
    summed: a running house balance would be one row that every trade waits for."""

    __tablename__ = "ledger_legs"
    __table_args__ = (
        sa.CheckConstraint("asset IN ('INR', 'BTC')", name="asset"),
        sa.CheckConstraint("amount <> 0", name="amount_not_zero"),
        sa.Index("ix_ledger_legs_user_account", "user_id", "account"),
        MYSQL_TABLE,
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    transaction_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("transactions.id"), index=True)
    user_id: Mapped[int | None] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    account: Mapped[str] = mapped_column(ascii_text(32))
    asset: Mapped[str] = mapped_column(ascii_text(3))
    amount: Mapped[int] = mapped_column(WholeNumber)


class Quote(db.Model):  # type: ignore[name-defined]
    """A rate held for one user for a short time; used at most once (`used_at`)."""

    __tablename__ = "quotes"
    __table_args__ = (MYSQL_TABLE,)

    id: Mapped[str] = mapped_column(ascii_text(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"), index=True)
    price: Mapped[str] = mapped_column(LongText)  # JSON: the price and the multipliers that are held
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class IdempotencyKey(db.Model):  # type: ignore[name-defined]
    """The first answer to a request that carried a key, committed together with what it did."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (MYSQL_TABLE,)

    user_id: Mapped[int] = mapped_column(
        BigKey, sa.ForeignKey("users.id"), primary_key=True, autoincrement=False
    )
    route: Mapped[str] = mapped_column(ascii_text(32), primary_key=True)
    key: Mapped[str] = mapped_column(ascii_text(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(ascii_text(64))  # SHA-256 of the body's meaning
    answer: Mapped[str] = mapped_column(LongText)  # JSON
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
