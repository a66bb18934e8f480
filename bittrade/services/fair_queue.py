"""A queue for slow work in which everybody gets a turn: of each network one after the other, however many one sends.

Knows nothing of passwords, which are what it is for: a hash takes a good part of a second, and a machine has few cores.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from bittrade.errors import TooBusy


class _Place:
    """Somebody's place in the queue."""

    def __init__(self) -> None:
        self.decided = threading.Event()
        self.is_refused = False


class FairQueue:
    """At most `at_once` work, at most `waiting` wait, at most `waiting_each` of one network."""

    def __init__(self, *, at_once: int, waiting: int, waiting_each: int) -> None:
        self._free = at_once
        self._waiting, self._waiting_each = waiting, waiting_each
        self._lines: OrderedDict[str, deque[_Place]] = OrderedDict()  # the first one's turn is next
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, network: str) -> Iterator[None]:
        """Wait for a turn. Raises TooBusy where too many wait, or where this network's share of the queue is full."""
        place = self._join(network)
        if place is not None:
            self._wait(network, place)
        try:
            yield
        finally:
            self._next()

    def _join(self, network: str) -> _Place | None:
        """A place to wait at; None where it is one's turn at once."""
        with self._lock:
            if self._free:
                self._free -= 1
                return None
            mine = len(self._lines.get(network, ()))
            if mine >= self._waiting_each:
                raise TooBusy(retry_after_s=2)
            if sum(map(len, self._lines.values())) >= self._waiting:
                self._make_room(than=mine)
            place = _Place()
            self._lines.setdefault(network, deque()).append(place)
            return place

    def _wait(self, network: str, place: _Place) -> None:
        try:
            place.decided.wait()
        except BaseException:
            self._leave(network, place)
            raise
        if place.is_refused:
            raise TooBusy(retry_after_s=2)

    def _leave(self, network: str, place: _Place) -> None:
        """Who waits may be stopped: neither the place nor the turn that came meanwhile may be lost for the others."""
        with self._lock:
            line = self._lines.get(network, deque())
            if place in line:
                line.remove(place)
                if not line:
                    del self._lines[network]
                return
        if not place.is_refused:
            self._next()

    def _make_room(self, *, than: int) -> None:
        """Refuse the last of the longest line for who has a shorter one. Raises TooBusy where there is none."""
        longest = max(self._lines, key=lambda network: len(self._lines[network]))
        if len(self._lines[longest]) <= than + 1:
            raise TooBusy(retry_after_s=2)
        last = self._lines[longest].pop()
        last.is_refused = True
        last.decided.set()

    def _next(self) -> None:
        with self._lock:
            if not self._lines:
                self._free += 1
                return
            network, line = self._lines.popitem(last=False)
            line.popleft().decided.set()
            if line:
                self._lines[network] = line  # at the end: first all others
