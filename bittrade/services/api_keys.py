"""Keys for programs: `bt_` and 32 random bytes. A key can read, trade or export, never change the account itself.

Only a SHA-256 of a key is kept: of 256 random bits nothing can be guessed, so nothing has to be slow. A change of
password, `logout-all` and the shutting of an account end every key.
"""

import hashlib
import ipaddress
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.addresses import read_address, read_network
from bittrade.errors import InvalidInput, KeyNotFound, TokenInvalid, TooManyKeys
from bittrade.models import ApiKey, Balance, User
from bittrade.services import audit, rights
from bittrade.services.identity import KEY_SCOPES, Identity

MARK = "bt_"
SECRET_BYTES = 32
_FORM = re.compile(rf"{MARK}[A-Za-z0-9_-]{{43}}", re.ASCII)
SHOWN = len(MARK) + 6  # of each key, so that its owner can tell it from the others
MAX_KEYS = 20
MAX_NETWORKS = 20
DEFAULT_DAYS, MAX_DAYS = 90, 3650
SEEN_EVERY = timedelta(minutes=1)


def create_key(
    user_id: int, *, name: str, scopes: Iterable[str], days: int = DEFAULT_DAYS, addresses: Iterable[str] = ()
) -> dict[str, Any]:
    """Make a key; only this answer ever holds it. Raises InvalidInput or TooManyKeys."""
    held = _read_scopes(scopes)
    networks = _read_networks(addresses)
    secret = MARK + secrets.token_urlsafe(SECRET_BYTES)
    now = wire.now()

    def work(session: Session) -> dict[str, Any]:
        # Locked, so that two at once can't both be the last one allowed.
        session.execute(sa.select(User.id).where(User.id == user_id).with_for_update())
        rights.confirm(session)
        count = sa.select(sa.func.count()).select_from(ApiKey)
        if (session.scalar(count.where(ApiKey.user_id == user_id, *_good_at(now))) or 0) >= MAX_KEYS:
            raise TooManyKeys(max_keys=MAX_KEYS)
        row = ApiKey(
            user_id=user_id,
            name=name,
            prefix=secret[:SHOWN],
            secret_hash=_hash(secret),
            scopes=",".join(held),
            addresses=",".join(networks),
            created_at=now,
            expires_at=now + timedelta(days=days),
        )
        session.add(row)
        session.flush()
        audit.record(session, "key_created", user_id=user_id, key_id=row.id, name=name, scopes=held)
        return {"key": secret, **_document(row)}

    return unit_of_work.commit(work)


def list_keys(user_id: int) -> list[dict[str, Any]]:
    """The keys that work now, newest first."""
    with unit_of_work.reading() as session:
        wanted = sa.select(ApiKey).where(ApiKey.user_id == user_id, *_good_at(wire.now()))
        return [_document(row) for row in session.scalars(wanted.order_by(ApiKey.id.desc()))]


def revoke_key(user_id: int, key_id: int) -> None:
    """End a key at once. Raises KeyNotFound, also for another's."""

    def work(session: Session) -> None:
        mine = sa.update(ApiKey).where(
            ApiKey.id == key_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None)
        )
        if session.execute(mine.values(revoked_at=wire.now())).rowcount != 1:  # type: ignore[attr-defined]
            raise KeyNotFound()
        audit.record(session, "key_revoked", user_id=user_id, key_id=key_id)

    unit_of_work.commit(work)


def revoke_all(session: Session, user_id: int, now: datetime) -> None:
    """End all keys of a user, in the caller's unit of work."""
    mine = sa.update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    session.execute(mine.values(revoked_at=now))


def authenticate(key: str) -> Identity:
    """The owner of a key. Raises TokenInvalid, always with the same words."""
    if not _FORM.fullmatch(key):
        raise TokenInvalid()
    now = wire.now()
    with unit_of_work.reading() as session:
        row = session.execute(
            sa.select(ApiKey, User.email, User.name, User.disabled_at, Balance.seq)
            .join(User, User.id == ApiKey.user_id)
            .join(Balance, Balance.user_id == User.id)
            .where(ApiKey.secret_hash == _hash(key))
        ).first()
        if row is None:
            raise TokenInvalid()
        found: ApiKey = row.ApiKey
        if found.revoked_at is not None or found.expires_at <= now or row.disabled_at is not None:
            raise TokenInvalid(user_id=found.user_id)
        if not _is_allowed_from(found.addresses, audit.origin.get().address):
            raise TokenInvalid(user_id=found.user_id)
        session.expunge(found)
    _note_use(found, now)
    scopes = frozenset(found.scopes.split(","))
    jti = f"key:{found.id}"
    return Identity(found.user_id, row.email, row.name, jti, found.expires_at, row.seq, scopes, found.id)


def _note_use(key: ApiKey, now: datetime) -> None:
    if key.last_used_at is not None and now - key.last_used_at < SEEN_EVERY:
        return
    used = sa.update(ApiKey).where(ApiKey.id == key.id)
    used = used.values(last_used_at=now, last_used_address=audit.origin.get().address)
    audit.note(lambda session: session.execute(used))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _good_at(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return ApiKey.revoked_at.is_(None), ApiKey.expires_at > now


def _document(row: ApiKey) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "prefix": row.prefix,
        "scopes": row.scopes.split(","),
        "addresses": row.addresses.split(",") if row.addresses else [],
        "created_at": wire.timestamp(row.created_at),
        "expires_at": wire.timestamp(row.expires_at),
        "last_used_at": None if row.last_used_at is None else wire.timestamp(row.last_used_at),
        "last_used_address": row.last_used_address,
    }


def _read_scopes(scopes: Iterable[str]) -> list[str]:
    wanted = set(scopes)
    if not wanted or not wanted <= set(KEY_SCOPES):
        raise InvalidInput(f"scopes takes one or more of {', '.join(KEY_SCOPES)}", field="scopes")
    return [scope for scope in KEY_SCOPES if scope in wanted]


def _read_networks(addresses: Iterable[str]) -> list[str]:
    written = list(addresses)
    if len(written) > MAX_NETWORKS:
        raise InvalidInput(f"addresses takes at most {MAX_NETWORKS}", field="addresses")
    try:
        return [read_network(text) for text in written]
    except ValueError as error:
        message = "addresses takes IP addresses and networks, such as 203.0.113.7 or 2001:db8::/32"
        raise InvalidInput(message, field="addresses") from error


def _is_allowed_from(networks: str, address: str | None) -> bool:
    """Whether the key may be used from here. Without an address (nobody is asking: a key is looked at again) it may."""
    if not networks or address is None:
        return True
    try:
        here = ipaddress.ip_address(read_address(address))
    except ValueError:
        return False
    return any(here in ipaddress.ip_network(network) for network in networks.split(","))
