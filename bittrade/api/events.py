"""A user's events for clients without a socket: what has happened since a `seq`."""

from typing import Any

from flask import Blueprint

from bittrade import wire
from bittrade.api.event_schemas import EventsAnswer, EventsQuery
from bittrade.api.openapi import documented
from bittrade.api.security import current_user
from bittrade.services import events
from bittrade.services.auth import READ

blueprint = Blueprint("events", __name__, url_prefix="/api")


@blueprint.get("/events")
@documented(EventsAnswer, needs_token=True, scope=(READ,), tag="user data")
def list_events(query: EventsQuery) -> Any:
    """The balance, and each transaction since `after`, oldest first: what the user's sockets were told meanwhile."""
    missed = events.list_missed(current_user().user_id, after=query.after)
    return {
        "after": missed.after,
        "seq": missed.seq,
        "complete": missed.complete,
        "balance": missed.balance,
        "transactions": missed.transactions,
        "orders": missed.orders,
        "loans": missed.loans,
        "timestamp": wire.timestamp(wire.now()),
    }
