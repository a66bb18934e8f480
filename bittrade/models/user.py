"""People: who they are, which tokens and keys they hold, how often somebody failed to be them."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from bittrade.domain.roles import Role
from bittrade.extensions import db
from bittrade.models.types import MYSQL_TABLE, BigKey, UtcDateTime, ascii_text, text


class User(db.Model):  # type: ignore[name-defined]
    """An account's identity. Balances live in a table of their own: see docs/adr/0003."""

    __tablename__ = "users"
    __table_args__ = (
        sa.CheckConstraint(f"role IN ({', '.join(repr(role.value) for role in Role)})", name="role"),
        MYSQL_TABLE,
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    email: Mapped[str] = mapped_column(text(254))  # as its owner wrote it
    email_normalized: Mapped[str] = mapped_column(ascii_text(254), unique=True)  # what login compares
    name: Mapped[str] = mapped_column(text(100))
    password_hash: Mapped[str] = mapped_column(ascii_text(120))
    # The database has the default: code of before roles opens accounts while an upgrade is on its way.
    role: Mapped[str] = mapped_column(ascii_text(16), server_default=Role.USER.value)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Tokens without a session row (made elsewhere with our secret) are refused when issued up to this moment.
    # Each web process asks each second who has one of the last seconds.
    tokens_revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginSession(db.Model):  # type: ignore[name-defined]
    """A token that was issued or revoked, by its `jti`."""

    __tablename__ = "sessions"
    __table_args__ = (MYSQL_TABLE,)

    jti: Mapped[str] = mapped_column(ascii_text(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"), index=True)
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    # For the owner's list of sessions; `last_seen_at` is written at most once a minute.
    device: Mapped[str | None] = mapped_column(text(200))
    address: Mapped[str | None] = mapped_column(ascii_text(64))
    last_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ApiKey(db.Model):  # type: ignore[name-defined]
    """A key for a program. The secret itself is shown once and kept nowhere: a hash of it finds the row."""

    __tablename__ = "api_keys"
    __table_args__ = (MYSQL_TABLE,)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(text(100))
    prefix: Mapped[str] = mapped_column(ascii_text(16))  # tells keys apart, and opens nothing
    secret_hash: Mapped[str] = mapped_column(ascii_text(64), unique=True)  # SHA-256 of 32 random bytes
    scopes: Mapped[str] = mapped_column(ascii_text(64))  # "read,trade"
    addresses: Mapped[str] = mapped_column(ascii_text(1000))  # networks, separated by commas; "" is anywhere
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_address: Mapped[str | None] = mapped_column(ascii_text(64))


class LoginFailure(db.Model):  # type: ignore[name-defined]
    """Failed logins for one e-mail from one place, whether or not a user has it (no answer tells which).

    `bucket` is that place: a network, a known device, a session, or all strangers (services/auth/lockout.py).
    """

    __tablename__ = "login_failures"
    __table_args__ = (sa.CheckConstraint("failures >= 0", name="failures"), MYSQL_TABLE)

    email_normalized: Mapped[str] = mapped_column(ascii_text(254), primary_key=True)
    bucket: Mapped[str] = mapped_column(ascii_text(64), primary_key=True)
    failures: Mapped[int] = mapped_column(sa.Integer)
    last_failed_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    locked_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
