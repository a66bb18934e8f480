"""The portfolio follows from the ledger, first in, first out, however it was carried on."""

import pytest
import redis
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from bittrade import cache, unit_of_work
from bittrade.domain.portfolio import Portfolio
from bittrade.services import corrections, portfolio
from tests.fixtures import key_of, set_price
from tests.money.conftest import Trader


def test_sold_satoshis_are_the_oldest_ones(app: Flask, new_trader: object) -> None:
    trader: Trader = new_trader(inr=10_000_000)  # type: ignore[operator]
    trader.trade("buy", "1", "btc")  # at 4,095,000
    set_price(app, 60_000)
    trader.trade("buy", "0.5", "btc")  # at 5,460,000: costs 2,730,000
    trader.trade("sell", "1", "btc")  # at 5,280,000
    view = trader.get("/api/portfolio").get_json()
    assert view["method"] == "FIFO"
    assert view["realised_gain_inr"] == 5_280_000 - 4_095_000
    assert (view["holdings_btc"], view["cost_inr"], view["average_cost_inr"]) == (
        50_000_000,
        2_730_000,
        5_460_000,
    )
    assert (view["value_inr"], view["unrealised_gain_inr"]) == (2_640_000, 2_640_000 - 2_730_000)


def test_deposited_bitcoin_has_no_cost_and_its_proceeds_are_no_gain(trader: Trader) -> None:
    trader.trade("sell", "0.05", "btc")
    view = trader.get("/api/portfolio").get_json()
    assert (view["holdings_btc"], view["holdings_btc_with_cost"], view["average_cost_inr"]) == (
        5_000_000,
        0,
        None,
    )
    assert (view["realised_gain_inr"], view["proceeds_without_cost_inr"]) == (0, 198_000)


def test_a_new_user_has_an_empty_portfolio_before_any_price(app: Flask, make_user: object) -> None:
    view = Trader(make_user(), app.test_client()).get("/api/portfolio").get_json()  # type: ignore[operator]
    assert (view["holdings_btc"], view["value_inr"], view["sell_rate_inr"], view["stale"]) == (
        0,
        None,
        None,
        True,
    )


def test_what_is_carried_on_equals_what_is_folded_anew(trader: Trader, app: Flask) -> None:
    for action, amount in (("buy", "900"), ("sell", "333"), ("buy", "77")):
        trader.trade(action, amount)
        trader.get("/api/portfolio")  # keeps the fold here
    carried = trader.get("/api/portfolio").get_json()
    with app.app_context():
        cache.release(cache.user_portfolio_key(trader.person.id))
        anew = portfolio.get_portfolio(trader.person.id, 0)
    for name in ("holdings_btc", "cost_inr", "realised_gain_inr", "proceeds_without_cost_inr", "seq"):
        assert carried[name] == anew[name]


def test_a_fold_from_another_life_of_the_database_is_thrown_away(trader: Trader, app: Flask) -> None:
    with app.app_context():
        cache.put_for(
            cache.user_portfolio_key(trader.person.id), 99, Portfolio(realised_gain_inr=5).to_json(), 60
        )
    view = trader.get("/api/portfolio").get_json()
    assert (view["realised_gain_inr"], view["seq"]) == (0, 2)


def test_a_fold_is_kept_for_an_hour(trader: Trader, app: Flask, redis_url: str) -> None:
    trader.get("/api/portfolio")
    with app.app_context(), redis.Redis.from_url(redis_url) as server:
        assert 3500 < server.ttl(key_of(app, cache.user_portfolio_key(trader.person.id))) <= 3600


def test_holdings_agree_with_the_balance_after_corrections(trader: Trader, app: Flask) -> None:
    bought = trader.trade("buy", "1000").get_json()
    trader.trade("sell", "10")
    with app.app_context():
        corrections.reverse_transaction(bought["id"], why="a test")
    view = trader.get("/api/portfolio").get_json()
    assert view["holdings_btc"] == view["available_btc"] == trader.balance()["available_btc"]


movements = st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**10), st.booleans()), max_size=40)


@given(movements)
def test_no_rupee_of_cost_or_proceeds_is_lost_or_made(steps: list[tuple[int, int, bool]]) -> None:
    """Bought − sold at cost = held at cost, and gains = proceeds − cost of what was sold."""
    state, spent, earned = Portfolio(), 0, 0
    for inr, satoshis, is_buy in steps:
        if is_buy:
            state.apply(inr=-inr, satoshis=satoshis)
            spent += inr
        elif (sold := min(satoshis, state.satoshis)) > 0:
            state.apply(inr=inr, satoshis=-sold)
            earned += inr
        state = Portfolio.from_json(state.to_json())
    assert state.realised_gain_inr == earned - (spent - state.cost_inr)
    assert all(lot.satoshis > 0 and (lot.cost_inr or 0) >= 0 for lot in state.lots)


def test_the_fold_uses_no_connection_when_it_is_done(trader: Trader, app: Flask) -> None:
    trader.get("/api/portfolio")
    with app.app_context(), unit_of_work.reading() as session:
        assert session.get_bind().pool.checkedout() == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("satoshis", [1, 3, 10**16])
def test_selling_all_leaves_no_lot(satoshis: int) -> None:
    state = Portfolio()
    state.apply(inr=-10, satoshis=satoshis)
    state.apply(inr=7, satoshis=-satoshis)
    assert (list(state.lots), state.realised_gain_inr, state.average_cost_inr) == ([], -3, None)
