"""A quote holds a rate for one user, for a while, for one trade."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import unit_of_work, wire
from bittrade.models import Quote
from bittrade.services import ledger
from tests.fixtures import set_price, together
from tests.money.conftest import Trader


def quote(trader: Trader) -> str:
    answer = trader.post("/api/quote")
    assert answer.status_code == 201, answer.get_json()
    held: str = answer.get_json()["quote_id"]
    return held


def expire(app: Flask, quote_id: str) -> None:
    with app.app_context():
        late = sa.update(Quote).where(Quote.id == quote_id).values(expires_at=wire.now())
        unit_of_work.commit(lambda session: session.execute(late))


def test_a_quote_holds_its_rate_while_the_market_moves(trader: Trader, app: Flask) -> None:
    held = trader.post("/api/quote").get_json()
    assert (held["buy_rate_inr"], held["sell_rate_inr"]) == (4_095_000, 3_960_000)
    assert held["expires_in_ms"] == 15_000
    set_price(app, 45_450)  # 1 %, which is less than half of the spread
    assert trader.trade("buy", "100", quote_id=held["quote_id"]).get_json()["execution_price"] == 4_095_000
    assert trader.trade("buy", "100").get_json()["execution_price"] == 45_450 * 91


@pytest.mark.parametrize("usd", [45_451, 44_549])
def test_a_quote_is_no_free_option_on_a_market_that_moves_far(trader: Trader, app: Flask, usd: int) -> None:
    held = quote(trader)
    set_price(app, usd)
    for side in ("buy", "sell"):
        answer = trader.trade(side, "100", quote_id=held)
        assert (answer.status_code, answer.get_json()["code"]) == (409, "quote_expired")


def test_a_quote_is_used_once(trader: Trader) -> None:
    held = quote(trader)
    assert trader.trade("buy", "100", quote_id=held).status_code == 201
    again = trader.trade("buy", "100", quote_id=held)
    assert (again.status_code, again.get_json()["code"]) == (409, "quote_used")


def test_of_20_trades_at_once_on_one_quote_one_is_executed(trader: Trader, app: Flask) -> None:
    held = quote(trader)

    def trade(_number: int) -> int:
        return Trader(trader.person, app.test_client()).trade("buy", "100", quote_id=held).status_code

    assert sorted(together(20, trade)) == [201] + [409] * 19
    with app.app_context():
        assert not ledger.verify().faults


def test_an_expired_quote_is_refused(trader: Trader, app: Flask) -> None:
    held = quote(trader)
    expire(app, held)
    answer = trader.trade("buy", "100", quote_id=held)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "quote_expired")


def test_anothers_quote_is_not_found_and_stays_unused(new_trader: Callable[..., Trader]) -> None:
    owner, other = new_trader(inr=1000), new_trader(inr=1000)
    held = quote(owner)
    answer = other.trade("buy", "100", quote_id=held)
    assert (answer.status_code, answer.get_json()["code"]) == (404, "quote_not_found")
    assert owner.trade("buy", "100", quote_id=held).status_code == 201


def test_a_refused_trade_gives_the_quote_back(new_trader: Callable[..., Trader]) -> None:
    poor = new_trader(inr=100)
    held = quote(poor)
    assert poor.trade("buy", "101", quote_id=held).status_code == 400
    assert poor.trade("buy", "100", quote_id=held).status_code == 201


def test_a_preview_does_not_use_the_quote_up(trader: Trader) -> None:
    held = quote(trader)
    body = {"action": "buy", "type": "market", "amount": "100", "currency": "inr", "quote_id": held}
    assert trader.post("/api/trade/preview", body).status_code == 200
    assert trader.trade("buy", "100", quote_id=held).status_code == 201


def test_a_retry_with_the_same_key_gets_the_first_answer_although_the_quote_is_used(trader: Trader) -> None:
    held = quote(trader)
    first = trader.trade("buy", "100", quote_id=held, idempotency_key="k")
    again = trader.trade("buy", "100", quote_id=held, idempotency_key="k")
    assert (again.status_code, again.get_json()) == (201, first.get_json())


def test_nobody_hoards_quotes(trader: Trader, app: Flask) -> None:
    first = quote(trader)
    for _ in range(4):
        quote(trader)
    answer = trader.post("/api/quote")
    assert (answer.status_code, answer.get_json()["code"]) == (429, "too_many_quotes")
    expire(app, first)
    assert trader.post("/api/quote").status_code == 201


def test_a_quote_ends_when_its_price_becomes_too_old(trader: Trader, app: Flask) -> None:
    app.config["MAX_PRICE_AGE_S"], usual = 5, app.config["MAX_PRICE_AGE_S"]
    try:
        assert trader.post("/api/quote").get_json()["expires_in_ms"] <= 5000
    finally:
        app.config["MAX_PRICE_AGE_S"] = usual


@pytest.mark.parametrize("value", ["x", "0" * 31, "0" * 33, "G" * 32, "0" * 32 + "\n", 5])
def test_a_quote_id_of_another_form_is_a_mistake(trader: Trader, value: object) -> None:
    assert trader.trade("buy", "100", quote_id=value).status_code == 400


def test_no_quote_without_a_price(app: Flask, make_user: Callable[..., object]) -> None:
    trader = Trader(make_user(inr=100), app.test_client())  # type: ignore[arg-type]
    answer = trader.post("/api/quote")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "rates_unavailable")
