"""What gives somebody the right to act, read again where it is used: inside the unit of work, after its lock.

A request's token or key was good when it came in. Between that and the lock that its unit of work waits for, a logout, a
change of password or the end of a key may have been acknowledged, and nothing may begin to move money after that.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade.errors import TokenInvalid
from bittrade.models import ApiKey, LoginSession, User
from bittrade.services import audit
from bittrade.services.identity import Identity


def confirm(session: Session) -> None:
    """Raise TokenInvalid where the token or key of who asks has ended; call it after the lock.

    Where nobody asks (a command, a job) there is no such right to lose.
    """
    asker = audit.origin.get().asker
    if asker is not None and session.scalar(_right_of(asker)) is None:
        raise TokenInvalid(user_id=asker.user_id)


def _right_of(asker: Identity) -> sa.Select[Any]:
    """The row by which they act, unless it or its owner's account has ended."""
    means = LoginSession if asker.key_id is None else ApiKey
    is_theirs = LoginSession.jti == asker.jti if asker.key_id is None else ApiKey.id == asker.key_id
    return (
        sa.select(User.id)
        .join(means, means.user_id == User.id)
        .where(User.id == asker.user_id, User.disabled_at.is_(None), is_theirs, means.revoked_at.is_(None))
    )
