"""Work that arrives while other work is being done waits, and is then done together.

Who comes while nothing is under way leads at once, alone: nobody waits for company. When a leader is through, the first
that waits leads, with all who wait by then. Knows nothing of what is done: `execute` takes the work and returns an
outcome for each.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from bittrade.errors import OutcomeUnknown, TooBusy

W = TypeVar("W")
R = TypeVar("R")
WAIT_S = 3.0  # for a place in a batch


class _Ticket(Generic[W, R]):
    """A piece of work and, later, what came of it."""

    def __init__(self, work: W) -> None:
        self.work = work
        self.woken = threading.Event()
        self.leads = False
        self.outcomes: list[R] = []  # one, when it is done


class GroupCommit(Generic[W, R]):
    """One batch at a time, of at most `at_most`."""

    def __init__(self, execute: Callable[[list[W]], Sequence[R]], *, at_most: int) -> None:
        self._execute, self._at_most = execute, at_most
        self._waiting: deque[_Ticket[W, R]] = deque()
        self._is_led = False
        self._lock = threading.Lock()

    def run(self, work: W) -> R:
        """Return the outcome of this work. Raises TooBusy where its turn does not come, and OutcomeUnknown where who
        led its batch was stopped."""
        ticket = _Ticket[W, R](work)
        with self._lock:
            ticket.leads = not self._is_led
            self._is_led = True
            if not ticket.leads:
                self._waiting.append(ticket)
        if not ticket.leads:
            self._wait(ticket)
        if ticket.leads:
            self._lead(ticket)
        if not ticket.outcomes:
            raise OutcomeUnknown(retry_after_s=1)
        return ticket.outcomes[0]

    def _wait(self, ticket: _Ticket[W, R]) -> None:
        try:
            if not ticket.woken.wait(WAIT_S):
                if self._leave(ticket):
                    raise TooBusy(retry_after_s=1)
                ticket.woken.wait()  # it is being done: its batch has limits of its own
        except BaseException:
            if not self._leave(ticket) and ticket.leads:
                self._pass_on()
            raise

    def _leave(self, ticket: _Ticket[W, R]) -> bool:
        """Take a ticket out of the queue; False where it is there no more."""
        with self._lock:
            if ticket not in self._waiting:
                return False
            self._waiting.remove(ticket)
            return True

    def _lead(self, mine: _Ticket[W, R]) -> None:
        batch = [mine]
        with self._lock:
            while self._waiting and len(batch) < self._at_most:
                batch.append(self._waiting.popleft())
        try:
            outcomes = self._execute([ticket.work for ticket in batch])
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.outcomes.append(outcome)
        finally:
            self._pass_on()
            for ticket in batch:
                ticket.woken.set()

    def _pass_on(self) -> None:
        """Let the first that waits lead."""
        with self._lock:
            self._is_led = bool(self._waiting)
            if self._waiting:
                ticket = self._waiting.popleft()
                ticket.leads = True
                ticket.woken.set()
