"""L4: logins at full cost beside trading. A hash takes a third of a second of a core; nobody else may wait for it."""

import json
import threading
from collections.abc import Callable

from drills import figures
from drills.client import ask
from drills.figures import Figures, Target
from drills.load import beside
from drills.scenarios import Run

LOGINS_PER_SECOND, TRADES_PER_SECOND = 3, 50
LOGIN_THREADS = 6
PROBE_EVERY_S = 0.02


def log_in_beside_trading(run: Run) -> Figures:
    """Unknown e-mails: each costs a whole hash, as a right password does, and locks nobody."""
    logins: list[tuple[int, float]] = []
    probes: list[tuple[int, float]] = []
    port = run.world.web.port
    work = [_logins(port, number, logins) for number in range(LOGIN_THREADS)] + [_probe(port, probes)]
    with beside(work):
        run.load("L4", per_second=TRADES_PER_SECOND, seconds=run.size.login_s).finish()
    facts = figures.summarize(run.history.of("L4"))
    facts |= {
        "logins": len(logins),
        "login p50 ms": round(figures.percentile([took for _, took in logins], 0.5), 1),
        "login statuses": sorted({status for status, _ in logins}),
        "probe p99 ms": round(figures.percentile([took for _, took in probes], 0.99), 1),
        "probe max ms": round(max((took for _, took in probes), default=0), 1),
    }
    targets = [
        figures.latency_target(facts, "p99", 250),
        # What a request that asks for nothing waits is at least what the event loop was late by.
        Target(
            "event loop late, by its slowest probe", max(took for _, took in probes), 100, " ms", is_soft=True
        ),
        Target(
            "logins answered by other than 401", sum(status != 401 for status, _ in logins), 0, is_soft=True
        ),
    ]
    return Figures("L4", facts, targets)


def _logins(port: int, number: int, done: list[tuple[int, float]]) -> Callable[[threading.Event], None]:
    def work(is_over: threading.Event) -> None:
        count = 0
        while not is_over.wait(LOGIN_THREADS / LOGINS_PER_SECOND):
            count += 1
            body = {"email": f"nobody-{number}-{count}@example.com", "password": "not a password of anyone"}
            done.append(ask(port, "POST", "/api/auth/login", body=json.dumps(body)))

    return work


def _probe(port: int, done: list[tuple[int, float]]) -> Callable[[threading.Event], None]:
    def work(is_over: threading.Event) -> None:
        while not is_over.wait(PROBE_EVERY_S):
            done.append(ask(port, "GET", "/api/nothing"))

    return work
