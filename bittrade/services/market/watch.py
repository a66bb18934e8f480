"""The state of the feed and of trading: reported when asked, and told to everyone when it changes.

`look` is called once a second by the scheduler's process (docs/adr/0006): that one lives when no job runs.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import broadcast, cache, unit_of_work, wire
from bittrade.extensions import own, queue_redis
from bittrade.models import BitcoinPriceEvent
from bittrade.services import settings
from bittrade.services.market import basis as market_basis
from bittrade.services.market import price as market_price
from bittrade.services.market import sanity as market_sanity
from bittrade.services.market import sources as market_sources

STATE_KEY = "market-state"  # what was told last, for all schedulers there may be
STATUS = "market_status"
STATUS_TTL_S = 1
NEXT_RUNS = "market_next_runs"
OVERDUE = "market_overdue"
NEXT_RUNS_TTL_S = 10
MAX_EVENTS = 20
HELD_REASON = "waits for confirmation"


def look(next_runs: Mapping[str, float], overdue: Sequence[str] = ()) -> bool:
    """Tell everyone if the feed went stale or came back, or trading was halted or resumed; whether it was told.

    `next_runs` (Unix seconds by id) and the `overdue` jobs are kept for `get_status` and health.
    Raises DatabaseUnavailable, RedisError.
    """
    cache.put(NEXT_RUNS, dict(next_runs), NEXT_RUNS_TTL_S)
    cache.put(OVERDUE, {"jobs": list(overdue)}, NEXT_RUNS_TTL_S)
    market_price.tell_what_went_unsaid()
    with unit_of_work.reading() as session:
        state = _state(session, wire.now())
    told = orjson.dumps({"feed": state["feed"], "trading": state["trading"]})
    # One command, so that of several schedulers exactly one sees each change.
    if queue_redis().set(own(STATE_KEY), told, get=True) == told:
        return False
    broadcast.market_status(state)
    return True


def get_status() -> dict[str, Any]:
    """Everything about the feed: state, sources, held and refused prices, next runs. Up to a second old."""
    status, _ = cache.get_or_fill(STATUS, _read_status, STATUS_TTL_S)
    return {**(status or {}), "timestamp": wire.timestamp(wire.now())}


def examine() -> dict[str, Any]:
    """Return what `get_status` says, of this moment."""
    return _read_status()


def _read_status() -> dict[str, Any]:
    now = wire.now()
    with unit_of_work.reading() as session:
        checked_at = market_sanity.find_checked_at(session)
        return {
            **_state(session, now),
            "max_price_age_ms": market_price.max_age_ms(),
            "checked_at": None if checked_at is None else wire.timestamp(checked_at),
            "sources": market_sources.list_states(session, now),
            "prices": _price_events(session),
            "next_runs": _next_runs(),
            "overdue_jobs": list_overdue_jobs(),
        }


def read_news() -> dict[str, dict[str, Any]]:
    """What everyone should know by now: by its name, the payload of each event that goes to all. Asks the database."""
    now = wire.now()
    with unit_of_work.reading() as session:
        row, state = market_price.find_newest(session), _state(session, now)
        price = market_price.find_event(row, settings.read_multipliers(session))
    status = broadcast.stamped(state)
    return {"market_status": status} | ({} if price is None else {"btc_price_update": price})


def _state(session: Session, now: datetime) -> dict[str, Any]:
    """`feed` is fresh, stale or none; `trading` is what a trade would meet."""
    row = market_price.find_newest(session)
    age = None if row is None else market_price.age_document(row.as_of, now)
    feed = "none" if age is None else "stale" if age["stale"] else "fresh"
    return {
        "feed": feed,
        "trading": market_basis.trading_state(session, now),
        "source": None if row is None else row.source,
        "as_of": None if row is None else wire.timestamp(row.as_of),
        "age_ms": None if age is None else age["age_ms"],
    }


def _price_events(session: Session) -> dict[str, Any]:
    counts = dict(
        session.execute(
            sa.select(BitcoinPriceEvent.outcome, sa.func.count()).group_by(BitcoinPriceEvent.outcome)
        ).all()
    )
    rows = session.scalars(
        sa.select(BitcoinPriceEvent).order_by(BitcoinPriceEvent.id.desc()).limit(MAX_EVENTS)
    )
    outcomes = ("held", "confirmed", "refuted", "refused")
    return {
        "counts": {outcome: counts.get(outcome, 0) for outcome in outcomes},
        "latest": [_price_event(row) for row in rows],
    }


def _price_event(row: BitcoinPriceEvent) -> dict[str, Any]:
    """One event for everybody. What a held price is stays with us until it is decided: it would be a tip."""
    is_held = row.outcome == "held"
    return {
        "at": wire.timestamp(row.at),
        "provider": row.provider,
        "outcome": row.outcome,
        "btc_usd_price": None if is_held else wire.hundredths(row.btc_usd_cents),
        "reason": HELD_REASON if is_held else row.reason,
        "resolved_at": None if row.resolved_at is None else wire.timestamp(row.resolved_at),
    }


def list_overdue_jobs() -> list[str] | None:
    """Return the jobs that don't run when they should; None while no scheduler says so."""
    found = cache.get(OVERDUE)
    return None if found is None else found["jobs"]


def _next_runs() -> dict[str, str] | None:
    """When each job runs next; None while no scheduler says so."""
    due = cache.get(NEXT_RUNS)
    if not isinstance(due, dict):
        return None
    return {
        name: wire.timestamp(datetime.fromtimestamp(at, wire.EPOCH.tzinfo))
        for name, at in sorted(due.items())
    }
