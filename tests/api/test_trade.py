"""POST /api/trade: market orders."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bittrade.extensions import db
from bittrade.models import IdempotencyKey, Transaction
from bittrade.services import ledger
from tests.api.conftest import BUY
from tests.fixtures import Person, key_of, new_user, set_price, together

SELL = {**BUY, "action": "sell", "currency": "btc", "amount": "0.001"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def trade(client: FlaskClient, user: Person, order: dict[str, Any] = BUY, **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps(order)  # of the standard library, which also writes huge numbers
    return client.post(
        "/api/trade", data=body, content_type="application/json", headers={**user.headers, **named}
    )


def balance(client: FlaskClient, user: Person) -> tuple[int, int, int]:
    body = client.get("/api/balance", headers=user.headers).get_json()
    return body["available_inr"], body["available_btc"], body["seq"]


def count(app: Flask, model: type) -> int:
    with app.app_context(), db.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(model.__table__)) or 0


def verify(app: Flask) -> None:
    with app.app_context():
        assert ledger.verify().faults == ()


# --- What happens -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("price")
def test_the_document_s_example_buys_24_420_satoshis(client: FlaskClient, user: Person) -> None:
    answer = trade(client, user)
    assert answer.status_code == 201
    body = answer.get_json()
    expected = {
        "type": "MARKET_BUY",
        "action": "buy",
        "btc_amount": 24_420,
        "inr_amount": 1000,
        "execution_price": 4_095_000,
        "status": "EXECUTED",
    }
    assert {name: body[name] for name in expected} == expected
    assert type(body["id"]) is int
    assert TIME.fullmatch(body["timestamp"])
    held = {
        "available_inr": 9000,
        "available_btc": 524_420,
        "reserved_inr": 0,
        "reserved_btc": 0,
        "collateral_btc": 0,
        "borrowed_inr": 0,
        "interest_accrued": 0,
    }
    assert {name: body["updated_balance"][name] for name in held} == held
    assert balance(client, user)[:2] == (9000, 524_420)


@pytest.mark.usefixtures("price")
def test_a_sale_gives_rupees_for_satoshis(client: FlaskClient, user: Person) -> None:
    body = trade(client, user, SELL).get_json()
    assert (body["type"], body["action"]) == ("MARKET_SELL", "sell")
    assert (body["btc_amount"], body["inr_amount"], body["execution_price"]) == (100_000, 3960, 3_960_000)
    assert balance(client, user)[:2] == (13_960, 400_000)


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize(
    ("order", "inr", "satoshis"),
    [
        ({**BUY, "amount": 1000}, 1000, 24_420),
        ({**BUY, "amount": 1000.0}, 1000, 24_420),
        ({**BUY, "amount": "1e3"}, 1000, 24_420),
        ({**BUY, "amount": "5."}, 5, 122),
        ({**BUY, "currency": "btc", "amount": "1e-8"}, 1, 1),
        ({**BUY, "currency": "btc", "amount": 0.0005}, 2048, 50_000),
        ({**SELL, "currency": "inr", "amount": "1000"}, 1000, 25_253),
        ({**SELL, "amount": "0.00000100"}, 3, 100),
        ({**BUY, "extra": "is ignored", "price": 1, "user_id": 1}, 1000, 24_420),
    ],
)
def test_amounts_may_be_written_in_many_ways(
    client: FlaskClient, user: Person, order: dict[str, Any], inr: int, satoshis: int
) -> None:
    body = trade(client, user, order).get_json()
    assert (body["inr_amount"], body["btc_amount"]) == (inr, satoshis)


@pytest.mark.usefixtures("price")
def test_the_last_rupee_can_be_spent(app: Flask, client: FlaskClient, make_user: Any) -> None:
    user = make_user(inr=1000)
    assert trade(client, user).status_code == 201
    assert balance(client, user)[0] == 0
    verify(app)


# --- What is refused ----------------------------------------------------------------------------------------------

INVALID_AMOUNT = "Invalid amount. Must be a positive number"
BAD_AMOUNTS: list[object] = [
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1_000",
        "１２",
        "١٢",
        "0x10",
        "+1",
        " 1",
        "1 ",
        "-1",
        "-0.0",
        "0",
        "0.0",
        "abc",
    ),
    *("1,000", "1\x00", "\u202e1", "🔑", "1e400", "1e-400", "1e1000000", "9" * 5000, "1e17"),
    *(True, False, 0, -1, -0.5, 10**30, 2**63, [], ["1"], {}, {"a": 1}),
]


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize("amount", BAD_AMOUNTS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("currency", ["inr", "btc"])
def test_a_bad_amount_is_400_with_a_reason_and_moves_nothing(
    client: FlaskClient, user: Person, amount: object, currency: str
) -> None:
    answer = trade(client, user, {**BUY, "amount": amount, "currency": currency})
    assert answer.status_code == 400
    assert answer.get_json()["code"] == "invalid_amount"
    assert answer.get_json()["error"].startswith("Invalid amount")
    assert balance(client, user) == (10_000, 500_000, 2)


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize("amount", ["NaN", "1_000", "１２", True, "-1", "0"])
def test_what_is_no_positive_number_is_refused_word_for_word(
    client: FlaskClient, user: Person, amount: object
) -> None:
    assert trade(client, user, {**BUY, "amount": amount}).get_json()["error"] == INVALID_AMOUNT


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize(
    ("change", "code", "error"),
    [
        ({"amount": "0.5"}, "invalid_amount", None),
        ({"amount": "1e-9", "currency": "btc"}, "invalid_amount", None),
        ({"action": "hold"}, "invalid_action", 'Invalid action. Must be "buy" or "sell"'),
        ({"action": "BUY"}, "invalid_action", 'Invalid action. Must be "buy" or "sell"'),
        ({"action": 1}, "invalid_action", 'Invalid action. Must be "buy" or "sell"'),
        ({"action": ["buy"]}, "invalid_action", 'Invalid action. Must be "buy" or "sell"'),
        ({"type": "limit"}, "invalid_order_type", "Only market orders are supported currently"),
        ({"type": {}}, "invalid_order_type", "Only market orders are supported currently"),
        ({"currency": "usd"}, "invalid_currency", 'Invalid currency. Must be "inr" or "btc"'),
        ({"currency": "INR"}, "invalid_currency", 'Invalid currency. Must be "inr" or "btc"'),
        ({"currency": True}, "invalid_currency", 'Invalid currency. Must be "inr" or "btc"'),
        (
            {"action": "sell", "currency": "btc", "amount": "1e-8"},
            "invalid_amount",
            None,
        ),  # sells for less than ₹1
    ],
)
def test_a_bad_field_is_400_in_the_contract_s_words(
    client: FlaskClient, user: Person, change: dict[str, Any], code: str, error: str | None
) -> None:
    answer = trade(client, user, {**BUY, **change})
    assert answer.status_code == 400
    assert answer.get_json()["code"] == code
    assert error is None or answer.get_json()["error"] == error
    assert balance(client, user) == (10_000, 500_000, 2)


@pytest.mark.parametrize("missing", list(BUY))
@pytest.mark.parametrize("how", ["absent", "null", "empty"])
def test_a_missing_field_is_400_and_all_four_are_named(
    client: FlaskClient, user: Person, missing: str, how: str
) -> None:
    order: dict[str, Any] = {name: value for name, value in BUY.items() if name != missing}
    if how != "absent":
        order[missing] = None if how == "null" else ""
    answer = trade(client, user, order)
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Missing required fields: action, type, amount, currency"
    assert answer.get_json()["code"] == "missing_fields"


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize(
    ("order", "error", "required", "available"),
    [
        ({**BUY, "amount": "10001"}, "Insufficient INR balance", 10_001, 10_000),
        ({**BUY, "currency": "btc", "amount": "0.01"}, "Insufficient INR balance", 40_950, 10_000),
        ({**SELL, "amount": "0.00500001"}, "Insufficient BTC balance", 500_001, 500_000),
        ({**SELL, "currency": "inr", "amount": "19801"}, "Insufficient BTC balance", 500_026, 500_000),
    ],
)
def test_more_than_there_is_is_400_with_both_figures(
    app: Flask,
    client: FlaskClient,
    user: Person,
    order: dict[str, Any],
    error: str,
    required: int,
    available: int,
) -> None:
    answer = trade(client, user, order)
    assert answer.status_code == 400
    body = answer.get_json()
    assert (body["error"], body["code"]) == (error, "insufficient_funds")
    assert (body["required"], body["available"]) == (required, available)
    assert balance(client, user) == (10_000, 500_000, 2)
    verify(app)


def test_without_a_price_nothing_is_traded(client: FlaskClient, user: Person) -> None:
    answer = trade(client, user)
    assert answer.status_code == 503
    assert answer.get_json()["error"] == "Market rates unavailable. Please try again later"
    assert answer.get_json()["code"] == "rates_unavailable"
    assert balance(client, user) == (10_000, 500_000, 2)


def test_on_a_price_that_is_too_old_nothing_is_traded(app: Flask, client: FlaskClient, user: Person) -> None:
    set_price(app, age_s=91)
    answer = trade(client, user)
    assert answer.status_code == 503
    assert answer.get_json()["error"] == "Market rates unavailable. Please try again later"
    assert balance(client, user) == (10_000, 500_000, 2)
    set_price(app, 45_001)
    assert trade(client, user).status_code == 201


def test_a_price_that_only_the_cache_has_is_not_traded_on(
    app: Flask, client: FlaskClient, user: Person, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as cache:
        cache.set(
            key_of(app, "latest_btc_price"),
            '{"btc_usd_price": 1, "buy_rate_inr": 1, "sell_rate_inr": 1}',
            ex=60,
        )
    assert trade(client, user).status_code == 503


# --- Idempotency --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("price")
def test_the_same_key_and_body_return_the_first_answer(app: Flask, client: FlaskClient, user: Person) -> None:
    first = trade(client, user, Idempotency_Key="one")
    set_price(app, 45_100)  # a new trade would come out differently
    for order in (BUY, {**BUY, "amount": 1000}, {**BUY, "amount": "1e3"}):
        again = trade(client, user, order, Idempotency_Key="one")
        assert again.status_code == 201
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.get_json() == first.get_json()
    assert "Idempotent-Replayed" not in first.headers
    assert balance(client, user) == (9000, 524_420, 3)


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize(
    "change", [{"amount": "1001"}, {"action": "sell"}, {"currency": "btc", "amount": "0.00001"}]
)
def test_the_same_key_with_another_body_is_409_and_moves_nothing(
    client: FlaskClient, user: Person, change: dict[str, str]
) -> None:
    trade(client, user, Idempotency_Key="one")
    answer = trade(client, user, {**BUY, **change}, Idempotency_Key="one")
    assert answer.status_code == 409
    assert answer.get_json()["code"] == "idempotency_key_reused"
    assert balance(client, user) == (9000, 524_420, 3)


@pytest.mark.usefixtures("price")
def test_one_key_of_two_users_is_two_keys(client: FlaskClient, user: Person, make_user: Any) -> None:
    other = make_user(inr=1000)
    answers = [trade(client, one, Idempotency_Key="the-same") for one in (user, other)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].get_json()["id"] != answers[1].get_json()["id"]


@pytest.mark.usefixtures("price")
def test_keys_are_told_apart_byte_by_byte(client: FlaskClient, user: Person) -> None:
    numbers = {
        trade(client, user, Idempotency_Key=key).get_json()["id"]
        for key in ("key", "KEY", "Key", "key-", "~")
    }
    assert len(numbers) == 5


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize("key", ["!", "~" * 255, "0", "a" * 255, '"quoted"'])
def test_a_key_has_1_to_255_visible_ascii_characters(client: FlaskClient, user: Person, key: str) -> None:
    assert trade(client, user, Idempotency_Key=key).status_code == 201
    assert trade(client, user, Idempotency_Key=key).headers["Idempotent-Replayed"] == "true"


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize("key", ["", " ", "a b", "a" * 256, "a" * 8192, "\xe9", "tab\t", "\x7f", "a\x00"])
def test_any_other_key_is_400_and_moves_nothing(client: FlaskClient, user: Person, key: str) -> None:
    answer = trade(client, user, Idempotency_Key=key)
    assert answer.status_code == 400
    assert answer.get_json()["code"] == "invalid_idempotency_key"
    assert balance(client, user) == (10_000, 500_000, 2)


@pytest.mark.usefixtures("price")
def test_a_refusal_does_not_use_up_the_key(app: Flask, client: FlaskClient, user: Person) -> None:
    poor = {**BUY, "amount": "10001"}
    assert trade(client, user, poor, Idempotency_Key="one").status_code == 400
    assert count(app, IdempotencyKey) == 0
    assert trade(client, user, {**BUY, "amount": "10000"}, Idempotency_Key="one").status_code == 201


def test_a_key_that_met_no_price_can_be_used_when_there_is_one(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    assert trade(client, user, Idempotency_Key="one").status_code == 503
    set_price(app)
    answer = trade(client, user, Idempotency_Key="one")
    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (201, False)


@pytest.mark.usefixtures("price")
def test_a_replay_needs_no_fresh_price(
    app: Flask, client: FlaskClient, user: Person, monkeypatch: Any
) -> None:
    first = trade(client, user, Idempotency_Key="one")
    monkeypatch.setitem(app.config, "MAX_PRICE_AGE_S", -1)
    assert trade(client, user).status_code == 503
    assert trade(client, user, Idempotency_Key="one").get_json() == first.get_json()


# --- Many at once -------------------------------------------------------------------------------------------------


def test_of_twenty_buys_of_600_on_a_balance_of_1000_exactly_one_succeeds(on_both_databases: Flask) -> None:
    app = on_both_databases
    set_price(app)
    user = new_user(app, inr=1000)
    order = {**BUY, "amount": "600"}
    answers = together(20, lambda _: trade(app.test_client(), user, order))
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 19
    refused = [answer.get_json() for answer in answers if answer.status_code == 400]
    assert {(body["error"], body["required"], body["available"]) for body in refused} == {
        ("Insufficient INR balance", 600, 400)
    }
    assert balance(app.test_client(), user) == (400, 14_652, 2)
    verify(app)


def test_twenty_requests_with_one_key_are_one_trade(on_both_databases: Flask) -> None:
    app = on_both_databases
    set_price(app)
    user = new_user(app, inr=100_000)
    answers = together(20, lambda _: trade(app.test_client(), user, Idempotency_Key="one"))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.data for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 19
    assert balance(app.test_client(), user)[0] == 99_000
    verify(app)


def test_twenty_buys_and_sells_of_four_users_all_fit_together(on_both_databases: Flask) -> None:
    app = on_both_databases
    set_price(app)
    users = [new_user(app, inr=10_000, btc=10_000_000) for _ in range(4)]
    orders = (BUY, SELL)
    answers = together(
        20, lambda number: trade(app.test_client(), users[number % 4], orders[number // 4 % 2])
    )
    assert {answer.status_code for answer in answers} == {201}
    for user in users:
        assert balance(app.test_client(), user)[2] == 7
    assert count(app, Transaction) == 28
    verify(app)


@pytest.mark.parametrize("written", ["0.10000000000000000555", "1000.00000000000000000001", "1e-9"])
def test_a_json_number_counts_with_every_digit_that_was_sent(
    client: FlaskClient, price: None, make_user: Callable[..., Person], written: str
) -> None:
    user = make_user(inr=10_000, btc=10**9)
    body = f'{{"action":"sell","type":"market","currency":"btc","amount":{written}}}'
    answer = client.post("/api/trade", data=body, headers=user.headers, content_type="application/json")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_amount")
