"""What gives somebody the right to act, read again where it is used: inside the unit of work, after its lock.

A request's token or key was good when it came in. Between that and the lock that its unit of work waits for, a logout, a
change of password or the end of a key may have been acknowledged, and nothing may begin to move money after that.
"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade.errors import TokenInvalid
from bittrade.messages import Query
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


_SESSIONS = Query(
    sa.select(LoginSession.user_id, LoginSession.jti)
    .join(User, User.id == LoginSession.user_id)
    .where(
        LoginSession.jti.in_(sa.bindparam("jtis", expanding=True)),
        LoginSession.revoked_at.is_(None),
        User.disabled_at.is_(None),
    )
)
_KEYS = Query(
    sa.select(ApiKey.user_id, ApiKey.id)
    .join(User, User.id == ApiKey.user_id)
    .where(
        ApiKey.id.in_(sa.bindparam("ids", expanding=True)),
        ApiKey.revoked_at.is_(None),
        User.disabled_at.is_(None),
    )
)


def of_several(askers: Iterable[Identity | None]) -> tuple[tuple[Query, dict[str, Any]], ...]:
    """Return what to ask of several who ask, after their locks; `read_several` reads the answers."""
    people = [asker for asker in askers if asker is not None]
    jtis = sorted({asker.jti for asker in people if asker.key_id is None})
    ids = sorted({asker.key_id for asker in people if asker.key_id is not None})
    return (_SESSIONS, {"jtis": jtis}), (_KEYS, {"ids": ids})


def read_several(sessions: Iterable[Any], keys: Iterable[Any]) -> set[tuple[int, str | int]]:
    """Return the rights that still hold: a user and the token's `jti`, or the key's id."""
    return {(row.user_id, row.jti) for row in sessions} | {(row.user_id, row.id) for row in keys}


def confirm_in(rights: set[tuple[int, str | int]], asker: Identity | None) -> None:
    """Raise TokenInvalid where the token or key of who asks is not among the rights that hold."""
    if asker is not None:
        means = asker.jti if asker.key_id is None else asker.key_id
        if (asker.user_id, means) not in rights:
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
