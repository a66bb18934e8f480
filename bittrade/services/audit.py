"""The audit log: one row for each thing that matters, written in the same transaction as what it tells of.

Rows are added and read; nothing here, and no right of the application's database user (deploy/grants.sql), changes or
removes one. Where a request came from is not the business' affair, so entry points put it into `origin` and it is read
here.
"""

import ipaddress
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.addresses import read_address
from bittrade.errors import BitTradeError
from bittrade.models import AuditEvent
from bittrade.services.identity import Identity

log = logging.getLogger(__name__)
# What a stranger can make happen as often as they like is written once in this time for each cause.
REPEAT_S = 60.0
MAX_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks, from where. `actor` is None for a person who acts on their own account.

    `address` is None where nobody asks (a command, a background look), and "" where nobody knows from where.
    """

    actor: str | None = None
    address: str | None = None
    request_id: str | None = None
    device: str | None = None
    asker: Identity | None = None  # whose token or key was good when the request came in


origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - frozen


@contextmanager
def asked_by(identity: Identity) -> Iterator[None]:
    """Let what happens inside be asked by somebody."""
    token = origin.set(replace(origin.get(), asker=identity))
    try:
        yield
    finally:
        origin.reset(token)


def record(
    session: Session, action: str, *, user_id: int | None = None, by_owner: bool = True, **facts: Any
) -> None:
    """Add a row to the caller's unit of work. `facts` must be JSON-ready and hold no secret.

    Not `by_owner`: it concerns this user, but nobody has shown that it was them.
    """
    source = origin.get()
    actor = source.actor or (f"user {user_id}" if user_id is not None and by_owner else "anonymous")
    session.execute(
        sa.insert(AuditEvent.__table__).values(
            at=wire.now(),
            action=action,
            actor=actor,
            user_id=user_id,
            address=source.address or None,
            request_id=source.request_id,
            facts=json.dumps(facts, sort_keys=True, allow_nan=False),
        )
    )


def record_refusal(action: str, *, cause: str, **facts: Any) -> None:
    """Write that something was refused, once a minute for each `cause`, and never fail: the refusal stands anyway."""
    if _repeats.is_new(f"{action} {cause}"):
        note(lambda session: record(session, action, **facts))


@lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """The address; of IPv6 the network of one customer, who has 2⁶⁴ addresses to choose from. Never empty."""
    found = read_address(address)
    if ":" in found:
        return str(ipaddress.ip_network(f"{found}/64", strict=False))
    return found or "unknown"


def note(work: Callable[[Session], object]) -> None:
    """Write what is good to know in a unit of work of its own; that it can't be written is a log line."""
    try:
        unit_of_work.commit(work)
    except (BitTradeError, SQLAlchemyError) as error:
        log.warning("could not write: %s", type(error).__name__)


class _Repeats:
    """What was written lately by this process."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def is_new(self, cause: str) -> bool:
        now = time.monotonic()
        with self._lock:
            if self._until.get(cause, 0) > now:
                return False
            if len(self._until) >= MAX_REMEMBERED:
                self._until = {known: until for known, until in self._until.items() if until > now}
                if len(self._until) >= MAX_REMEMBERED:
                    return False  # many strangers at once: what they do fills neither memory nor the disk
            self._until[cause] = now + REPEAT_S
            return True


_repeats = _Repeats()


def list_activity(user_id: int, *, limit: int, before_id: int | None = None) -> dict[str, Any]:
    """All that happened to an account, newest first: its owner's doing, staff's, and that of who failed to be them."""
    mine = sa.select(AuditEvent).where(AuditEvent.user_id == user_id)
    if before_id is not None:
        mine = mine.where(AuditEvent.id < before_id)
    with unit_of_work.reading() as session:
        rows = session.scalars(mine.order_by(AuditEvent.id.desc()).limit(limit + 1)).all()
        events = [_document(row) for row in rows[:limit]]
    has_more = len(rows) > limit
    return {
        "events": events,
        "hasMore": has_more,
        "next_before_id": events[-1]["id"] if has_more else None,
    }


def tail(*, limit: int, after_id: int = 0, user_id: int | None = None) -> list[dict[str, Any]]:
    """For operators: the newest rows after `after_id`, oldest first, with who did it."""
    wanted = sa.select(AuditEvent).where(AuditEvent.id > after_id)
    if user_id is not None:
        wanted = wanted.where(AuditEvent.user_id == user_id)
    with unit_of_work.reading() as session:
        rows = session.scalars(wanted.order_by(AuditEvent.id.desc()).limit(limit)).all()
        return [
            {**_document(row), "actor": row.actor, "user_id": row.user_id, "request_id": row.request_id}
            for row in reversed(rows)
        ]


def _document(row: AuditEvent) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": wire.timestamp(row.at),
        "action": row.action,
        "by": _by(row),
        "address": row.address,
        "facts": json.loads(row.facts),
    }


def _by(row: AuditEvent) -> str:
    """The owner, staff or a stranger; which member of staff is the house's affair."""
    if row.actor == f"user {row.user_id}":
        return "owner"
    return "staff" if row.actor.startswith("operator ") else "unknown"
