"""The audit log: one row for each thing that matters, written in the same transaction as what it tells of.

Rows are added and read; nothing here, and no right of the application's database user (deploy/grants.sql), changes or
removes one. What can be refused as often as a stranger likes is bounded for each cause and owner, and counted: nothing of
one person's is hidden by another's. Where a request came from is not the business' affair, so entry points put it into
`origin` and it is read here.
"""

import ipaddress
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from bittrade import replica, unit_of_work, wire
from bittrade.domain.addresses import read_address
from bittrade.domain.tally import Tally
from bittrade.errors import BitTradeError, InvalidInput
from bittrade.models import AuditEvent
from bittrade.services.identity import Identity

log = logging.getLogger(__name__)
MAX_DEVICE = 200  # characters
# What can be refused as often as somebody likes is counted apart for so many causes of an owner, and so many owners.
CAUSES_AN_OWNER = 20
OWNERS = 50_000


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

    @property
    def shown_device(self) -> str | None:
        """What the device says of itself, cut and made printable."""
        shown = "".join(sign if sign.isprintable() else " " for sign in self.device or "")
        return shown[:MAX_DEVICE] or None


origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - frozen


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the audit log."""

    action: str
    user_id: int | None
    by_owner: bool
    facts: dict[str, Any]
    source: Origin


@contextmanager
def asked_by(identity: Identity, *, as_staff: bool = False) -> Iterator[None]:
    """Let what happens inside be asked by somebody; as a member of staff, it is done in that part, not as an owner."""
    actor = f"operator {identity.email} (user {identity.user_id})" if as_staff else origin.get().actor
    token = origin.set(replace(origin.get(), asker=identity, actor=actor))
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
    _insert(session, Event(action, user_id, by_owner, facts, origin.get()))


def record_each(session: Session, action: str, facts: Mapping[int, Mapping[str, Any]]) -> None:
    """Add a row for each user of whom there are facts."""
    source = origin.get()
    _insert(
        session,
        *(Event(action, user_id, True, dict(known), source) for user_id, known in facts.items() if known),
    )


def _insert(session: Session, *events: Event) -> None:
    rows = [
        {
            "at": wire.now(),
            "action": event.action,
            "actor": event.source.actor or _who(event),
            "user_id": event.user_id,
            "address": event.source.address or None,
            "request_id": event.source.request_id,
            "facts": json.dumps(event.facts, sort_keys=True, allow_nan=False),
        }
        for event in events
    ]
    if rows:
        session.execute(sa.insert(AuditEvent.__table__), rows)


def _who(event: Event) -> str:
    return f"user {event.user_id}" if event.user_id is not None and event.by_owner else "anonymous"


def read_reason(why: str) -> str:
    """Return the reason for an operator's step without space around it. Raises InvalidInput where it says nothing."""
    reason = why.strip()
    if not any(sign.isalnum() for sign in reason):
        raise InvalidInput("Say why", field="why")
    return reason


def record_refusal(
    action: str, *, cause: str, user_id: int | None = None, by_owner: bool = True, **facts: Any
) -> None:
    """Write that something was refused, and never fail: the refusal stands anyway.

    The first of each cause and owner is written at once, those that follow as a `count` when their time is over.
    """
    event = Event(action, user_id, by_owner, facts, origin.get())
    refusals.write(event, cause)


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


class Refusals:
    """What was refused lately by this process: the first of a kind is a row, the others become a count."""

    def __init__(self) -> None:
        self._tally: Tally[Event] = Tally(causes_an_owner=CAUSES_AN_OWNER, owners=OWNERS)
        self._lock = threading.Lock()

    def write(self, event: Event, cause: str) -> None:
        now = time.monotonic()
        with self._lock:
            rows = self._take_due(now)
            if self._tally.add(event.user_id, event.action, cause, event, now):
                rows.append(event)
        _write(rows)

    def write_due(self) -> None:
        """Write the counts whose time is over; for when nothing more is refused."""
        with self._lock:
            rows = self._take_due(time.monotonic())
        _write(rows)

    def _take_due(self, now: float) -> list[Event]:
        due = self._tally.take_due(now)
        return [
            replace(count.what, facts={**count.what.facts, "count": count.repeats, "in_s": count.window_s})
            for count in due
        ]


def _write(rows: list[Event]) -> None:
    def work(session: Session) -> None:
        for row in rows:
            _insert(session, row)

    if rows:
        note(work)


refusals = Refusals()


def list_activity(user_id: int, *, limit: int, before_id: int | None = None) -> dict[str, Any]:
    """All that happened to an account, newest first: its owner's doing, staff's, and that of who failed to be them."""
    mine = sa.select(AuditEvent).where(AuditEvent.user_id == user_id)
    if before_id is not None:
        mine = mine.where(AuditEvent.id < before_id)

    def read(session: Session) -> list[dict[str, Any]]:
        rows = session.scalars(mine.order_by(AuditEvent.id.desc()).limit(limit + 1))
        return [_document(row) for row in rows]

    events = replica.read(read)
    has_more = len(events) > limit
    events = events[:limit]
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
        return [_staff_document(row) for row in reversed(rows)]


def list_for_operator(
    *,
    limit: int,
    before_id: int | None = None,
    user_id: int | None = None,
    action: str | None = None,
    actor: str | None = None,
) -> dict[str, Any]:
    """A page of the log, newest first; `actor` is a part of who did it."""
    wanted = sa.select(AuditEvent)
    if before_id is not None:
        wanted = wanted.where(AuditEvent.id < before_id)
    if user_id is not None:
        wanted = wanted.where(AuditEvent.user_id == user_id)
    if action is not None:
        wanted = wanted.where(AuditEvent.action == action)
    if actor is not None:
        wanted = wanted.where(AuditEvent.actor.contains(actor, autoescape=True))
    with unit_of_work.reading() as session:
        rows = session.scalars(wanted.order_by(AuditEvent.id.desc()).limit(limit + 1)).all()
        events = [_staff_document(row) for row in rows[:limit]]
    return wire.page("events", events, has_more=len(rows) > limit)


def _staff_document(row: AuditEvent) -> dict[str, Any]:
    """A row with what is the house's affair alone: who of staff did it."""
    return {**_document(row), "actor": row.actor, "user_id": row.user_id, "request_id": row.request_id}


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
