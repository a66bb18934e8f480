"""The sums of several processes as prometheus_client's files: each process writes its own, the exporter reads them all.

What processes that ended have counted goes on counting: their files are added up in one, or the folder would grow with
every restart. Only the exporter does that, and never while it reads: a sum that falls for a moment looks like a restart.
"""

import os
import re
import struct
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bittrade import metrics
from bittrade.metrics import Counter, Gauge, Histogram, Labels, Metric

_OF_PROCESS = re.compile(r"(?P<kind>counter|histogram|gauge_[a-z]+)_(?P<pid>[0-9]+)\.db")
ENDED = "ended"  # in place of a process' id
READ_TRIES = 3


class Writer:
    """Writes what this process has counted since the last time. prometheus_client must see the folder when it is imported."""

    def __init__(self, all_metrics: Iterable[Metric] = metrics.ALL) -> None:
        import prometheus_client

        self._ours = tuple(all_metrics)
        self._theirs: dict[str, Any] = {each.name: _declare(prometheus_client, each) for each in self._ours}
        self._written: dict[tuple[str, Labels], Any] = {}

    def write(self) -> None:
        """Bring the files up to what is counted now."""
        for metric in self._ours:
            for labels in list(metric.values):
                child = self._theirs[metric.name]
                self._write(metric, labels, child.labels(*labels) if labels else child)

    def _write(self, metric: Metric, labels: Labels, child: Any) -> None:
        place = (metric.name, labels)
        if isinstance(metric, Gauge):
            child.set(metric.values[labels])
        elif isinstance(metric, Counter):
            total = metric.values[labels]
            child.inc(total - self._written.get(place, 0))
            self._written[place] = total
        else:
            series = metric.values[labels]
            now = [*series.buckets, series.sum]
            before = self._written.get(place, [0] * len(now))
            # It has no way to take many at once but through these.
            for theirs, new, old in zip([*child._buckets, child._sum], now, before, strict=True):
                if new != old:
                    theirs.inc(new - old)
            self._written[place] = now


def _declare(client: Any, metric: Metric) -> Any:
    if isinstance(metric, Histogram):
        return client.Histogram(metric.name, metric.help, metric.labels, buckets=metric.bounds, registry=None)
    if isinstance(metric, Gauge):
        return client.Gauge(
            metric.name, metric.help, metric.labels, registry=None, multiprocess_mode="livesum"
        )
    return client.Counter(metric.name, metric.help, metric.labels, registry=None)


class Reader:
    """A collector of what all processes of one folder have written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # scrapes may overlap

    def collect(self) -> Iterable[Any]:
        """Return the metrics, summed over the processes."""
        from prometheus_client.multiprocess import MultiProcessCollector

        with self._lock:
            self._add_up_ended()
            for attempt in range(1, READ_TRIES + 1):
                try:
                    return list(MultiProcessCollector(None, str(self._folder)).collect())
                except (struct.error, RuntimeError):  # a process is about to make its file
                    if attempt == READ_TRIES:
                        raise
        raise AssertionError("unreachable: the last try returns or raises")

    def describe(self) -> Iterable[Any]:
        """Nothing is read at registration."""
        return []

    def _add_up_ended(self) -> None:
        for path in self._folder.iterdir():
            found = _OF_PROCESS.fullmatch(path.name)
            if found is None or _is_alive(int(found["pid"])):
                continue
            if not found["kind"].startswith("gauge"):
                _add(path, to=self._folder / f"{found['kind']}_{ENDED}.db")
            path.unlink()


def _add(path: Path, *, to: Path) -> None:
    from prometheus_client.mmap_dict import MmapedDict

    sums = MmapedDict(str(to))
    try:
        for key, value, _at, _position in MmapedDict.read_all_values_from_file(str(path)):
            sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
    finally:
        sums.close()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's now
    return True
