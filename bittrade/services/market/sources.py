"""What is known of each source: whether it may be asked now, and how it has answered so far.

In the database (docs/adr/0006), in short units of work of their own: none is open while a source is asked.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.upstream import Breaker, Budget, recent
from bittrade.errors import SourceNotAsked
from bittrade.models import Upstream
from bittrade.providers import alternative_me, coinbase, coingecko, kraken
from bittrade.providers.http import MAX_PAUSE_S

T = TypeVar("T")
log = logging.getLogger(__name__)
MAX_REASON = 255
MAX_DRIFT_BPS = 10**8
NAMES = (coingecko.SOURCE, coinbase.SOURCE, kraken.SOURCE, alternative_me.SOURCE)


def budget_of(name: str) -> Budget:
    """What the configuration allows for one source."""
    if name == alternative_me.SOURCE:
        return Budget(per_minute=current_app.config["FEAR_GREED_CALLS_PER_MINUTE"])
    prefix = name.upper()
    return Budget(
        per_minute=current_app.config[f"{prefix}_CALLS_PER_MINUTE"],
        per_month=current_app.config[f"{prefix}_CALLS_PER_MONTH"],
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """The way to one source: counts its requests, and remembers what it asked us to wait.

    An HttpClient gets it as its `pauses` and asks `permit` before each request.
    """

    name: str
    is_for_price: bool

    def permit(self) -> None:
        """Count one request. Raises SourceNotAsked, and counts nothing, where the budget is used up."""
        refusal = _change(self.name, self._take)
        if refusal is not None:
            raise SourceNotAsked(refusal)

    def _take(self, row: Upstream, now: datetime) -> str | None:
        now_ms = int(now.timestamp() * 1000)
        calls = recent(orjson.loads(row.recent_calls), now_ms)
        month = now.strftime("%Y-%m")
        if row.month != month:
            row.month, row.month_calls = month, 0
        refusal = budget_of(self.name).refusal(
            calls, row.month_calls, now=now, is_for_price=self.is_for_price
        )
        if refusal is None:
            row.recent_calls = orjson.dumps([*calls, now_ms]).decode()
            row.month_calls += 1
        return refusal

    def seconds_left(self, _host: str) -> float:
        """What is left of the source's own Retry-After."""
        with unit_of_work.reading() as session:
            until = session.scalar(sa.select(Upstream.paused_until).where(Upstream.name == self.name))
        left = 0.0 if until is None else (until - wire.now()).total_seconds()
        return left if 0 < left <= MAX_PAUSE_S else 0.0  # further off: a clock that was ahead said so

    def pause(self, _host: str, seconds: float) -> None:
        """Remember that it wants to be left alone."""

        def wait(row: Upstream, now: datetime) -> None:
            row.paused_until = now + timedelta(seconds=seconds)

        _change(self.name, wait)


def note_success(name: str) -> None:
    """Note that it gave something that could be used: its breaker closes."""

    def succeed(row: Upstream, now: datetime) -> None:
        if row.open_until is not None:
            log.warning("%s is used again", name)
        row.failures, row.open_until = 0, None
        row.last_success_at = now
        row.succeeded += 1

    _change(name, succeed)


def note_failure(name: str, reason: str) -> None:
    """It failed, or what it said was wrong; after some failures in a row its breaker opens."""

    def fail(row: Upstream, now: datetime) -> None:
        breaker = Breaker(row.failures, row.open_until).after_failure(now)
        if breaker.open_until is not None:
            log.warning("%s is left alone until %s", name, wire.timestamp(breaker.open_until))
        row.failures, row.open_until = breaker.failures, breaker.open_until
        row.last_failure_at, row.last_failure = now, reason[:MAX_REASON]
        row.failed += 1

    _change(name, fail)


def note_drift(name: str, bps: int) -> None:
    """Note how far its price was from the one that was believed."""

    def drift(row: Upstream, now: datetime) -> None:
        row.drift_bps, row.drift_at = max(-MAX_DRIFT_BPS, min(MAX_DRIFT_BPS, bps)), now

    _change(name, drift)


def in_turn(names: list[str]) -> list[str]:
    """The order in which to ask: as given, but those whose breaker is open come last, not never.

    Were they left out, a source that comes back while all breakers are open would go unnoticed for minutes.
    """
    resting = _list_open()
    return [name for name in names if name not in resting] + [name for name in names if name in resting]


def is_open(name: str) -> bool:
    """Whether the source's breaker is open."""
    return name in _list_open()


def _list_open() -> set[str]:
    now = wire.now()
    with unit_of_work.reading() as session:
        rows = session.execute(sa.select(Upstream.name, Upstream.open_until)).all()
    return {row.name for row in rows if Breaker(0, row.open_until).state(now) == "open"}


def list_states(session: Session, now: datetime) -> list[dict[str, Any]]:
    """Everything that is known, for people."""
    rows = {row.name: row for row in session.scalars(sa.select(Upstream))}
    order = current_app.config["PRICE_SOURCES"]
    names = [*order, *(name for name in NAMES if name not in order)]
    return [_state(name, rows.get(name), now) for name in names]


def _state(name: str, row: Upstream | None, now: datetime) -> dict[str, Any]:
    budget = budget_of(name)
    row = row or _new(name)
    calls = recent(orjson.loads(row.recent_calls), int(now.timestamp() * 1000))
    is_paused = row.paused_until is not None and row.paused_until > now
    order = current_app.config["PRICE_SOURCES"]
    return {
        "name": name,
        "price_order": order.index(name) + 1 if name in order else None,
        "breaker": Breaker(row.failures, row.open_until).state(now),
        "failures_in_a_row": row.failures,
        "open_until": _moment(row.open_until),
        "paused_until": _moment(row.paused_until) if is_paused else None,
        "last_success_at": _moment(row.last_success_at),
        "last_failure_at": _moment(row.last_failure_at),
        "last_failure": row.last_failure,
        "drift_pct": wire.hundredths(row.drift_bps),
        "drift_at": _moment(row.drift_at),
        "succeeded": row.succeeded,
        "failed": row.failed,
        "calls_last_minute": len(calls),
        "calls_per_minute": budget.per_minute or None,
        "calls_this_month": row.month_calls if row.month == now.strftime("%Y-%m") else 0,
        "calls_per_month": budget.per_month or None,
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else wire.timestamp(value)


def _new(name: str) -> Upstream:
    return Upstream(name=name, failures=0, succeeded=0, failed=0, month="", month_calls=0, recent_calls="[]")


def _change(name: str, change: Callable[[Upstream, datetime], T]) -> T:
    """Change one source's row under its lock."""

    def work(session: Session) -> T:
        return change(_lock(session, name), wire.now())

    return unit_of_work.commit(work)


def _lock(session: Session, name: str) -> Upstream:
    row = session.get(Upstream, name, with_for_update=True)
    if row is not None:
        return row
    try:
        with session.begin_nested():
            session.add(_new(name))
    except sa.exc.IntegrityError:
        pass  # somebody else was the first to ask it
    return session.get_one(Upstream, name, with_for_update=True)
