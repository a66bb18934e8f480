"""What operators change and what everybody did."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, LongText, UtcDateTime, WholeNumber, ascii_text, text


class Setting(db.Model):  # type: ignore[name-defined]
    """A value that may change while the servers run, such as `buy_multiplier`."""

    __tablename__ = "settings"
    __table_args__ = (MYSQL_TABLE,)

    key: Mapped[str] = mapped_column(ascii_text(64), primary_key=True)
    value: Mapped[str] = mapped_column(ascii_text(255))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AuditEvent(db.Model):  # type: ignore[name-defined]
    """Who did what, when, from where; append-only. `user_id` is whom it concerns, and has no foreign key, so that
    writing it never waits for a lock on the user."""

    __tablename__ = "audit_events"
    __table_args__ = (MYSQL_TABLE,)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    action: Mapped[str] = mapped_column(ascii_text(40))
    actor: Mapped[str] = mapped_column(text(300))  # "user 7", "operator root", "anonymous"
    user_id: Mapped[int | None] = mapped_column(BigKey, index=True)
    address: Mapped[str | None] = mapped_column(ascii_text(64))
    request_id: Mapped[str | None] = mapped_column(ascii_text(64))
    facts: Mapped[str] = mapped_column(LongText)  # JSON


class Approval(db.Model):  # type: ignore[name-defined]
    """A movement of money that one admin asked for and another decides on; the database refuses one person in both parts."""

    __tablename__ = "approvals"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('deposit', 'withdrawal', 'reversal')", name="kind"),
        sa.CheckConstraint("status IN ('PENDING', 'APPROVED', 'REJECTED')", name="status"),
        sa.CheckConstraint("decided_by IS NULL OR decided_by <> requested_by", name="two_persons"),
        sa.Index("ix_approvals_status", "status", "id"),
        MYSQL_TABLE,
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(ascii_text(16))
    status: Mapped[str] = mapped_column(ascii_text(16))
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"), index=True)  # whose money moves
    inr: Mapped[int] = mapped_column(WholeNumber)
    satoshis: Mapped[int] = mapped_column(WholeNumber)
    value_inr: Mapped[int | None] = mapped_column(WholeNumber)  # at the rate of the request; NULL without any
    reverses_id: Mapped[int | None] = mapped_column(BigKey)  # the transaction that a reversal is for
    client_order_id: Mapped[str | None] = mapped_column(ascii_text(64))
    reason: Mapped[str] = mapped_column(text(500))
    requested_by: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decided_by: Mapped[int | None] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decision: Mapped[str | None] = mapped_column(text(500))  # the second admin's reason
    transaction_id: Mapped[int | None] = mapped_column(BigKey)  # what it came to


class UserNote(db.Model):  # type: ignore[name-defined]
    """What staff wrote about an account, for staff to read."""

    __tablename__ = "user_notes"
    __table_args__ = (MYSQL_TABLE,)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"), index=True)
    author_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    body: Mapped[str] = mapped_column(text(2000))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class WriteProbe(db.Model):  # type: ignore[name-defined]
    """What a process wrote to see whether the database takes writes."""

    __tablename__ = "write_probes"
    __table_args__ = (MYSQL_TABLE,)

    id: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False)
    written_at: Mapped[datetime] = mapped_column(UtcDateTime)
