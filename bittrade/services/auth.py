"""Accounts and tokens: who somebody is, and whether their token still says so.

A token is a JWT (HS256; claims `id`, `email`, `iat`, `exp`, `jti`). Each that we issue has a row in `sessions`; one
that another program made with our secret has none, and is judged by its user. Whether a token was revoked is asked of
the database each time: it holds on every process at once, and with Redis away. `authenticate` is the one door: a key
for programs (services/api_keys.py) comes in here too.
"""

import hashlib
import logging
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import jwt
import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email
from flask import current_app
from flask_jwt_extended import create_access_token
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.errors import (
    AccountLocked,
    EmailTaken,
    InvalidCredentials,
    InvalidInput,
    MissingFields,
    TokenInvalid,
    UserNotFound,
)
from bittrade.models import ApiKey, Balance, LoginFailure, LoginSession, User
from bittrade.services import api_keys, audit, passwords
from bittrade.services.identity import ACCOUNT, EXPORT, KEY_SCOPES, READ, TRADE, Identity

__all__ = ["ACCOUNT", "EXPORT", "KEY_SCOPES", "READ", "TRADE", "Identity", "authenticate"]
log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_TOKEN_LENGTH = 4096
FIRST_LOCK_S, LONGEST_LOCK_S = 30, 900
LEEWAY_S = 5  # between our clock and that of another program that makes tokens
SEEN_EVERY = timedelta(minutes=1)
MAX_DEVICE = 200


# --- accounts -----------------------------------------------------------------------------------------------------


def register(*, email: str, password: str, name: str) -> tuple[str, dict[str, Any]]:
    """Open an account; its first token and the user. Raises InvalidInput, WeakPassword or EmailTaken."""
    account = _check_account(email=email, password=password, name=name)

    def work(session: Session) -> tuple[str, dict[str, Any]]:
        user = _open(session, account)
        return _issue(session, user["id"], user["email"]), user

    return _open_once(work)


def create_user(*, email: str, password: str, name: str) -> dict[str, Any]:
    """Open an account without a token: for `register` and for operators."""
    account = _check_account(email=email, password=password, name=name)
    return _open_once(lambda session: _open(session, account))


def _check_account(*, email: str, password: str, name: str) -> dict[str, str]:
    """The columns of a new user. Raises InvalidInput or WeakPassword."""
    written, normalized = _read_email(email)
    name = _read_name(name)
    passwords.check_new(password, email=normalized, name=name)
    hashed = passwords.hash_password(password)
    return {"email": written, "email_normalized": normalized, "name": name, "password_hash": hashed}


def _open(session: Session, account: dict[str, str]) -> dict[str, Any]:
    user = User(**account, created_at=wire.now())
    session.add(user)
    session.flush()
    session.add(Balance(user_id=user.id))
    audit.record(session, "registered", user_id=user.id)
    return {"id": user.id, "email": user.email, "name": user.name}


def _open_once(work: Callable[[Session], T]) -> T:
    """Commit a new account. The e-mail's unique index decides who was first. Raises EmailTaken."""
    try:
        return unit_of_work.commit(work)
    except IntegrityError as error:
        raise EmailTaken() from error


def login(*, email: str, password: str) -> tuple[str, dict[str, Any]]:
    """A new token and the user. Raises InvalidCredentials (also, and as slowly, for an unknown e-mail) or AccountLocked."""
    normalized = _normalized_or_none(email)
    user = _find_for_login(normalized)
    # Who has no account and who was disabled learn nothing, and wait as long.
    is_right = passwords.matches(password[: passwords.MAX_LENGTH + 1], user.password_hash if user else None)
    if user is None or not is_right or user.disabled_at is not None:
        _count_failure(normalized, user.id if user else None)
        raise InvalidCredentials()
    rehashed = passwords.hash_password(password) if passwords.is_outdated(user.password_hash) else None

    def work(session: Session) -> str:
        _lock_password(session, user.id, user.password_hash)
        session.execute(sa.delete(LoginFailure).where(LoginFailure.email_normalized == normalized))
        if rehashed:
            session.execute(sa.update(User).where(User.id == user.id).values(password_hash=rehashed))
        audit.record(session, "logged_in", user_id=user.id)
        return _issue(session, user.id, user.email)

    return unit_of_work.commit(work), {"id": user.id, "email": user.email, "name": user.name}


