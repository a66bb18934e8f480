"""The audit log: one row for each thing that matters, written in the same transaction as what it tells of.

Where a request came from is not the business' affair, so entry points put it into `origin` and it is read here.
"""

import json
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.models import AuditEvent


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks, from where. `actor` is None for a person who acts on their own account."""

    actor: str | None = None
    address: str | None = None
    request_id: str | None = None


origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - frozen


def record(session: Session, action: str, *, user_id: int | None = None, **facts: Any) -> None:
    """Add a row to the caller's unit of work. `facts` must be JSON-ready and hold no secret."""
    source = origin.get()
    actor = source.actor or (f"user {user_id}" if user_id is not None else "anonymous")
    session.execute(
        sa.insert(AuditEvent.__table__).values(
            at=wire.now(),
            action=action,
            actor=actor,
            user_id=user_id,
            address=source.address,
            request_id=source.request_id,
            facts=json.dumps(facts, sort_keys=True, allow_nan=False),
        )
    )


def record_alone(action: str, *, user_id: int | None = None, **facts: Any) -> None:
    """Write a row in a unit of work of its own: for what was refused and so left nothing else behind."""
    unit_of_work.commit(lambda session: record(session, action, user_id=user_id, **facts))
