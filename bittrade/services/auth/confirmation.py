"""Asking somebody who is logged in for their password again, before what a stolen token must not do."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work
from bittrade.errors import InvalidCredentials
from bittrade.models import User
from bittrade.services import passwords, rights
from bittrade.services.auth import lockout
from bittrade.services.identity import Identity


def confirm_password(identity: Identity, current: str, refusal: str) -> str:
    """Return the hash that the password was right for.

    Wrong answers lock, apart for each session: a stolen token must not find the password, nor keep its owner from
    changing it. Raises InvalidCredentials or AccountLocked.
    """
    with unit_of_work.reading() as session:
        row = session.execute(
            sa.select(User.email_normalized, User.password_hash).where(User.id == identity.user_id)
        ).one()
        guesser = lockout.guesser_at_confirmation(identity, row.email_normalized)
        lockout.check_lock(session, guesser)
    if not passwords.matches(current, row.password_hash):
        lockout.count_failure(guesser, refusal)
        raise InvalidCredentials("The current password is not right")
    hashed: str = row.password_hash
    return hashed


def lock_password(session: Session, user_id: int, confirmed: str) -> None:
    """Hold the account as it was when the password was found right: hashing takes long enough for it to change.

    Raises InvalidCredentials where it has changed since, or was disabled; TokenInvalid where who asks was logged out.
    """
    held = session.scalar(
        sa.select(User.password_hash).where(User.id == user_id, User.disabled_at.is_(None)).with_for_update()
    )
    if held != confirmed:
        raise InvalidCredentials()
    rights.confirm(session)
