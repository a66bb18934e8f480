"""What the proofs of the books leave behind: that they ran, and how far each user's books are proven."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, UtcDateTime, WholeNumber, ascii_text, text


class LedgerProof(db.Model):  # type: ignore[name-defined]
    """One run of a proof. It has no `ended_at` while it runs, nor after it was killed."""

    __tablename__ = "ledger_proofs"
    __table_args__ = (sa.CheckConstraint("kind IN ('recent', 'whole')", name="kind"), MYSQL_TABLE)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(ascii_text(8))  # recent: what came after the checkpoints
    began_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    transactions: Mapped[int | None] = mapped_column(WholeNumber)
    faults: Mapped[int | None] = mapped_column(WholeNumber)
    first_fault: Mapped[str | None] = mapped_column(text(255))
    last_leg_id: Mapped[int | None] = mapped_column(
        WholeNumber
    )  # the newest leg that it saw, if all was right


class LedgerCheckpoint(db.Model):  # type: ignore[name-defined]
    """What a user's proven transactions come to: the next proof goes on from here. A whole proof makes it anew."""

    __tablename__ = "ledger_checkpoints"
    __table_args__ = (MYSQL_TABLE,)

    user_id: Mapped[int] = mapped_column(
        BigKey, sa.ForeignKey("users.id"), primary_key=True, autoincrement=False
    )
    seq: Mapped[int] = mapped_column(WholeNumber)
    transaction_id: Mapped[int] = mapped_column(WholeNumber)  # of that `seq`
    link: Mapped[str] = mapped_column(ascii_text(64))
    available_inr: Mapped[int] = mapped_column(WholeNumber)
    available_btc: Mapped[int] = mapped_column(WholeNumber)
    reserved_inr: Mapped[int] = mapped_column(WholeNumber)
    reserved_btc: Mapped[int] = mapped_column(WholeNumber)
    collateral_btc: Mapped[int] = mapped_column(WholeNumber)
    borrowed_inr: Mapped[int] = mapped_column(WholeNumber)
    interest_accrued: Mapped[int] = mapped_column(WholeNumber)


class TradedPrice(db.Model):  # type: ignore[name-defined]
    """A price that a receipt names, noted by the proof: the foreign key keeps it from being thinned out or removed."""

    __tablename__ = "traded_prices"
    __table_args__ = (MYSQL_TABLE,)

    price_id: Mapped[int] = mapped_column(
        BigKey, sa.ForeignKey("bitcoin_data.id"), primary_key=True, autoincrement=False
    )
