"""Whose a token is, and whether it is still good: the one door of people and programs, and what ends their way in.

Each token that we issue has a row in `sessions`; one that another program made gets its row when it is first seen, by
its fingerprint. Whether one was revoked is asked of the database each time: it holds on every process at once, and with
Redis away. What can be known of a token that was never seen before is docs/adr/0011.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.roles import Role
from bittrade.errors import TokenInvalid
from bittrade.models import ApiKey, Balance, LoginSession, User
from bittrade.questions import Question
from bittrade.services import api_keys, audit
from bittrade.services.auth import tokens
from bittrade.services.auth.tokens import Claims, Issued
from bittrade.services.identity import READ, Identity

SEEN_EVERY = timedelta(minutes=1)
# After all tokens were revoked, one that comes from the future is not believed to be newer than that, for this long.
DOUBT = timedelta(minutes=15)


def authenticate(token: str, *, needs: Collection[str] = (READ,)) -> Identity:
    """The owner of a token or key. Raises TokenInvalid, always with the same words, or InsufficientScope.

    One of the scopes in `needs` is enough; a person's own token has them all.
    """
    is_key = token.startswith(api_keys.MARK)
    try:
        identity = api_keys.authenticate(token) if is_key else _authenticate_token(token)
    except TokenInvalid as error:
        _note_refused(error)
        raise
    identity.require(needs)
    return identity


def _note_refused(error: TokenInvalid) -> None:
    """To the audit log, and so to its owner's activity where it was somebody's once."""
    address = audit.origin.get().address
    if address is not None:  # else nobody tried it: a live socket's token was looked at again
        cause = f"{error.user_id} {audit.neighbourhood(address)}"
        audit.record_refusal("token_refused", cause=cause, user_id=error.user_id, by_owner=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database knows of a token's user and of the token itself; `session_id` is None for one never seen."""

    email: str
    name: str
    role: Role
    seq: int
    is_disabled: bool
    tokens_revoked_at: datetime | None
    session_id: str | None
    is_revoked: bool
    last_seen_at: datetime | None


def _authenticate_token(token: str) -> Identity:
    claims = tokens.read(token)
    known = _find(claims, token)
    if known is None or known.is_disabled or known.is_revoked:
        raise TokenInvalid(user_id=None if known is None else claims.user_id)
    if known.session_id is None:
        if not unit_of_work.commit(lambda session: _admit(session, claims, known.tokens_revoked_at)):
            raise TokenInvalid(user_id=claims.user_id)
    else:
        _note_seen(known.session_id, known.last_seen_at)
    jti = known.session_id or claims.fingerprint
    return Identity(
        claims.user_id, known.email, known.name, jti, claims.expires_at, known.seq, role=known.role
    )


_WHO = Question(
    sa.select(
        User.email,
        User.name,
        User.role,
        User.disabled_at,
        User.tokens_revoked_at,
        Balance.seq,
        LoginSession.jti,
        LoginSession.revoked_at,
        LoginSession.last_seen_at,
    )
    .join(Balance, Balance.user_id == User.id)
    .outerjoin(
        LoginSession,
        sa.and_(
            LoginSession.jti.in_([sa.bindparam("fingerprint"), sa.bindparam("hashed"), sa.bindparam("jti")]),
            LoginSession.user_id == User.id,
        ),
    )
    .where(User.id == sa.bindparam("user_id"))
)


def _find(claims: Claims, token: str) -> _Known | None:
    """The user, and every session that the token could be: ours by its `jti`, others by what they say.

    Sessions of before fingerprints are known by their makers' `jti`, or a hash of the token.
    """
    rows = _WHO.ask(
        user_id=claims.user_id,
        fingerprint=claims.fingerprint,
        hashed=hashlib.sha256(token.encode()).hexdigest(),
        jti=claims.jti or claims.fingerprint,
    )
    if not rows:
        return None
    first = rows[0]
    return _Known(
        email=first.email,
        name=first.name,
        role=Role(first.role),
        seq=first.seq,
        is_disabled=first.disabled_at is not None,
        tokens_revoked_at=first.tokens_revoked_at,
        session_id=first.jti,
        is_revoked=any(row.revoked_at is not None for row in rows),
        last_seen_at=first.last_seen_at,
    )


