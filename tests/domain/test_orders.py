"""Limit orders: what they reserve, when they fill, what moves."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bittrade.domain.ledger import Entry
from bittrade.domain.money import Asset
from bittrade.domain.orders import LimitOrder
from bittrade.domain.pricing import Rates
from bittrade.domain.trading import Action, Limits, Order, fill
from bittrade.errors import InvalidAmount, InvalidLimitPrice, OrderOutOfRange

RATES = Rates(buy_inr=4_095_000, sell_inr=3_960_000)
ANY = Limits(1, 10**30)
limit_orders = st.builds(
    LimitOrder,
    st.builds(Order, st.sampled_from(Action), st.sampled_from(Asset), st.integers(1, 10**16)),
    st.integers(1, 10**12),
)


def after(*entries: Entry) -> Counter[tuple[int | None, str]]:
    """What each account holds after these movements."""
    balances: Counter[tuple[int | None, str]] = Counter()
    for entry in entries:
        for leg in entry.legs:
            balances[leg.user_id, leg.account] += leg.amount
    return balances


@pytest.mark.parametrize(
    ("action", "asset", "amount", "reserve"),
    [
        (Action.BUY, Asset.INR, 1000, 1000),
        (Action.BUY, Asset.BTC, 1, 1),  # a satoshi at 4,000,000 is 0.04 rupees: rounded up
        (Action.BUY, Asset.BTC, 100_000_000, 4_000_000),
        (Action.SELL, Asset.BTC, 12_345, 12_345),
        (Action.SELL, Asset.INR, 1000, 25_000),
        (Action.SELL, Asset.INR, 3, 75),
    ],
)
def test_an_order_reserves_the_most_that_it_can_cost(
    action: Action, asset: Asset, amount: int, reserve: int
) -> None:
    assert LimitOrder(Order(action, asset, amount), 4_000_000).reserve == reserve


@given(limit_orders, st.integers(0, 10**12), st.integers(0, 10**11))
def test_at_every_rate_that_the_limit_allows_a_fill_costs_at_most_what_is_reserved(
    placed: LimitOrder, better: int, spread: int
) -> None:
    try:
        placed.at_limit()
    except InvalidAmount:
        assume(False)
    buy = max(1, placed.limit_price - better)
    sell = placed.limit_price + better
    rates = (
        Rates(buy, max(1, buy - spread)) if placed.order.action is Action.BUY else Rates(sell + spread, sell)
    )
    assert placed.is_reached(rates)
    filled = fill(placed.order, rates)  # never zero on a side
    spent = filled.inr if placed.order.action is Action.BUY else filled.satoshis
    assert 0 < spent <= placed.reserve
    balances = after(placed.reserve_entry(7), placed.fill_entry(7, filled))
    assert balances[7, "reserved_inr"] == balances[7, "reserved_btc"] == 0
    sign = 1 if placed.order.action is Action.BUY else -1
    assert balances[7, "available_inr"] == -sign * filled.inr
    assert balances[7, "available_btc"] == sign * filled.satoshis


@given(limit_orders)
def test_a_cancelled_order_leaves_everything_as_it_was(placed: LimitOrder) -> None:
    assert not any(after(placed.reserve_entry(7), placed.release_entry(7)).values())


@pytest.mark.parametrize(
    ("action", "limit_price", "is_reached"),
    [
        (Action.BUY, 4_095_000, True),
        (Action.BUY, 4_094_999, False),
        (Action.SELL, 3_960_000, True),
        (Action.SELL, 3_960_001, False),
    ],
)
def test_a_buy_fills_at_its_limit_or_below_and_a_sell_at_its_limit_or_above(
    action: Action, limit_price: int, is_reached: bool
) -> None:
    assert LimitOrder(Order(action, Asset.INR, 1000), limit_price).is_reached(RATES) is is_reached


@pytest.mark.parametrize("limit_price", [4_095_000 * 19 // 10 + 1, 409_499])
def test_a_limit_far_from_the_rate_is_refused(limit_price: int) -> None:
    with pytest.raises(InvalidLimitPrice):
        LimitOrder(Order(Action.BUY, Asset.INR, 1000), limit_price).check(RATES, ANY)


@pytest.mark.parametrize("limit_price", [4_095_000 * 19 // 10, 409_500])
def test_a_limit_at_the_edge_of_what_is_allowed_is_taken(limit_price: int) -> None:
    LimitOrder(Order(Action.BUY, Asset.INR, 1000), limit_price).check(RATES, ANY)


def test_an_order_out_of_the_trading_rules_is_refused() -> None:
    with pytest.raises(OrderOutOfRange):
        LimitOrder(Order(Action.BUY, Asset.INR, 99), 4_000_000).check(RATES, Limits(100, 1000))


def test_an_order_expires_at_its_moment() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    placed = LimitOrder(Order(Action.BUY, Asset.INR, 99), 4_000_000, now)
    assert placed.is_expired(now)
    assert not placed.is_expired(now - timedelta(seconds=1))
