"""Where an account is logged in: its tokens, as their owner sees and ends them."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.errors import SessionNotFound
from bittrade.models import LoginSession
from bittrade.services import audit
from bittrade.services.identity import Identity

MAX_LISTED = 100


def list_sessions(identity: Identity) -> list[dict[str, Any]]:
    """The tokens that are good now, newest first; `current` is the one that asks."""
    return [
        {"id": row["jti"], **row["shown"], "current": row["jti"] == identity.jti}
        for row in _list(identity.user_id)
    ]


def list_for_operator(user_id: int) -> list[dict[str, Any]]:
    """Return where somebody is logged in, without what names their tokens."""
    return [row["shown"] for row in _list(user_id)]


def _list(user_id: int) -> list[dict[str, Any]]:
    mine = sa.select(LoginSession).where(
        LoginSession.user_id == user_id,
        LoginSession.revoked_at.is_(None),
        LoginSession.expires_at > wire.now(),
    )
    newest = mine.order_by(LoginSession.issued_at.desc(), LoginSession.jti).limit(MAX_LISTED)
    with unit_of_work.reading() as session:
        return [{"jti": row.jti, "shown": _document(row)} for row in session.scalars(newest)]


def end_session(identity: Identity, session_id: str) -> None:
    """Revoke one token. Raises SessionNotFound, also for another's."""
    if not session_id.isascii():
        raise SessionNotFound()  # MariaDB would not even compare it

    def work(session: Session) -> None:
        mine = sa.update(LoginSession).where(
            LoginSession.jti == session_id,
            LoginSession.user_id == identity.user_id,
            LoginSession.revoked_at.is_(None),
        )
        if session.execute(mine.values(revoked_at=wire.now())).rowcount != 1:  # type: ignore[attr-defined]
            raise SessionNotFound()
        audit.record(session, "session_ended", user_id=identity.user_id, session_id=session_id)

    unit_of_work.commit(work)


def _document(row: LoginSession) -> dict[str, Any]:
    return {
        "device": row.device,
        "address": row.address,
        "issued_at": wire.timestamp(row.issued_at),
        "last_seen_at": wire.timestamp(row.last_seen_at or row.issued_at),
        "expires_at": wire.timestamp(row.expires_at),
    }
