"""Watching: prices and the user's own events, each once and none missed, over lost connections and restarts.

What a feed says is only a hint that there is something. What happened is asked for by `seq`, which counts a user's
transactions without a gap: so nothing depends on whether a push arrived.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bittrade_client.errors import ApiError, NotAllowed, Unreachable
from bittrade_client.feeds import Feed, Hint
from bittrade_client.history import History
from bittrade_client.models import Balance, Loan, Order, Rates, Transaction

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0


@dataclass(frozen=True, slots=True)
class Connected:
    """Listening, and all that was missed has been told."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    reason: str


@dataclass(frozen=True, slots=True)
class PriceChanged:
    rates: Rates


@dataclass(frozen=True, slots=True)
class TransactionMade:
    transaction: Transaction


@dataclass(frozen=True, slots=True)
class OrderChanged:
    order: Order


@dataclass(frozen=True, slots=True)
class LoanChanged:
    loan: Loan


@dataclass(frozen=True, slots=True)
class BalanceChanged:
    balance: Balance


Event = (
    Connected | Disconnected | PriceChanged | TransactionMade | OrderChanged | LoanChanged | BalanceChanged
)


class Watch:
    """One iteration over what happens, until the token ends: then NotAllowed. `seq` is how far it has come: keep it to go on there another time."""

    def __init__(self, history: History, feed: Feed, *, has_token: bool, after: int | None = None) -> None:
        self._history = history
        self._feed = feed
        self._has_token = has_token
        self._known: dict[tuple[str, int], Any] = {}  # orders and loans, as they were told last
        self.seq = after if after is not None else self._now()

    def _now(self) -> int:
        return self._history.events(after=0).seq if self._has_token else 0

    def __iter__(self) -> Iterator[Event]:
        pause_s, was_up = FIRST_PAUSE_S, False
        try:
            while True:
                try:
                    yield from self._catch_up()  # also says whether the token is still good: a socket does not
                    self._feed.open()
                    yield from self._catch_up()
                    yield Connected()
                    pause_s, was_up = FIRST_PAUSE_S, True
                    yield from self._listen()
                    reason = "the connection ended"
                except NotAllowed:
                    raise
                except (ApiError, Unreachable) as error:
                    reason = str(error)
                if was_up:
                    was_up = False
                    yield Disconnected(reason)
                time.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        finally:
            self._feed.close()

    def _listen(self) -> Iterator[Event]:
        """Give events until the feed is down."""
        while True:
            hint = self._feed.next()
            if hint is None:
                continue
            if hint.kind == "down":
                return
            yield from self._follow(hint)

    def _follow(self, hint: Hint) -> Iterator[Event]:
        if hint.kind == "price":
            yield PriceChanged(Rates.parse(hint.payload))
        elif hint.kind == "changed" and self._is_new(hint.payload):
            yield from self._catch_up()
        elif hint.kind == "loan":
            yield from self._catch_up(always=True)

    def _is_new(self, payload: Any) -> bool:
        """Return whether a push tells of more than is known; one that does not say so might."""
        seq = payload.get("seq") if isinstance(payload, dict) else None
        return not isinstance(seq, int) or seq > self.seq

    def _catch_up(self, *, always: bool = False) -> Iterator[Event]:
        """Give what happened since `seq`, oldest first, and come to now."""
        if not self._has_token:
            return
        missed = self._history.events(after=self.seq)
        if missed.seq < self.seq:
            self.seq = missed.seq  # another database than before: there is nothing to go on from
        if missed.seq == self.seq and not always:
            return
        has_moved = missed.seq != self.seq
        for transaction in missed.transactions if missed.complete else self._walk_back(missed.seq):
            if transaction.seq > self.seq:
                self.seq = transaction.seq
                yield TransactionMade(transaction)
        self.seq = missed.seq
        for order in missed.orders:
            if self._is_changed("order", order.id, order.status):
                yield OrderChanged(order)
        for loan in missed.loans:
            state = (loan.status, loan.collateral_btc, loan.borrowed_inr, loan.raw.get("margin_called_at"))
            if self._is_changed("loan", loan.id, state):
                yield LoanChanged(loan)
        if has_moved:
            yield BalanceChanged(missed.balance)

    def _is_changed(self, kind: str, number: int, state: Any) -> bool:
        before = self._known.get((kind, number))
        self._known[kind, number] = state
        return bool(before != state)

    def _walk_back(self, until: int) -> list[Transaction]:
        """Return a long absence's transactions, oldest first, from the history: without what orders set aside."""
        found = []
        for transaction in self._history.transactions():
            if transaction.status == "PENDING" or transaction.seq > until:
                continue
            if transaction.seq <= self.seq:
                break
            found.append(transaction)
        return found[::-1]
