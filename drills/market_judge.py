"""M1's judge: who gained at the house's cost, by the true price of each trade's moment.

Its rules are its own: rupees, satoshis and the true price, none of BitTrade's code. What it judges is read by plain SQL.

A trade is worth what its bitcoin was worth when it was made, at the true price and the market's rupees for a dollar: who
trades through a spread that lies round that loses a little by each trade. What the true price did since the sources were
last asked nobody at the house can know: such trades are counted apart, and that time ends with the first answer.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

SATOSHIS = 100_000_000
# Between the moment that a trade bears and what it saw, and between a row's moment and its commit, lies this at most.
SLACK = timedelta(seconds=1)
BUYS, SELLS = ("MARKET_BUY", "LIMIT_BUY"), ("MARKET_SELL", "LIMIT_SELL")


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade that was executed."""

    id: int
    user_id: int
    is_buy: bool
    satoshis: int
    inr: int
    at: datetime

    def gain(self, inr_per_bitcoin: Decimal) -> Decimal:
        """Return what the trader gained in rupees, where a bitcoin was worth so many."""
        worth = inr_per_bitcoin * self.satoshis / SATOSHIS
        return worth - self.inr if self.is_buy else self.inr - worth


@dataclass(frozen=True, slots=True)
class Change:
    """The true price became another at some moment from `began` to `ended`."""

    usd: Decimal
    began: datetime
    ended: datetime
    is_sharp: bool = False  # so large that the first answer with it must stop trading, or move the price


@dataclass(frozen=True, slots=True)
class Doubt:
    """A price was held from one moment to another (None: it still is)."""

    at: datetime
    until: datetime | None


@dataclass
class Account:
    """What a user had at the beginning, and has now: rupees and satoshis, reserved ones included."""

    before: tuple[int, int]
    after: tuple[int, int]


@dataclass
class Case:
    """Everything that is judged."""

    inr_per_usd: Decimal
    changes: list[Change]  # the first is the price at the beginning
    asked: list[datetime] = field(default_factory=list)  # when a source was asked for the price
    prices: list[datetime] = field(default_factory=list)  # when a price was accepted
    doubts: list[Doubt] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    accounts: dict[int, Account] = field(default_factory=dict)

    def worths(self, since: datetime, until: datetime) -> list[Decimal]:
        """Return what a bitcoin was worth at any moment of a span, in rupees."""
        ends = [change.ended for change in self.changes[1:]] + [datetime.max.replace(tzinfo=UTC)]
        spans = zip(self.changes, ends, strict=True)
        return [
            change.usd * self.inr_per_usd for change, end in spans if change.began <= until and end >= since
        ]

    def known_at(self, change: Change) -> datetime:
        """Return when the house first acted on what a source said after a change."""
        asked = min((at for at in self.asked if at >= change.began), default=None)
        acts = [*self.prices, *(doubt.at for doubt in self.doubts)]
        latest = datetime.max.replace(tzinfo=UTC)
        return latest if asked is None else min((at for at in acts if at >= asked), default=latest)

    def is_unknowable(self, fill: Fill) -> bool:
        """Return whether the true price had moved and no answer with it had been acted on."""
        return any(
            change.began <= fill.at and fill.at - SLACK <= self.known_at(change)
            for change in self.changes[1:]
        )

    def least_gain(self, fill: Fill) -> Decimal:
        """Return a trade's gain at what a bitcoin was worth just then, in the trader's disfavour."""
        return min(fill.gain(worth) for worth in self.worths(fill.at, fill.at + SLACK))

    def gains(self, *, unknowable: bool) -> dict[int, Decimal]:
        """Return each user's gain, by the trades that the house could, or could not, know better about."""
        sums: dict[int, Decimal] = defaultdict(Decimal)
        for fill in self.fills:
            if self.is_unknowable(fill) == unknowable:
                sums[fill.user_id] += self.least_gain(fill)
        return dict(sums)


def nobody_gained(case: Case) -> Iterator[str]:
    for fill in case.fills:
        if not case.is_unknowable(fill) and (gain := case.least_gain(fill)) > 0:
            side = "bought" if fill.is_buy else "sold"
            yield f"user {fill.user_id} gained {gain:.0f} rupees: transaction {fill.id} {side} at {fill.at.isoformat()}"
    for user_id, gain in case.gains(unknowable=False).items():
        if gain > 0:
            yield f"user {user_id} gained {gain:.0f} rupees in all"


def nothing_in_doubt(case: Case) -> Iterator[str]:
    latest = datetime.max.replace(tzinfo=UTC)
    for fill in case.fills:
        for doubt in case.doubts:
            until = latest if doubt.until is None else doubt.until - SLACK
            if doubt.at + SLACK < fill.at < until:
                yield f"transaction {fill.id} was made while a price was held"


def acted_at_once(case: Case) -> Iterator[str]:
    for change in case.changes[1:]:
        if not change.is_sharp:
            continue
        known = case.known_at(change)
        asked = [at for at in case.asked if change.began <= at < known]
        if len(asked) != 1:
            yield f"the price of {change.usd} was asked for {len(asked)} times before anything was done about it"


def accounts_add_up(case: Case) -> Iterator[str]:
    for user_id, account in case.accounts.items():
        inr, satoshis = account.before
        for fill in case.fills:
            if fill.user_id == user_id:
                sign = 1 if fill.is_buy else -1
                inr, satoshis = inr - sign * fill.inr, satoshis + sign * fill.satoshis
        if (inr, satoshis) != account.after:
            yield f"user {user_id} should have {inr} rupees and {satoshis} satoshis, and has {account.after}"


RULES: Sequence[Callable[[Case], Iterator[str]]] = (
    nobody_gained,
    nothing_in_doubt,
    acted_at_once,
    accounts_add_up,
)


def judge(case: Case) -> list[str]:
    """Return everything that is wrong; nothing where the house lost to nobody."""
    return [fault for rule in RULES for fault in rule(case)]


# --- reading --------------------------------------------------------------------------------------------------------


def read_fills(query: Callable[[str], list[Any]]) -> list[Fill]:
    rows = query(
        "SELECT id, user_id, type, btc_amount, inr_amount, created_at FROM transactions "
        "WHERE status = 'EXECUTED' ORDER BY id"
    )
    return [
        Fill(row[0], row[1], row[2] in BUYS, row[3], row[4], _utc(row[5]))
        for row in rows
        if row[2] in (*BUYS, *SELLS)
    ]


def read_prices(query: Callable[[str], list[Any]]) -> list[datetime]:
    return [_utc(row[0]) for row in query("SELECT created_at FROM bitcoin_data ORDER BY id")]


def read_doubts(query: Callable[[str], list[Any]]) -> list[Doubt]:
    """Return what was held. What was confirmed or refuted at once was not."""
    rows = query(
        "SELECT at, resolved_at FROM bitcoin_price_events WHERE outcome IN ('held', 'confirmed', 'refuted') "
        "AND (resolved_at IS NULL OR resolved_at > at) ORDER BY id"
    )
    return [Doubt(_utc(row[0]), None if row[1] is None else _utc(row[1])) for row in rows]


def read_balances(query: Callable[[str], list[Any]]) -> dict[int, tuple[int, int]]:
    rows = query("SELECT user_id, available_inr + reserved_inr, available_btc + reserved_btc FROM balances")
    return {row[0]: (int(row[1]), int(row[2])) for row in rows}


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