def _admit(session: Session, claims: Claims, revoked_at: datetime | None) -> bool:
    """Give a token of another program its row, at its first sight; whether it may come in.

    `revoked_at` is when all tokens of its user were revoked last, as the request found it: another one since means that
    this token was there before. Under the user's lock, so that a revocation finds the row, or is found here.
    """
    user = session.execute(
        sa.select(User.disabled_at, User.tokens_revoked_at).where(User.id == claims.user_id).with_for_update()
    ).one()
    row = session.get(LoginSession, claims.fingerprint)
    if row is not None:
        return row.revoked_at is None
    now = wire.now()
    is_good = user.disabled_at is None and user.tokens_revoked_at == revoked_at
    is_good = is_good and (revoked_at is None or _is_newer(claims, revoked_at, now))
    ended_at = None if is_good else now  # what was refused once is never good again
    times = {"issued_at": now, "expires_at": claims.expires_at, "revoked_at": ended_at}
    session.add(LoginSession(jti=claims.fingerprint, user_id=claims.user_id, **times, **_whereabouts()))
    return is_good


def _is_newer(claims: Claims, revoked_at: datetime, now: datetime) -> bool:
    """Whether the token says, and can be believed, that it was made after a moment.

    Of whole seconds the whole second counts. A clock that is ahead proves nothing of a token's age.
    """
    issued_at = claims.issued_at
    if issued_at is None or (issued_at > now.timestamp() and now - revoked_at < DOUBT):
        return False
    return (issued_at + 1 if issued_at % 1 == 0 else issued_at) > revoked_at.timestamp()


def _note_seen(session_id: str, last_seen_at: datetime | None) -> None:
    now, address = wire.now(), audit.origin.get().address
    if last_seen_at is not None and now - last_seen_at < SEEN_EVERY:
        return
    seen = {"last_seen_at": now, **({"address": address} if address else {})}
    mine = sa.update(LoginSession).where(LoginSession.jti == session_id)
    audit.note(lambda session: session.execute(mine.values(**seen)))


def issue(session: Session, user_id: int, email: str) -> str:
    """Make a token and its session, in the caller's unit of work."""
    issued: Issued = tokens.issue(user_id, email)
    times = {"issued_at": issued.issued_at, "expires_at": issued.expires_at}
    session.add(LoginSession(jti=issued.jti, user_id=user_id, **times, **_whereabouts()))
    return issued.token


def _whereabouts() -> dict[str, Any]:
    """What the owner will know this session by."""
    origin = audit.origin.get()
    return {"device": origin.shown_device, "address": origin.address or None, "last_seen_at": wire.now()}


def logout(identity: Identity) -> None:
    """Revoke this token."""
    mine = sa.update(LoginSession).where(
        LoginSession.jti == identity.jti,
        LoginSession.user_id == identity.user_id,
        LoginSession.revoked_at.is_(None),
    )

    def work(session: Session) -> None:
        session.execute(mine.values(revoked_at=wire.now()))
        audit.record(session, "logged_out", user_id=identity.user_id)

    unit_of_work.commit(work)


def logout_all(identity: Identity) -> None:
    """Revoke every token and key of the user."""

    def work(session: Session) -> None:
        revoke_all(session, identity.user_id)
        audit.record(session, "logged_out_everywhere", user_id=identity.user_id)

    unit_of_work.commit(work)


def revoke_all(session: Session, user_id: int, but: str = "") -> None:
    """End every token and key of a user, but for one session, in the caller's unit of work."""
    before = session.scalar(sa.select(User.tokens_revoked_at).where(User.id == user_id).with_for_update())
    now = wire.now()
    # Never the same moment twice: a token that is coming in sees by it that something was revoked.
    now = now if now != before else now + timedelta(microseconds=1)
    session.execute(sa.update(User).where(User.id == user_id).values(tokens_revoked_at=now))
    session.execute(
        sa.update(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None), LoginSession.jti != but)
        .values(revoked_at=now)
    )
    api_keys.revoke_all(session, user_id, now)


def list_ended_users(since: datetime) -> set[int]:
    """Users with a token or key that was revoked at or after `since`: their sockets need another look."""
    with unit_of_work.reading() as session:
        sessions = session.scalars(sa.select(LoginSession.user_id).where(LoginSession.revoked_at >= since))
        keys = session.scalars(sa.select(ApiKey.user_id).where(ApiKey.revoked_at >= since))
        users = session.scalars(sa.select(User.id).where(User.tokens_revoked_at >= since))
        return {*sessions, *keys, *users}
