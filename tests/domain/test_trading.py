"""Deciding a market order."""

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bittrade.domain.money import SATOSHIS_PER_BTC, Asset
from bittrade.domain.pricing import Rates
from bittrade.domain.trading import Action, Fill, Limits, Order, decide, fill
from bittrade.errors import (
    InsufficientFunds,
    InvalidAction,
    InvalidAmount,
    InvalidCurrency,
    InvalidOrderType,
)

RATES = Rates(buy_inr=4_095_000, sell_inr=3_960_000)
ANY = Limits(1, 10**30)
PLENTY = {"available_inr": 10**30, "available_btc": 10**30}

# From a satoshi's worth of a rupee to far above any price yet; the buy rate is never below the sell rate.
rates = st.tuples(st.integers(1, 10**12), st.integers(0, 10**11)).map(lambda t: Rates(t[0] + t[1], t[0]))
orders = st.builds(Order, st.sampled_from(Action), st.sampled_from(Asset), st.integers(1, 10**16))


def decided(order: Order, at: Rates) -> Fill:
    try:
        return decide(order, at, ANY, **PLENTY)
    except InvalidAmount:
        assume(False)
        raise


def test_the_document_s_thousand_rupees_buy_24_420_satoshis() -> None:
    result = decide(Order(Action.BUY, Asset.INR, 1000), RATES, ANY, available_inr=1000, available_btc=0)
    assert (result.satoshis, result.inr, result.price_inr) == (24_420, 1000, 4_095_000)


@pytest.mark.parametrize(
    ("action", "asset", "amount", "inr", "satoshis"),
    [
        # 1000 / 4,095,000 BTC is 24,420.02… satoshis: the buyer gets the whole ones
        (Action.BUY, Asset.INR, 1000, 1000, 24_420),
        # 1000 / 3,960,000 BTC is 25,252.52… satoshis: the seller gives one more
        (Action.SELL, Asset.INR, 1000, 1000, 25_253),
        # a satoshi costs 0.04095 rupees: the buyer pays one
        (Action.BUY, Asset.BTC, 1, 1, 1),
        # 100 satoshis sell for 3.96 rupees: the seller gets three
        (Action.SELL, Asset.BTC, 100, 3, 100),
        (Action.BUY, Asset.BTC, SATOSHIS_PER_BTC, 4_095_000, SATOSHIS_PER_BTC),
        (Action.SELL, Asset.BTC, SATOSHIS_PER_BTC, 3_960_000, SATOSHIS_PER_BTC),
    ],
)
def test_every_division_rounds_in_the_house_s_favour(
    action: Action, asset: Asset, amount: int, inr: int, satoshis: int
) -> None:
    result = decide(Order(action, asset, amount), RATES, ANY, **PLENTY)
    assert (result.inr, result.satoshis) == (inr, satoshis)


@pytest.mark.parametrize(
    ("order", "at"),
    [
        (Order(Action.SELL, Asset.BTC, 1), RATES),  # a satoshi is worth less than a rupee
        (Order(Action.SELL, Asset.BTC, 25), RATES),
        (Order(Action.BUY, Asset.INR, 1), Rates(10**9, 10**9)),  # a rupee is worth less than a satoshi
    ],
)
def test_a_trade_with_nothing_on_one_side_is_refused(order: Order, at: Rates) -> None:
    with pytest.raises(InvalidAmount, match="Too small"):
        decide(order, at, ANY, **PLENTY)


def test_the_last_rupee_can_be_spent_and_one_more_cannot() -> None:
    held = {"available_inr": 1000, "available_btc": 0}
    assert decide(Order(Action.BUY, Asset.INR, 1000), RATES, ANY, **held).inr == 1000
    with pytest.raises(InsufficientFunds) as refused:
        decide(Order(Action.BUY, Asset.INR, 1001), RATES, ANY, **held)
    assert refused.value.message == "Insufficient INR balance"
    assert refused.value.facts["required"] == 1001
    assert refused.value.facts["available"] == 1000


def test_the_last_satoshi_can_be_sold_and_one_more_cannot() -> None:
    held = {"available_inr": 0, "available_btc": 500}
    assert decide(Order(Action.SELL, Asset.BTC, 500), RATES, ANY, **held).satoshis == 500
    with pytest.raises(InsufficientFunds) as refused:
        decide(Order(Action.SELL, Asset.BTC, 501), RATES, ANY, **held)
    assert refused.value.message == "Insufficient BTC balance"
    assert (refused.value.facts["required"], refused.value.facts["available"]) == (501, 500)


def test_what_a_purchase_in_bitcoin_costs_is_checked_as_rounded_up() -> None:
    # 100 satoshis cost 4.095 rupees, so five.
    order = Order(Action.BUY, Asset.BTC, 100)
    assert decide(order, RATES, ANY, available_inr=5, available_btc=0).inr == 5
    with pytest.raises(InsufficientFunds):
        decide(order, RATES, ANY, available_inr=4, available_btc=0)


# --- Laws ---------------------------------------------------------------------------------------------------------


@given(orders, rates)
def test_law_a_fill_has_something_on_both_sides(order: Order, at: Rates) -> None:
    result = decided(order, at)
    assert type(result.inr) is int
    assert type(result.satoshis) is int
    assert result.inr >= 1
    assert result.satoshis >= 1


@given(orders, rates)
def test_law_the_side_that_was_named_is_met_exactly(order: Order, at: Rates) -> None:
    result = decided(order, at)
    assert (result.inr if order.asset is Asset.INR else result.satoshis) == order.amount


