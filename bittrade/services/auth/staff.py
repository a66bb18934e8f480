"""What staff does to an account: shutting it and opening it again, lifting locks, a new password, a role.

Commands and the operators' API come through here alike. Each step is one unit of work that holds the account's row,
asks again whether who asks still may, and is written to the audit log with its reason.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.roles import Role, is_rise
from bittrade.errors import StaffAccount, UserNotFound
from bittrade.models import User
from bittrade.services import audit, passwords, rights
from bittrade.services.auth import access, lockout


def disable(user_id: int, *, why: str | None = None) -> None:
    """Shut an account: no login, and its tokens end at once. Raises UserNotFound or StaffAccount."""

    def work(session: Session, _user: Any) -> None:
        session.execute(_this(user_id).values(disabled_at=wire.now()))
        access.revoke_all(session, user_id)

    _change(user_id, "user_disabled", why, work, spares_staff=True)


def enable(user_id: int, *, why: str | None = None) -> None:
    """Open a shut account again; the tokens and keys of before stay ended. Raises UserNotFound or StaffAccount."""

    def work(session: Session, _user: Any) -> None:
        session.execute(_this(user_id).values(disabled_at=None))

    _change(user_id, "user_enabled", why, work, spares_staff=True)


def unlock(user_id: int, *, why: str | None = None) -> None:
    """Lift every lock that failed logins have put on an account. Raises UserNotFound."""
    _change(user_id, "user_unlocked", why, lambda session, _user: lockout.forgive_everybody(session, user_id))


def set_password(user_id: int, password: str, *, why: str | None = None) -> None:
    """Give an account a new password and end its tokens and keys. Raises WeakPassword, UserNotFound or StaffAccount."""
    with unit_of_work.reading() as session:
        user = session.execute(sa.select(User.email, User.name).where(User.id == user_id)).first()
    if user is None:
        raise UserNotFound()
    passwords.check_new(password, email=user.email, name=user.name)
    hashed = passwords.hash_password(password)

    def work(session: Session, _user: Any) -> None:
        session.execute(_this(user_id).values(password_hash=hashed))
        access.revoke_all(session, user_id)
        lockout.forgive_everybody(session, user_id)

    _change(user_id, "password_reset", why, work, spares_staff=True)


def set_role(user_id: int, role: Role, *, why: str) -> Role:
    """Give an account a role; the one before. Whoever may less than before has to log in again.

    Raises InvalidInput without a reason, or UserNotFound.
    """
    why = audit.read_reason(why)

    def work(session: Session) -> Role:
        before = Role(_lock(session, user_id).role)
        session.execute(_this(user_id).values(role=role.value))
        if before is not role and not is_rise(before, role):
            access.revoke_all(session, user_id)
        audit.record(session, "role_changed", user_id=user_id, before=before.value, after=role.value, why=why)
        return before

    return unit_of_work.commit(work)


def _change(
    user_id: int,
    action: str,
    why: str | None,
    step: Callable[[Session, Any], None],
    *,
    spares_staff: bool = False,
) -> None:
    """Do one step to an account under its lock. What `spares_staff` may be done to staff by a command alone."""
    reason = None if why is None else audit.read_reason(why)

    def work(session: Session) -> None:
        user = _lock(session, user_id)
        if spares_staff and user.role != Role.USER and audit.origin.get().asker is not None:
            raise StaffAccount()
        step(session, user)
        facts: dict[str, Any] = {} if reason is None else {"why": reason}
        audit.record(session, action, user_id=user_id, **facts)

    unit_of_work.commit(work)


def _lock(session: Session, user_id: int) -> Any:
    row = session.execute(sa.select(User.id, User.role).where(User.id == user_id).with_for_update()).first()
    if row is None:
        raise UserNotFound()
    rights.confirm(session)
    return row


def _this(user_id: int) -> sa.Update:
    return sa.update(User).where(User.id == user_id)
