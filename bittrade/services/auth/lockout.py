"""Failed logins: how often, from where, and how long that locks.

They are counted apart for each place that they come from, so that who guesses locks themselves out and not the owner: a
network, a device that its owner has logged in from before, a session that is asked for the password once more. All of an
account's strangers together are counted too, with ten times the patience: a lock of theirs leaves the devices that are
known a way in. Failures are forgotten with time.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.errors import AccountLocked
from bittrade.models import LoginFailure, LoginSession, User
from bittrade.services import audit
from bittrade.services.identity import Identity

FIRST_LOCK_S, LONGEST_LOCK_S = 30, 900
FORGOTTEN_EACH = timedelta(minutes=5)  # one failure
ALL_STRANGERS = "strangers"
PATIENCE_WITH_ALL = 10  # times LOGIN_FAILURES_BEFORE_LOCK
MAX_DEVICES = 100


@dataclass(frozen=True, slots=True)
class Guesser:
    """Whose guesses at one account's password are counted together.

    `counted` is where a failure counts, `locking` which of these counts can lock them out. At the login they are always two
    rows: nobody shall learn from the time that it takes whether there is such an account.
    """

    email_normalized: str
    counted: tuple[str, ...]
    locking: tuple[str, ...]
    user_id: int | None = None


def guesser_at_login(session: Session, email_normalized: str, user_id: int | None) -> Guesser:
    """Who tries to log in: a device that is known, or a stranger from some network."""
    origin = audit.origin.get()
    network, device = audit.neighbourhood(origin.address or ""), origin.shown_device
    known = session.execute(
        sa.select(LoginSession.address, LoginSession.device)
        .where(LoginSession.user_id == (user_id or 0))
        .order_by(LoginSession.issued_at.desc())
        .limit(MAX_DEVICES)
    ).all()
    of_network = _bucket("network", network)
    if any((audit.neighbourhood(row.address or ""), row.device) == (network, device) for row in known):
        of_device = _bucket("device", f"{network} {device}")
        return Guesser(email_normalized, (of_device, of_network), (of_device,), user_id)
    both = (of_network, ALL_STRANGERS)
    return Guesser(email_normalized, both, both, user_id)


def guesser_at_confirmation(identity: Identity, email_normalized: str) -> Guesser:
    """Who is logged in and asked for the password: what others get wrong at the login is not theirs."""
    own = (_bucket("session", identity.jti),)
    return Guesser(email_normalized, own, own, identity.user_id)


def list_locks(session: Session, user_id: int) -> list[dict[str, Any]]:
    """Return the counts of failed logins to an account: of what kind of place, how many, and until when that locks."""
    email = sa.select(User.email_normalized).where(User.id == user_id).scalar_subquery()
    rows = session.scalars(sa.select(LoginFailure).where(LoginFailure.email_normalized == email))
    return [
        {
            "place": row.bucket.partition(" ")[0],
            "failures": row.failures,
            "last_failed_at": wire.timestamp(row.last_failed_at),
            "locked_until": None if row.locked_until is None else wire.timestamp(row.locked_until),
        }
        for row in rows
    ]


def check_lock(session: Session, guesser: Guesser) -> None:
    """Raise AccountLocked while one of the counts is locked."""
    mine = sa.select(sa.func.max(LoginFailure.locked_until)).where(*_locks_of(guesser))
    locked_until = session.scalar(mine)
    rest = (locked_until - wire.now()) / timedelta(seconds=1) if locked_until else 0
    if rest > 0:
        raise AccountLocked(retry_after_s=int(rest) + 1)


def count_failure(guesser: Guesser, refusal: str = "login_failed") -> None:
    """Ten in a row lock for 30 s, each further one for twice as long, up to 15 minutes."""
    try:
        seconds = unit_of_work.commit(lambda session: _count(session, guesser))
    except IntegrityError:  # two first failures met; the second now finds the first's row
        seconds = unit_of_work.commit(lambda session: _count(session, guesser))
    network = audit.neighbourhood(audit.origin.get().address or "")
    audit.record_refusal(refusal, cause=network, user_id=guesser.user_id, by_owner=False)
    if seconds:
        audit.record_refusal(
            "account_locked", cause=network, user_id=guesser.user_id, by_owner=False, seconds=seconds
        )


def forgive(session: Session, guesser: Guesser) -> None:
    """Begin to count anew for who knew the password; what strangers did elsewhere stays counted."""
    own = LoginFailure.bucket != ALL_STRANGERS
    session.execute(sa.delete(LoginFailure).where(*_locks_of(guesser), own))


def forgive_everybody(session: Session, user_id: int) -> None:
    """Lift every lock of an account."""
    email = sa.select(User.email_normalized).where(User.id == user_id).scalar_subquery()
    session.execute(sa.delete(LoginFailure).where(LoginFailure.email_normalized == email))


def _locks_of(guesser: Guesser) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        LoginFailure.email_normalized == guesser.email_normalized,
        LoginFailure.bucket.in_(guesser.locking),
    )


def _bucket(kind: str, which: str) -> str:
    return f"{kind} {hashlib.sha256(which.encode()).hexdigest()[:32]}"


def _count(session: Session, guesser: Guesser) -> int:
    """For how many seconds that locked; 0 where it did not."""
    now, seconds = wire.now(), 0
    for bucket in guesser.counted:
        key = {"email_normalized": guesser.email_normalized, "bucket": bucket}
        row = session.get(LoginFailure, key, with_for_update=True)
        if row is None:
            row = LoginFailure(**key, failures=0, last_failed_at=now)
            session.add(row)
        seconds = max(seconds, _add(row, now))
    return seconds


def _add(row: LoginFailure, now: datetime) -> int:
    """Count one more, and lock where it is too many; for how many seconds."""
    if row.locked_until is not None and row.locked_until > now:
        return 0  # began before the lock: a burst of guesses is one lock, not the longest one
    forgotten = max(0, (now - row.last_failed_at) // FORGOTTEN_EACH)
    row.failures = max(0, row.failures - forgotten) + 1
    row.last_failed_at = now
    limit = current_app.config["LOGIN_FAILURES_BEFORE_LOCK"]
    limit *= PATIENCE_WITH_ALL if row.bucket == ALL_STRANGERS else 1
    if row.failures < limit:
        return 0
    seconds = min(LONGEST_LOCK_S, FIRST_LOCK_S * 2 ** min(row.failures - limit, 10))
    row.locked_until = now + timedelta(seconds=seconds)
    return int(seconds)
