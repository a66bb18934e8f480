"""Failed logins: how often, and how long that locks."""

from datetime import datetime, timedelta

from flask import current_app
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.errors import AccountLocked
from bittrade.models import LoginFailure
from bittrade.services import audit

FIRST_LOCK_S, LONGEST_LOCK_S = 30, 900


def check_lock(locked_until: datetime | None) -> None:
    rest = (locked_until - wire.now()) / timedelta(seconds=1) if locked_until else 0
    if rest > 0:
        raise AccountLocked(retry_after_s=int(rest) + 1)


def count_failure(normalized: str | None, user_id: int | None, refusal: str = "login_failed") -> None:
    """Ten in a row lock the e-mail for 30 s, each further one for twice as long, up to 15 minutes."""

    def work(session: Session) -> None:
        now = wire.now()
        limit = current_app.config["LOGIN_FAILURES_BEFORE_LOCK"]
        row = session.get(LoginFailure, normalized, with_for_update=True)
        if row is None:
            row = LoginFailure(email_normalized=normalized, failures=0)
            session.add(row)
        if row.locked_until is not None and row.locked_until > now:
            return  # began before the lock: a burst of guesses is one lock, not the longest one
        row.failures += 1
        row.last_failed_at = now
        if row.failures >= limit:
            seconds = min(LONGEST_LOCK_S, FIRST_LOCK_S * 2 ** min(row.failures - limit, 10))
            row.locked_until = now + timedelta(seconds=seconds)
            audit.record(session, "account_locked", user_id=user_id, by_owner=False, seconds=seconds)
        audit.record(session, refusal, user_id=user_id, by_owner=False)

    if normalized is None:
        return
    try:
        unit_of_work.commit(work)
    except IntegrityError:
        unit_of_work.commit(work)  # two first failures met; the second now finds the first's row
