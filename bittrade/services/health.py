"""Whether requests can be served: checked for real, at most once a second for everybody."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from flask import current_app

from bittrade import unit_of_work, wire
from bittrade.errors import BitTradeError, DatabaseUnavailable
from bittrade.logs import warn_seldom
from bittrade.services import ledger, market, orders, plans, redis_servers, write_probe
from bittrade.services.ledger import Standing

T = TypeVar("T")
_Answer = tuple[bool, int | None, str, Standing, list[str]]
log = logging.getLogger(__name__)
_REMEMBERED_S = 1.0
_TIME_LIMIT_S = 1.0
_LATE_S = 60  # orders and plans are swept each second
LATE = ("expired_orders", "matching", "plans")  # what `late` may name
_UNREACHED: _Answer = (False, None, "unknown", Standing("unknown", None), [])


class _Memory:
    """The last report, and a lock so that one request checks while the others take what is known."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.report: dict[str, Any] | None = None
        self.until = 0.0


_memory = _Memory()
# Threads here are greenlets in a gevent process. One for each: a database that hangs must not hide that Redis answers.
_database_asker, _redis_asker = (
    ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"health-{what}") for what in ("database", "redis")
)


def check() -> dict[str, Any]:
    """`status` (OK, DEGRADED, DOWN), `database`, `redis`, `external_apis`, `price_age_ms`; up to a second old."""
    if _memory.report is not None and (time.monotonic() < _memory.until or _memory.lock.locked()):
        return _memory.report
    with _memory.lock:
        if _memory.report is None or time.monotonic() >= _memory.until:
            _memory.report = _check_now()
            _memory.until = time.monotonic() + _REMEMBERED_S
        return _memory.report


def require_ready() -> None:
    """Raise what keeps this process from serving a trade now.

    A price that is missing, or a halt, is no such thing: the answer that says so is served.
    """
    if unit_of_work.check_schema() is not None or check()["status"] == "DOWN":
        raise DatabaseUnavailable(retry_after_s=1)


def _check_now() -> dict[str, Any]:
    database, redis = (
        within_limit(_database_asker, _ask_database),
        within_limit(_redis_asker, redis_servers.find_state),
    )
    is_up, age, trading, proof, late = database if database is not None else _UNREACHED
    redis = redis or redis_servers.AWAY
    overdue = within_limit(_redis_asker, market.list_overdue_jobs) if redis != redis_servers.AWAY else None
    is_fresh = age is not None and age <= current_app.config["MAX_PRICE_AGE_S"] * 1000
    return {
        "status": "DOWN"
        if not is_up
        else "OK"
        if redis == redis_servers.WRITABLE and trading == "open" and not (proof.is_alarm or overdue or late)
        else "DEGRADED",
        "database": "connected" if is_up else "disconnected",
        "redis": redis,
        "external_apis": "operational" if is_fresh else "degraded",
        "price_age_ms": age,
        "trading": trading,
        "ledger_proof": proof.state,
        "ledger_proof_age_ms": proof.age_ms,
        "overdue_jobs": overdue,
        "late": late,
    }


def within_limit(asker: ThreadPoolExecutor, question: Callable[[], T]) -> T | None:
    """Return the answer, given in an asker's thread, or None where it takes longer than the limit or fails in a way that nobody thought of."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def ask() -> T:
        with app.app_context():
            return question()

    answer = asker.submit(ask)
    try:
        return answer.result(timeout=_TIME_LIMIT_S)
    except TimeoutError:
        answer.cancel()
    except Exception:
        log.exception("health")
    return None


def _list_late() -> list[str]:
    """Name what waits for somebody to run it."""
    looks = (
        orders.has_overdue(by_s=_LATE_S),
        orders.has_unfilled(by_s=_LATE_S),
        plans.find_late(by_s=_LATE_S) > 0,
    )
    return [name for name, is_late in zip(LATE, looks, strict=True) if is_late]


def _ask_database() -> _Answer:
    """Return whether it takes writes, the price's age, what a trade would meet, how the books' proof stands, what is late."""
    try:
        write_probe.require_writable()
        age = market.find_price_age_ms()
        with unit_of_work.reading() as session:
            trading = market.trading_state(session, wire.now())
        return True, age, trading, ledger.find_standing(), _list_late()
    except BitTradeError as error:
        warn_seldom(log, "health: %s", error.message)
        return _UNREACHED