def change_password(identity: Identity, *, current: str, new: str) -> None:
    """Set a new password; revoke every other token and all keys.

    Raises InvalidCredentials, AccountLocked, InvalidInput or WeakPassword.
    """
    confirmed = _confirm_password(identity, current, "password_change_refused")
    passwords.check_new(new, email=identity.email, name=identity.name)
    rehashed = passwords.hash_password(new)

    def work(session: Session) -> None:
        _lock_password(session, identity.user_id, confirmed)
        session.execute(sa.update(User).where(User.id == identity.user_id).values(password_hash=rehashed))
        _keep_session(session, identity)
        _revoke_all(session, identity.user_id, but=identity.jti)
        audit.record(session, "password_changed", user_id=identity.user_id)

    unit_of_work.commit(work)


def change_profile(
    identity: Identity, *, current: str, email: str | None = None, name: str | None = None
) -> dict[str, Any]:
    """Change the e-mail, the name or both; the user afterwards.

    Raises InvalidCredentials, AccountLocked, InvalidInput or EmailTaken.
    """
    if email is None and name is None:
        raise MissingFields("Send email or name")
    changed: dict[str, Any] = {}
    if email is not None:
        changed["email"], changed["email_normalized"] = _read_email(email)
    if name is not None:
        changed["name"] = _read_name(name)
    confirmed = _confirm_password(identity, current, "profile_change_refused")

    def work(session: Session) -> dict[str, Any]:
        _lock_password(session, identity.user_id, confirmed)
        session.execute(sa.update(User).where(User.id == identity.user_id).values(**changed))
        shown = {field: value for field, value in changed.items() if field != "email_normalized"}
        before = {field: getattr(identity, field) for field in shown}
        audit.record(session, "profile_changed", user_id=identity.user_id, before=before, after=shown)
        return {**identity.public(), **shown}

    try:
        return unit_of_work.commit(work)
    except IntegrityError as error:
        raise EmailTaken() from error


def _lock_password(session: Session, user_id: int, confirmed: str) -> None:
    """Hold the account as it was when the password was found right: hashing takes long enough for it to change.

    Raises InvalidCredentials where it has changed since, or was disabled.
    """
    held = session.scalar(
        sa.select(User.password_hash).where(User.id == user_id, User.disabled_at.is_(None)).with_for_update()
    )
    if held != confirmed:
        raise InvalidCredentials()


def _confirm_password(identity: Identity, current: str, refusal: str) -> str:
    """Ask again who it is; the hash that the password was right for. Wrong answers count as failed logins do: a stolen token must not find the password."""
    with unit_of_work.reading() as session:
        row = session.execute(
            sa.select(User.email_normalized, User.password_hash, LoginFailure.locked_until)
            .outerjoin(LoginFailure, LoginFailure.email_normalized == User.email_normalized)
            .where(User.id == identity.user_id)
        ).one()
    _check_lock(row.locked_until)
    if not passwords.matches(current, row.password_hash):
        _count_failure(row.email_normalized, identity.user_id, refusal)
        raise InvalidCredentials("The current password is not right")
    hashed: str = row.password_hash
    return hashed


def list_users(limit: int = 1000) -> list[dict[str, Any]]:
    """For operators: id, e-mail, name, whether disabled."""
    with unit_of_work.reading() as session:
        rows = session.execute(
            sa.select(User.id, User.email, User.name, User.disabled_at).order_by(User.id).limit(limit)
        )
        return [
            {"id": row.id, "email": row.email, "name": row.name, "disabled": row.disabled_at is not None}
            for row in rows
        ]


def disable_user(email: str) -> int:
    """Shut an account: no login, and its tokens end at once. Raises UserNotFound."""
    user_id = get_user_id(email)

    def work(session: Session) -> None:
        session.execute(sa.update(User).where(User.id == user_id).values(disabled_at=wire.now()))
        _revoke_all(session, user_id)
        audit.record(session, "user_disabled", user_id=user_id)

    unit_of_work.commit(work)
    return user_id


def get_user_id(email: str) -> int:
    """Raises UserNotFound."""
    with unit_of_work.reading() as session:
        user_id = session.scalar(
            sa.select(User.id).where(User.email_normalized == _normalized_or_none(email))
        )
    if user_id is None:
        raise UserNotFound(f"No user has the e-mail {email}")
    return user_id


