"""Accounts: opening, changing and finding them; for their owners and for operators."""

from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.names import read_name
from bittrade.errors import EmailTaken, MissingFields, UserNotFound
from bittrade.models import Balance, User
from bittrade.services import audit, passwords
from bittrade.services.auth import access, confirmation, staff
from bittrade.services.auth.emails import normalize_email, read_email
from bittrade.services.identity import Identity, public_user

T = TypeVar("T")


def register(*, email: str, password: str, name: str) -> tuple[str, dict[str, Any]]:
    """Open an account; its first token and the user. Raises InvalidInput, WeakPassword or EmailTaken."""
    account = _check_account(email=email, password=password, name=name)

    def work(session: Session) -> tuple[str, dict[str, Any]]:
        user = _open(session, account)
        return access.issue(session, user["id"], user["email"]), user

    return _open_once(work)


def create_user(*, email: str, password: str, name: str) -> dict[str, Any]:
    """Open an account without a token: for `register` and for operators."""
    account = _check_account(email=email, password=password, name=name)
    return _open_once(lambda session: _open(session, account))


def _check_account(*, email: str, password: str, name: str) -> dict[str, str]:
    """The columns of a new user. Raises InvalidInput or WeakPassword."""
    written, normalized = read_email(email)
    name = read_name(name)
    passwords.check_new(password, email=normalized, name=name)
    hashed = passwords.hash_password(password)
    return {"email": written, "email_normalized": normalized, "name": name, "password_hash": hashed}


def _open(session: Session, account: dict[str, str]) -> dict[str, Any]:
    user = User(**account, created_at=wire.now())
    session.add(user)
    session.flush()
    session.add(Balance(user_id=user.id))
    audit.record(session, "registered", user_id=user.id)
    return public_user(user.id, user.email, user.name)


def _open_once(work: Callable[[Session], T]) -> T:
    """Commit a new account. The e-mail's unique index decides who was first. Raises EmailTaken."""
    try:
        return unit_of_work.commit(work)
    except IntegrityError as error:
        raise EmailTaken() from error


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
        changed["email"], changed["email_normalized"] = read_email(email)
    if name is not None:
        changed["name"] = read_name(name)
    confirmed = confirmation.confirm_password(identity, current, "profile_change_refused")

    def work(session: Session) -> dict[str, Any]:
        confirmation.lock_password(session, identity.user_id, confirmed)
        session.execute(sa.update(User).where(User.id == identity.user_id).values(**changed))
        shown = {field: value for field, value in changed.items() if field != "email_normalized"}
        before = {field: getattr(identity, field) for field in shown}
        audit.record(session, "profile_changed", user_id=identity.user_id, before=before, after=shown)
        return {**identity.public(), **shown}

    try:
        return unit_of_work.commit(work)
    except IntegrityError as error:
        raise EmailTaken() from error


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
    staff.disable(user_id)
    return user_id


def enable_user(email: str) -> int:
    """Open a shut account again; the tokens and keys of before stay ended. Raises UserNotFound."""
    user_id = get_user_id(email)
    staff.enable(user_id)
    return user_id


def unlock_user(email: str) -> int:
    """Lift every lock that failed logins have put on an account. Raises UserNotFound."""
    user_id = get_user_id(email)
    staff.unlock(user_id)
    return user_id


def get_user_id(email: str) -> int:
    """Raises UserNotFound."""
    with unit_of_work.reading() as session:
        user_id = session.scalar(sa.select(User.id).where(User.email_normalized == normalize_email(email)))
    if user_id is None:
        raise UserNotFound(f"No user has the e-mail {email}")
    return user_id