@given(orders, rates)
def test_law_the_house_never_loses_against_the_exact_price(order: Order, at: Rates) -> None:
    result = decided(order, at)
    paid, worth = result.inr * SATOSHIS_PER_BTC, result.satoshis * result.price_inr
    assert paid >= worth if result.action is Action.BUY else paid <= worth


@given(orders, rates, st.integers(1, 2**62))
def test_law_the_entry_of_a_fill_balances_for_each_asset(order: Order, at: Rates, user_id: int) -> None:
    entry = decided(order, at).entry(user_id)
    sums: Counter[Asset] = Counter()
    for leg in entry.legs:
        sums[leg.asset] += leg.amount
    assert not any(sums.values())
    assert {leg.user_id for leg in entry.legs} == {user_id, None}


@given(orders, rates, st.integers(0, 10**16), st.integers(0, 10**16))
def test_law_what_is_decided_never_takes_a_balance_below_zero(
    order: Order, at: Rates, inr: int, btc: int
) -> None:
    try:
        result = decide(order, at, ANY, available_inr=inr, available_btc=btc)
    except (InvalidAmount, InsufficientFunds):
        return
    sign = 1 if result.action is Action.BUY else -1
    assert inr - sign * result.inr >= 0
    assert btc + sign * result.satoshis >= 0


class Wallet:
    """Rupees and satoshis that trade at rates that do not move; refused orders leave them as they are."""

    def __init__(self, inr: int, btc: int, at: Rates) -> None:
        self.inr, self.btc, self.rates = inr, btc, at

    def place(self, order: Order) -> None:
        try:
            result = decide(order, self.rates, ANY, available_inr=self.inr, available_btc=self.btc)
        except (InvalidAmount, InsufficientFunds):
            return
        sign = 1 if result.action is Action.BUY else -1
        self.inr -= sign * result.inr
        self.btc += sign * result.satoshis

    def sell_all(self, parts: list[int] | None = None) -> None:
        """In BTC-denominated orders: the given parts first, then what is left."""
        for part in parts or []:
            if 0 < part <= self.btc:
                self.place(Order(Action.SELL, Asset.BTC, part))
        if self.btc:
            self.place(Order(Action.SELL, Asset.BTC, self.btc))

    def value(self) -> int:
        """What it is worth at the sell rate, in units of 10⁻⁸ rupees, so that nothing rounds."""
        return self.inr * SATOSHIS_PER_BTC + self.btc * self.rates.sell_inr


@given(rates, st.integers(1, 10**12), st.lists(st.integers(1, 10**12), max_size=5), st.sampled_from(Asset))
def test_law_no_round_trip_gains_whether_merged_or_split(
    at: Rates, first: int, parts: list[int], asset: Asset
) -> None:
    wallet = Wallet(10**24, 0, at)
    wallet.place(Order(Action.BUY, asset, first))
    for part in parts:
        wallet.place(Order(Action.BUY, asset, part))
    wallet.sell_all(parts)
    assert wallet.inr <= 10**24


@given(rates, st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_law_selling_rupees_worth_gains_nothing_either(at: Rates, parts: list[int]) -> None:
    wallet = Wallet(10**9, 0, at)
    for part in parts:
        wallet.place(Order(Action.BUY, Asset.INR, part))
    for part in parts:
        wallet.place(Order(Action.SELL, Asset.INR, part))
    wallet.sell_all()
    assert wallet.inr <= 10**9


@given(rates, st.integers(0, 10**9), st.integers(0, 10**9), st.lists(orders, max_size=12))
def test_law_no_order_of_any_trades_gains_against_the_sell_rate(
    at: Rates, inr: int, btc: int, sequence: list[Order]
) -> None:
    wallet = Wallet(inr, btc, at)
    before = wallet.value()
    for order in sequence:
        small = Order(order.action, order.asset, 1 + order.amount % 10**9)
        wallet.place(small)
    assert wallet.value() <= before


@given(rates, st.integers(1, 10**14), st.integers(1, 10**14))
def test_law_splitting_an_order_is_never_cheaper(at: Rates, one: int, other: int) -> None:
    try:
        parts = [fill(Order(Action.BUY, Asset.BTC, amount), at) for amount in (one, other)]
        whole = fill(Order(Action.BUY, Asset.BTC, one + other), at)
    except InvalidAmount:
        return
    assert sum(part.inr for part in parts) >= whole.inr


# --- Reading an order ---------------------------------------------------------------------------------------------

GOOD = {"action": "buy", "order_type": "market", "amount": "1000", "currency": "inr"}


def test_an_order_is_read_from_a_client_s_four_fields() -> None:
    assert Order.parse(**GOOD) == Order(Action.BUY, Asset.INR, 1000)
    assert Order.parse(**{**GOOD, "action": "sell", "currency": "btc", "amount": 0.5}) == Order(
        Action.SELL, Asset.BTC, 50_000_000
    )


@pytest.mark.parametrize("value", ["BUY", "Buy", "hold", "", None, 1, True, [], {}, "buy ", "ｂｕｙ"])
@pytest.mark.parametrize(
    ("field", "error"),
    [("action", InvalidAction), ("order_type", InvalidOrderType), ("currency", InvalidCurrency)],
)
def test_a_word_that_is_not_the_contract_s_is_refused(
    field: str, error: type[Exception], value: object
) -> None:
    with pytest.raises(error):
        Order.parse(**{**GOOD, field: value})
