"""What operators change and what everybody did."""

from datetime import datetime

from sqlalchemy import SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, LongText, UtcDateTime, ascii_text, text


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


class WriteProbe(db.Model):  # type: ignore[name-defined]
    """What a process wrote to see whether the database takes writes."""

    __tablename__ = "write_probes"
    __table_args__ = (MYSQL_TABLE,)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    written_at: Mapped[datetime] = mapped_column(UtcDateTime)
