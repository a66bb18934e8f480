"""What a client may ask of a trade: no worse a price, an id of its own, and to see it first."""

from collections.abc import Callable

import pytest
from flask import Flask

from tests.fixtures import set_price, together
from tests.money.conftest import Trader

BUY_RATE, SELL_RATE = 4_095_000, 3_960_000


def test_a_price_that_became_worse_is_refused_with_both_figures(trader: Trader) -> None:
    before = trader.balance()
    answer = trader.trade("buy", "1000", expected_price=BUY_RATE - 1)
    assert answer.status_code == 409
    body = answer.get_json()
    assert (body["code"], body["expected_price"], body["current_price"]) == (
        "price_moved",
        BUY_RATE - 1,
        BUY_RATE,
    )
    assert trader.balance() == before


@pytest.mark.parametrize(
    ("action", "expected", "bps", "status"),
    [
        ("buy", BUY_RATE, 0, 201),
        ("buy", BUY_RATE + 500, 0, 201),  # cheaper than expected is welcome
        ("buy", 4_000_000, 237, 409),  # 4,094,800 is the most that is accepted
        ("buy", 4_000_000, 238, 201),  # 4,095,200
        ("sell", SELL_RATE, 0, 201),
        ("sell", SELL_RATE - 500, 0, 201),
        ("sell", 4_000_000, 99, 409),  # 3,960,400 is the least
        ("sell", 4_000_000, 100, 201),  # exactly 3,960,000
    ],
)
def test_slippage_counts_only_against_the_client_and_to_the_rupee(
    trader: Trader, action: str, expected: int, bps: int, status: int
) -> None:
    answer = trader.trade(action, "100", expected_price=expected, max_slippage_bps=bps)
    assert answer.status_code == status, answer.get_json()


def test_slippage_without_an_expected_price_is_a_mistake(trader: Trader) -> None:
    answer = trader.trade("buy", "1000", max_slippage_bps=10)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize("value", [0, -1, 10**16, "4095000", 1.5, True, None])
def test_an_expected_price_is_a_positive_integer_or_absent(trader: Trader, value: object) -> None:
    answer = trader.trade("buy", "100", expected_price=value)
    assert answer.status_code == (201 if value is None else 400)


def test_a_preview_is_exactly_what_the_trade_then_does_and_moves_nothing(trader: Trader) -> None:
    before = trader.balance()
    for action, amount, currency in (
        ("buy", "1000", "inr"),
        ("sell", "0.00012345", "btc"),
        ("buy", "7e-5", "btc"),
    ):
        body = {"action": action, "type": "market", "amount": amount, "currency": currency}
        preview = trader.post("/api/trade/preview", body)
        assert preview.status_code == 200
        assert trader.balance() == before
        done = trader.trade(action, amount, currency).get_json()
        before = trader.balance()
        figures = ("type", "action", "btc_amount", "inr_amount", "execution_price", "source", "as_of")
        assert {name: preview.get_json()[name] for name in figures} == {name: done[name] for name in figures}
        holdings = preview.get_json()["updated_balance"]
        assert {name: done["updated_balance"][name] for name in holdings} == holdings


def test_a_preview_is_refused_where_the_trade_would_be(trader: Trader) -> None:
    body = {"action": "buy", "type": "market", "amount": "100001", "currency": "inr"}
    answer = trader.post("/api/trade/preview", body)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "insufficient_funds")
    assert (answer.get_json()["required"], answer.get_json()["available"]) == (100_001, 100_000)


def test_a_client_order_id_is_used_once_and_finds_its_trade(trader: Trader) -> None:
    first = trader.trade("buy", "100", client_order_id="mine-1").get_json()
    again = trader.trade("buy", "100", client_order_id="mine-1")
    assert (again.status_code, again.get_json()["code"]) == (409, "client_order_id_reused")
    assert again.get_json()["transaction_id"] == first["id"]
    found = trader.get("/api/transactions", client_order_id="mine-1").get_json()["transactions"]
    assert [row["id"] for row in found] == [first["id"]]


def test_two_people_may_use_the_same_client_order_id(new_trader: Callable[..., Trader]) -> None:
    for person in (new_trader(inr=1000), new_trader(inr=1000)):
        assert person.trade("buy", "100", client_order_id="mine-1").status_code == 201


def test_of_20_orders_with_one_client_order_id_at_once_one_is_executed(trader: Trader, app: Flask) -> None:
    def order(_number: int) -> int:
        return (
            Trader(trader.person, app.test_client()).trade("buy", "100", client_order_id="once").status_code
        )

    assert sorted(together(20, order)) == [201] + [409] * 19


@pytest.mark.parametrize("value", ["", " ", "=1+1", "-x", "a" * 65, "ü", "a b", "a\n", 7, ["a"]])
def test_a_client_order_id_is_letters_digits_and_little_else(trader: Trader, value: object) -> None:
    answer = trader.trade("buy", "100", client_order_id=value)
    assert answer.status_code == (201 if value == "" else 400), answer.get_json()  # "" counts as not sent


def test_the_same_key_with_another_condition_is_another_body(trader: Trader) -> None:
    assert trader.trade("buy", "100", idempotency_key="k").status_code == 201
    answer = trader.trade("buy", "100", idempotency_key="k", expected_price=BUY_RATE)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "idempotency_key_reused")


def test_a_refusal_leaves_its_key_free(new_trader: Callable[..., Trader]) -> None:
    poor = new_trader(inr=50)
    assert poor.trade("buy", "100", idempotency_key="k").status_code == 400
    assert poor.trade("buy", "40", idempotency_key="k").status_code == 201


def test_an_answered_key_answers_even_when_trading_would_now_be_refused(trader: Trader, app: Flask) -> None:
    first = trader.trade("buy", "100", idempotency_key="k")
    app.config["MAX_PRICE_AGE_S"], usual = 0, app.config["MAX_PRICE_AGE_S"]
    try:
        assert trader.trade("buy", "100").status_code == 503
        again = trader.trade("buy", "100", idempotency_key="k")
    finally:
        app.config["MAX_PRICE_AGE_S"] = usual
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.get_json() == first.get_json()


def test_an_order_outside_the_published_limits_is_refused(trader: Trader, app: Flask) -> None:
    app.config["MIN_ORDER_INR"], app.config["MAX_ORDER_INR"] = 100, 200
    try:
        rules = trader.get("/api/trading-rules").get_json()
        assert (rules["min_order_inr"], rules["max_order_inr"]) == (100, 200)
        for amount, status in (("99", 400), ("100", 201), ("200", 201), ("201", 400)):
            answer = trader.trade("buy", amount)
            assert answer.status_code == status
            if status == 400:
                assert answer.get_json()["code"] == "order_out_of_range"
    finally:
        app.config["MIN_ORDER_INR"], app.config["MAX_ORDER_INR"] = 1, 100_000_000


def test_the_rules_tell_the_spread(trader: Trader) -> None:
    rules = trader.get("/api/trading-rules").get_json()
    assert (rules["buy_multiplier"], rules["sell_multiplier"], rules["spread_pct"]) == ("91", "88", 3.29)
    assert (rules["inr_places"], rules["btc_places"], rules["trading_halted"]) == (0, 8, False)


def test_the_trade_says_which_price_it_was_and_how_old(trader: Trader, app: Flask) -> None:
    set_price(app, 46_000)
    answer = trader.trade("buy", "100").get_json()
    assert answer["source"] == "coingecko"
    assert answer["as_of"].endswith("Z")
    assert 0 <= answer["age_ms"] < 60_000
