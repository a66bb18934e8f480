"""How the whole installation stands, as metrics: asked of the database and Redis when somebody reads them.

It is the same in every process, so it is not counted anywhere: what worker and scheduler do is seen here by what they
left. A database or a Redis that hangs costs a second or two, and what it would have said is left out.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Flask
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from bittrade.services import health, market, redis_servers
from bittrade.version import VERSION

STATES = {
    "bittrade_trading_state": ("trading", ("open", "no_price", "price_uncertain", "halted", "unknown")),
    "bittrade_redis_state": (
        "redis",
        (redis_servers.WRITABLE, redis_servers.REFUSING, redis_servers.AWAY),
    ),
    "bittrade_ledger_proof_state": (
        "ledger_proof",
        ("none", "right", "wrong", "late", "unfinished", "unknown"),
    ),
}
_asker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gauges")


class Standing:
    """A collector of what health says, and of each source. `more` are collectors that have to be asked in time too."""

    def __init__(self, app: Flask, more: Iterable[Callable[[], list[Metric]]] = ()) -> None:
        self._app, self._more = app, tuple(more)

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield what can be known now."""
        with self._app.app_context():
            yield InfoMetricFamily(
                "bittrade_build", "What runs.", {"version": VERSION, "python": platform.python_version()}
            )
            report = health.check()
            yield from _of_health(report)
            if report["database"] == "connected":
                yield from _of_sources(health.within_limit(_asker, market.examine))
            if report["redis"] != redis_servers.AWAY:
                for collect in self._more:
                    yield from health.within_limit(_asker, collect) or ()


def _of_health(report: dict[str, Any]) -> Iterator[Metric]:
    yield _gauge(
        "bittrade_database_up", "Whether the database takes writes.", report["database"] == "connected"
    )
    for name, (key, states) in STATES.items():
        yield _states(name, states, report[key])
    for name, key, words in (
        ("bittrade_price_age_seconds", "price_age_ms", "Age of the price that trades are made at."),
        (
            "bittrade_ledger_proof_age_seconds",
            "ledger_proof_age_ms",
            "Time since a proof of the books ended.",
        ),
    ):
        if report[key] is not None:
            yield _gauge(name, words, report[key] / 1000)
    overdue = report["overdue_jobs"]
    if overdue is not None:
        yield _gauge("bittrade_jobs_overdue", "Scheduled jobs that don't run when they should.", len(overdue))
    yield _gauge("bittrade_scheduler_up", "Whether a scheduler said something just now.", overdue is not None)
    late = GaugeMetricFamily("bittrade_late", "Work that waits for somebody to run it (1).", labels=["what"])
    for what in health.LATE:
        late.add_metric([what], what in report["late"])
    yield late


def _of_sources(status: dict[str, Any] | None) -> Iterator[Metric]:
    sources = [] if status is None else status["sources"]
    calls = CounterMetricFamily(
        "bittrade_source_calls", "Answers of each price source, usable or not.", labels=["source", "result"]
    )
    is_open = GaugeMetricFamily(
        "bittrade_source_breaker_open", "Whether a source is left alone for a while.", labels=["source"]
    )
    for source in sources:
        for result in ("succeeded", "failed"):
            calls.add_metric([source["name"], result], source[result])
        is_open.add_metric([source["name"]], source["breaker"] == "open")
    yield calls
    yield is_open


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=float(value))


def _states(name: str, states: tuple[str, ...], current: str) -> Metric:
    family = GaugeMetricFamily(name, "1 for the state it is in.", labels=["state"])
    for state in states:
        family.add_metric([state], float(state == current))
    return family
