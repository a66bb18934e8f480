"""What this process counts and measures, by the names under which Prometheus gets it. Imports nothing of ours.

Counting is an addition to a dict, so it may stand in the hot path; `metric_files.py` writes the sums for the exporter, once
a second, and `flask --app wsgi sockets` reads some of them. What comes with every request, query or look into the cache is
counted only where somebody can read it (`is_on`). Labels come from small sets: no user's id, no path as it was asked for.
"""

import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

# gunicorn.conf.py makes this folder, before any worker exists, where METRICS_PORT is set. prometheus_client reads the name.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
is_on = FOLDER in os.environ

Labels = tuple[str, ...]
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BRIEF_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Counter:
    """What only grows; its name ends in `_total`."""

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:
        self.name, self.help, self.labels = name, help, labels
        self.values: defaultdict[Labels, float] = defaultdict(float)

    def count(self, *labels: str, by: float = 1) -> None:
        """Add to the sum of these labels' values, given in the labels' order."""
        self.values[labels] += by


class Gauge:
    """What rises and falls; of several processes the sum is shown."""

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:
        self.name, self.help, self.labels = name, help, labels
        self.values: dict[Labels, float] = {}

    def set(self, value: float, *labels: str) -> None:
        """Note what it is now."""
        self.values[labels] = value


class Series:
    """One histogram's observations for one set of labels: how many in each bucket, the last without a bound, and their sum."""

    __slots__ = ("buckets", "sum")

    def __init__(self, bounds: int) -> None:
        self.buckets = [0] * (bounds + 1)
        self.sum = 0.0


class Histogram:
    """How long something took, in seconds."""

    def __init__(self, name: str, help: str, labels: Labels = (), bounds: Sequence[float] = SECONDS) -> None:
        self.name, self.help, self.labels, self.bounds = name, help, labels, bounds
        self.values: dict[Labels, Series] = {}

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one observation."""
        series = self.values.get(labels)
        if series is None:
            series = self.values[labels] = Series(len(self.bounds))
        series.buckets[bisect_left(self.bounds, seconds)] += 1
        series.sum += seconds


REQUEST_TIME = Histogram(
    "bittrade_http_request_duration_seconds",
    "Requests by method, route and status, and how long their answers took. Sockets are not among them.",
    ("method", "route", "status"),
)
LOOP_LAG = Histogram(
    "bittrade_event_loop_lag_seconds", "How late the event loop wakes who sleeps.", bounds=BRIEF_SECONDS
)
QUERY_TIME = Histogram(
    "bittrade_database_query_duration_seconds",
    "Messages to the database and how long it took to answer.",
    bounds=BRIEF_SECONDS,
)
DATABASE_RETRIES = Counter(
    "bittrade_database_retries_total", "Units of work that were run again (deadlocks and their like)."
)
DATABASE_ERRORS = Counter(
    "bittrade_database_errors_total", "Errors of the database, by what they mean.", ("meaning",)
)
UNKNOWN_OUTCOMES = Counter(
    "bittrade_unknown_outcomes_total", "Commits of which nobody knows whether they were done."
)
POOL = Gauge(
    "bittrade_database_pool_connections",
    "Connections of the pools for the database: in use, idle, and how many there may be.",
    ("state",),
)
CACHE = Counter(
    "bittrade_cache_requests_total",
    "Looks into the cache, by family of keys: hit or miss.",
    ("family", "result"),
)
EVENTS = Counter("bittrade_events_total", "Events for sockets, by what became of them.", ("outcome",))
SOCKETS = Gauge("bittrade_sockets_open", "Sockets that are open.")
SOCKETS_REFUSED = Counter(
    "bittrade_sockets_refused_total", "Sockets' requests that were refused.", ("reason",)
)
SOCKETS_CUT = Counter("bittrade_sockets_cut_total", "Sockets that were closed by us.", ("reason",))
SOCKET_EVENTS_REFUSED = Counter(
    "bittrade_socket_events_refused_total", "Events of clients that were more than they may send."
)
CONNECTIONS_REFUSED = Counter(
    "bittrade_connections_refused_total", "Connections of addresses that had their share of them."
)
TRADES = Counter("bittrade_trades_total", "Market orders, by side and outcome.", ("side", "outcome"))
TRADED_RUPEES = Counter("bittrade_traded_rupees_total", "What was traded, in rupees.", ("side",))
TRADED_SATOSHIS = Counter("bittrade_traded_satoshis_total", "What was traded, in satoshis.", ("side",))

Metric = Counter | Gauge | Histogram
ALL: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED, UNREAD = "unmatched", "unread"  # routes of what has none, and of what could not be read


def observe_request(seconds: float, method: str, route: str | None, status: str) -> None:
    """Count an answer. A method of a client's own invention is `other`."""
    REQUEST_TIME.observe(seconds, method if method in _METHODS else "other", route or UNMATCHED, status)
