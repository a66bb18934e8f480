"""Any sequence of orders, cancels, fills, expiries, price moves and trades: no unit is created or lost."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from bittrade.domain.ledger import Entry
from bittrade.domain.money import Asset
from bittrade.domain.orders import LimitOrder
from bittrade.domain.pricing import Rates
from bittrade.domain.trading import Action, Limits, Order, decide, fill
from bittrade.errors import BitTradeError

PEOPLE = (1, 2)
START = {"available_inr": 1_000_000, "available_btc": 50_000_000}
OPENED = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(1, 10**12)
orders = st.builds(Order, st.sampled_from(Action), st.sampled_from(Asset), st.integers(1, 2_000_000))
limits = st.integers(3_000_000, 5_000_000)


class Waiting(RuleBasedStateMachine):
    """Two people at a house, by the pure rules alone: a book of open orders, a price, a clock."""

    placed = Bundle("placed")

    def __init__(self) -> None:
        super().__init__()
        self.accounts: Counter[tuple[int | None, str, Asset]] = Counter()
        for person in PEOPLE:
            for asset in Asset:
                amount = START[f"available_{asset.lower()}"]
                self.accounts[person, f"available_{asset.lower()}", asset] += amount
                self.accounts[None, "house_custody", asset] -= amount
        self.open: dict[int, tuple[int, LimitOrder]] = {}
        self.count = 0
        self.rates = Rates(4_095_000, 3_960_000)
        self.now = OPENED

    def post(self, entry: Entry) -> bool:
        """Move it, unless somebody would be below zero: what the balance's row refuses."""
        after = self.accounts.copy()
        for leg in entry.legs:
            after[leg.user_id, leg.account, leg.asset] += leg.amount
        if any(amount < 0 for (owner, _, _), amount in after.items() if owner is not None):
            return False
        self.accounts = after
        return True

    def held(self, person: int, account: str, asset: Asset) -> int:
        return self.accounts[person, f"{account}_{asset.lower()}", asset]

    @rule(
        target=placed,
        person=st.sampled_from(PEOPLE),
        order=orders,
        limit_price=limits,
        seconds=st.none() | st.integers(1, 1000),
    )
    def place(self, person: int, order: Order, limit_price: int, seconds: int | None) -> int:
        expires_at = None if seconds is None else self.now + timedelta(seconds=seconds)
        wanted = LimitOrder(order, limit_price, expires_at)
        self.count += 1
        try:
            wanted.check(self.rates, LIMITS)
        except BitTradeError:
            return self.count
        before = self.held(person, "available", wanted.reserved_asset)
        if self.post(wanted.reserve_entry(person)):
            self.open[self.count] = (person, wanted)
        else:
            assert before < wanted.reserve
        return self.count

    @rule(number=placed)
    def cancel(self, number: int) -> None:
        if number in self.open:
            person, order = self.open.pop(number)
            assert self.post(order.release_entry(person))

    @rule()
    def match(self) -> None:
        for number, (person, order) in list(self.open.items()):
            if order.is_reached(self.rates) and not order.is_expired(self.now):
                filled = fill(order.order, self.rates)
                del self.open[number]
                assert self.post(order.fill_entry(person, filled))  # a fill never lacks the money

    @rule(seconds=st.integers(1, 1000))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        for number, (person, order) in list(self.open.items()):
            if order.is_expired(self.now):
                del self.open[number]
                assert self.post(order.release_entry(person))

    @rule(sell=limits, spread=st.integers(0, 300_000))
    def move_price(self, sell: int, spread: int) -> None:
        self.rates = Rates(sell + spread, sell)

    @rule(person=st.sampled_from(PEOPLE), order=orders)
    def trade(self, person: int, order: Order) -> None:
        available = {f"available_{asset.lower()}": self.held(person, "available", asset) for asset in Asset}
        try:
            filled = decide(order, self.rates, LIMITS, **available)
        except BitTradeError:
            return
        assert self.post(filled.entry(person))

    @invariant()
    def nothing_is_created_or_lost(self) -> None:
        sums: Counter[Asset] = Counter()
        for (_, _, asset), amount in self.accounts.items():
            sums[asset] += amount
        assert not any(sums.values())

    @invariant()
    def what_is_reserved_is_what_open_orders_hold(self) -> None:
        wanted: Counter[tuple[int, Asset]] = Counter()
        for person, order in self.open.values():
            wanted[person, order.reserved_asset] += order.reserve
        for person in PEOPLE:
            for asset in Asset:
                assert self.held(person, "reserved", asset) == wanted[person, asset] >= 0

    def teardown(self) -> None:
        for number in list(self.open):
            self.cancel(number)
        for person in PEOPLE:
            for asset in Asset:
                assert self.held(person, "reserved", asset) == 0
        self.nothing_is_created_or_lost()


TestAnySequence = Waiting.TestCase
TestAnySequence.settings = settings(stateful_step_count=40)
