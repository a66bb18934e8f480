"""Logging in, and changing the password."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work
from bittrade.domain.roles import Role
from bittrade.errors import InvalidCredentials
from bittrade.models import User
from bittrade.services import audit, passwords
from bittrade.services.auth import access, confirmation, lockout
from bittrade.services.auth.emails import normalize_email
from bittrade.services.auth.lockout import Guesser
from bittrade.services.identity import Identity, public_user


def login(*, email: str, password: str) -> tuple[str, dict[str, Any]]:
    """A new token and the user. Raises InvalidCredentials (also, and as slowly, for an unknown e-mail) or AccountLocked."""
    user, guesser = _find_for_login(normalize_email(email))
    # Who has no account and who was disabled learn nothing, and wait as long.
    password = password[: passwords.MAX_LENGTH + 1]
    is_right = passwords.matches(password, user.password_hash if user else None)
    if user is None or guesser is None or not is_right or user.disabled_at is not None:
        if guesser is not None:
            lockout.count_failure(guesser)
        raise InvalidCredentials()
    rehashed = passwords.hash_password(password) if passwords.is_outdated(user.password_hash) else None

    def work(session: Session) -> str:
        confirmation.lock_password(session, user.id, user.password_hash)
        lockout.forgive(session, guesser)
        if rehashed:
            session.execute(sa.update(User).where(User.id == user.id).values(password_hash=rehashed))
        audit.record(session, "logged_in", user_id=user.id)
        return access.issue(session, user.id, user.email)

    return unit_of_work.commit(work), public_user(user.id, user.email, user.name, Role(user.role))


def change_password(identity: Identity, *, current: str, new: str) -> None:
    """Set a new password; revoke every other token and all keys.

    Raises InvalidCredentials, AccountLocked, InvalidInput or WeakPassword.
    """
    confirmed = confirmation.confirm_password(identity, current, "password_change_refused")
    passwords.check_new(new, email=identity.email, name=identity.name)
    rehashed = passwords.hash_password(new)

    def work(session: Session) -> None:
        confirmation.lock_password(session, identity.user_id, confirmed)
        session.execute(sa.update(User).where(User.id == identity.user_id).values(password_hash=rehashed))
        access.revoke_all(session, identity.user_id, but=identity.jti)
        audit.record(session, "password_changed", user_id=identity.user_id)

    unit_of_work.commit(work)


def _find_for_login(normalized: str | None) -> tuple[User | None, Guesser | None]:
    """The account behind an e-mail, if there is one, and who tries it. Raises AccountLocked."""
    if normalized is None:
        return None, None
    with unit_of_work.reading() as session:
        user = session.scalars(sa.select(User).where(User.email_normalized == normalized)).first()
        guesser = lockout.guesser_at_login(session, normalized, user.id if user else None)
        lockout.check_lock(session, guesser)
        return user, guesser