# --- tokens -------------------------------------------------------------------------------------------------------


def authenticate(token: str, *, needs: Collection[str] = (READ,)) -> Identity:
    """The owner of a token or key. Raises TokenInvalid, always with the same words, or InsufficientScope.

    One of the scopes in `needs` is enough; a person's own token has them all.
    """
    is_key = token.startswith(api_keys.MARK)
    try:
        identity = api_keys.authenticate(token) if is_key else _authenticate_jwt(token)
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


def _authenticate_jwt(token: str) -> Identity:
    claims = _read_claims(token)
    user_id, jti, expires_at = (
        claims["id"],
        _jti_of(claims, token),
        datetime.fromtimestamp(claims["exp"], UTC),
    )
    with unit_of_work.reading() as session:
        row = session.execute(
            sa.select(
                User.email,
                User.name,
                User.disabled_at,
                User.tokens_revoked_at,
                Balance.seq,
                LoginSession.jti,
                LoginSession.revoked_at,
                LoginSession.last_seen_at,
            )
            .join(Balance, Balance.user_id == User.id)
            .outerjoin(LoginSession, sa.and_(LoginSession.jti == jti, LoginSession.user_id == User.id))
            .where(User.id == user_id)
        ).first()
    if row is None or row.disabled_at is not None or row.revoked_at is not None:
        raise TokenInvalid(user_id=None if row is None else user_id)
    if (
        row.jti is None
        and row.tokens_revoked_at is not None
        and not _is_issued_after(claims, row.tokens_revoked_at)
    ):
        raise TokenInvalid(user_id=user_id)
    if row.jti is not None:
        _note_seen(jti, row.last_seen_at)
    return Identity(user_id, row.email, row.name, jti, expires_at, row.seq)


def _note_seen(jti: str, last_seen_at: datetime | None) -> None:
    now, address = wire.now(), audit.origin.get().address
    if last_seen_at is not None and now - last_seen_at < SEEN_EVERY:
        return
    seen = {"last_seen_at": now, **({"address": address} if address else {})}
    audit.note(lambda session: session.execute(_session_of(jti).values(**seen)))


def _session_of(jti: str) -> sa.Update:
    return sa.update(LoginSession).where(LoginSession.jti == jti)


def logout(identity: Identity) -> None:
    """Revoke this token."""

    def work(session: Session) -> None:
        _keep_session(session, identity)
        session.execute(_session_of(identity.jti).values(revoked_at=wire.now()))
        audit.record(session, "logged_out", user_id=identity.user_id)

    unit_of_work.commit(work)


def logout_all(identity: Identity) -> None:
    """Revoke every token and key of the user."""

    def work(session: Session) -> None:
        _revoke_all(session, identity.user_id)
        audit.record(session, "logged_out_everywhere", user_id=identity.user_id)

    unit_of_work.commit(work)


def list_ended_users(since: datetime) -> set[int]:
    """Users with a token or key that was revoked at or after `since`: their sockets need another look."""
    with unit_of_work.reading() as session:
        sessions = session.scalars(sa.select(LoginSession.user_id).where(LoginSession.revoked_at >= since))
        keys = session.scalars(sa.select(ApiKey.user_id).where(ApiKey.revoked_at >= since))
        users = session.scalars(sa.select(User.id).where(User.tokens_revoked_at >= since))
        return {*sessions, *keys, *users}


def _issue(session: Session, user_id: int, email: str) -> str:
    # Whole seconds, as JSON Web Tokens count them: the row and the token say the same.
    issued_at = wire.now().replace(microsecond=0)
    expires_at = issued_at + timedelta(seconds=current_app.config["JWT_LIFETIME_S"])
    jti = uuid.uuid4().hex
    session.add(
        LoginSession(jti=jti, user_id=user_id, issued_at=issued_at, expires_at=expires_at, **_whereabouts())
    )
    claims = {"email": email, "jti": jti, "iat": issued_at, "exp": expires_at}
    return create_access_token(identity=user_id, additional_claims=claims)


def _whereabouts() -> dict[str, Any]:
    """What the owner will know this session by; a device's own words are cut and made printable."""
    origin = audit.origin.get()
    device = "".join(sign if sign.isprintable() else " " for sign in origin.device or "")[:MAX_DEVICE]
    return {"device": device or None, "address": origin.address or None, "last_seen_at": wire.now()}


