"""Open-loop load: requests go out when the schedule says, whether or not earlier ones were answered.

A dispatcher hands what is due to a bounded pool of threads. An order whose answer is not definite (no answer, 503, 429)
goes back into the schedule with the same key and a growing, bounded pause, until it is definite or given up.
"""

import heapq
import itertools
import queue
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from drills.client import Client, Outcome
from drills.history import TRADE, History, Line
from drills.plan import Order
from drills.surroundings import Person

MAX_THREADS = 96
GIVE_UP_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
END_TIMEOUT_S = GIVE_UP_S + 30


@dataclass(frozen=True, slots=True)
class _Due:
    order: Order
    attempt: int = 1


class Load:
    """The orders of one plan on their way, each try to any of the ports; `finish()` waits until each has a definite answer or was given up."""

    def __init__(
        self,
        plan: Sequence[Order],
        *,
        drill: str,
        ports: Sequence[int],
        people: Sequence[Person],
        history: History,
        rng: random.Random,
    ) -> None:
        self._drill, self._ports, self._people, self._history, self._rng = drill, ports, people, history, rng
        self._began_s = history.now()
        self._numbers = itertools.count()
        self._schedule = [(order.at_s, next(self._numbers), _Due(order)) for order in plan]
        heapq.heapify(self._schedule)
        self._changed = threading.Condition()
        self._open = len(plan)  # orders without a final outcome
        self._failure: Exception | None = None  # of the drill itself, not of the server
        self._due: queue.SimpleQueue[_Due | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._dispatch, daemon=True)]
        size = min(MAX_THREADS, max(1, len(plan)))
        self._threads += [threading.Thread(target=self._work, daemon=True) for _ in range(size)]

    def start(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def finish(self) -> None:
        """Wait until nothing is open. Raises TimeoutError when that takes absurdly long, or what broke the drill."""
        with self._changed:
            is_over = self._changed.wait_for(lambda: self._open <= 0, timeout=self._longest_s())
        if self._failure is not None:
            raise self._failure
        if not is_over:
            raise TimeoutError(f"{self._drill}: {self._open} orders are still open")
        for thread in self._threads:
            thread.join(END_TIMEOUT_S)

    def _longest_s(self) -> float:
        last = max((at_s for at_s, _, _ in self._schedule), default=0.0)
        return last + END_TIMEOUT_S

    def _now(self) -> float:
        return self._history.now() - self._began_s

    def _dispatch(self) -> None:
        with self._changed:
            while self._open > 0:
                if not self._schedule:
                    self._changed.wait()
                elif (wait_s := self._schedule[0][0] - self._now()) > 0:
                    self._changed.wait(wait_s)
                else:
                    self._due.put(heapq.heappop(self._schedule)[2])
        for _ in self._threads:
            self._due.put(None)

    def _work(self) -> None:
        try:
            self._send_what_is_due()
        except Exception as failure:
            with self._changed:
                self._failure, self._open = failure, 0
                self._changed.notify_all()

    def _send_what_is_due(self) -> None:
        clients = [Client(port) for port in self._ports]
        while (due := self._due.get()) is not None:
            line = self._send(self._rng.choice(clients), due)
            is_over = line.is_definite or line.is_bug or self._now() > due.order.at_s + GIVE_UP_S
            with self._changed:
                if is_over:
                    self._open -= 1
                else:
                    at_s = self._now() + self._pause_s(due.attempt)
                    again = _Due(due.order, due.attempt + 1)
                    heapq.heappush(self._schedule, (at_s, next(self._numbers), again))
                self._changed.notify_all()
        for client in clients:
            client.close()

    def _send(self, client: Client, due: _Due) -> Line:
        order, person = due.order, self._people[due.order.user]
        started_s = self._history.now()
        outcome = client.trade(person, order.body, order.key)
        line = trade_line(
            self._drill,
            person,
            order,
            outcome,
            started_s,
            self._history.now(),
            due.attempt,
            self._began_s + order.at_s,
        )
        self._history.add(line)
        return line

    def _pause_s(self, attempt: int) -> float:
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 10))
        return longest * self._rng.uniform(0.5, 1.0)


def trade_line(
    drill: str,
    person: Person,
    order: Order,
    outcome: Outcome,
    started_s: float,
    ended_s: float,
    attempt: int = 1,
    intended_s: float | None = None,
) -> Line:
    return Line(
        drill=drill,
        kind=TRADE,
        user_id=person.id,
        started_s=started_s,
        ended_s=ended_s,
        status=outcome.status,
        body=outcome.body,
        error=outcome.error,
        retry_after=outcome.retry_after,
        is_replay=outcome.is_replay,
        key=order.key,
        order=order.body,
        expects=order.expects,
        attempt=attempt,
        intended_s=started_s if intended_s is None else intended_s,
    )


@contextmanager
def beside(work: Sequence[Callable[[threading.Event], None]]) -> Iterator[None]:
    """Run each of `work` in a thread while in here; it gets the event that asks it to end."""
    is_over = threading.Event()
    threads = [threading.Thread(target=task, args=(is_over,), daemon=True) for task in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(END_TIMEOUT_S)