def _read_claims(token: str) -> dict[str, Any]:
    if not token or len(token) > MAX_TOKEN_LENGTH or not token.isascii():
        raise TokenInvalid()
    claims = _decode(token)
    if type(claims.get("id")) is not int or claims["id"] < 1 or claims["id"] >= 2**63:
        raise TokenInvalid()
    # PyJWT checks `exp` only where there is one.
    if (
        type(claims.get("exp")) is not int
        or claims["exp"] > 2**33
        or claims.get("type", "access") != "access"
    ):
        raise TokenInvalid()
    return claims


def _decode(token: str) -> dict[str, Any]:
    """The claims under a good signature: of the secret, or, while it is being replaced, of the one before."""
    config = current_app.config
    for secret in filter(None, (config["JWT_SECRET"], config["JWT_SECRET_PREVIOUS"])):
        try:
            claims: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"], leeway=LEEWAY_S)
            return claims
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError) as error:
            raise TokenInvalid() from error
    raise TokenInvalid()


def _jti_of(claims: dict[str, Any], token: str) -> str:
    """The token's own id, or one made of the token where its maker gave it none (or one that is not an id)."""
    jti = claims.get("jti")
    if isinstance(jti, str) and 0 < len(jti) <= 64 and jti.isascii():
        return jti
    return hashlib.sha256(token.encode()).hexdigest()


def _is_issued_after(claims: dict[str, Any], moment: datetime) -> bool:
    issued_at = claims.get("iat")
    return isinstance(issued_at, int | float) and issued_at > moment.timestamp()


def _keep_session(session: Session, identity: Identity) -> None:
    """Give a token that another program made a row, so that it can be revoked, or kept, by itself."""
    if session.get(LoginSession, identity.jti) is None:
        session.add(
            LoginSession(
                jti=identity.jti,
                user_id=identity.user_id,
                issued_at=wire.now(),
                expires_at=identity.expires_at,
                **_whereabouts(),
            )
        )
        session.flush()


def _revoke_all(session: Session, user_id: int, but: str = "") -> None:
    now = wire.now()
    session.execute(sa.update(User).where(User.id == user_id).values(tokens_revoked_at=now))
    session.execute(
        sa.update(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None), LoginSession.jti != but)
        .values(revoked_at=now)
    )
    api_keys.revoke_all(session, user_id, now)


# --- reading what people type -------------------------------------------------------------------------------------


def _read_email(email: str) -> tuple[str, str]:
    """As written, and as compared. Raises InvalidInput."""
    try:
        checked = validate_email(
            email.strip(), check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except (EmailNotValidError, UnicodeError) as error:
        raise InvalidInput("Invalid email address", field="email") from error
    normalized = (checked.ascii_email or "").lower()
    if not normalized or len(checked.normalized) > 254:
        raise InvalidInput("Invalid email address", field="email")
    return checked.normalized, normalized


def normalize_email(email: object) -> str | None:
    """The one spelling that an account is known by; None for what is no e-mail."""
    return _normalized_or_none(email) if isinstance(email, str) else None


def _normalized_or_none(email: str) -> str | None:
    try:
        return _read_email(email)[1]
    except InvalidInput:
        return None


def _read_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise InvalidInput("The name must have 1 to 100 printable characters", field="name")
    return name


# --- failed logins ------------------------------------------------------------------------------------------------


def _find_for_login(normalized: str | None) -> User | None:
    """The account behind an e-mail, if there is one. Raises AccountLocked."""
    if normalized is None:
        return None
    with unit_of_work.reading() as session:
        locked_until = session.scalar(
            sa.select(LoginFailure.locked_until).where(LoginFailure.email_normalized == normalized)
        )
        _check_lock(locked_until)
        return session.scalars(sa.select(User).where(User.email_normalized == normalized)).first()


def _check_lock(locked_until: datetime | None) -> None:
    rest = (locked_until - wire.now()) / timedelta(seconds=1) if locked_until else 0
    if rest > 0:
        raise AccountLocked(retry_after_s=int(rest) + 1)


def _count_failure(normalized: str | None, user_id: int | None, refusal: str = "login_failed") -> None:
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
