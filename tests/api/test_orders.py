"""Limit orders over REST: placing, filling, cancelling, and the body of the API's later client."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bittrade.extensions import db
from bittrade.models import LimitOrderRow
from bittrade.services import ledger, orders
from bittrade.wire import EPOCH
from tests.fixtures import Person, set_price, together

BUY = {"side": "buy", "type": "limit", "limit_price": 4_000_000, "amount": "1000", "currency": "inr"}
SELL = {"side": "sell", "type": "limit", "limit_price": 4_000_000, "amount": "0.001", "currency": "btc"}
HOLDINGS = ("available_inr", "available_btc", "reserved_inr", "reserved_btc")


@pytest.fixture
def user(make_user: Callable[..., Person], price: None) -> Person:
    return make_user(inr=10_000, btc=500_000)


def place(client: FlaskClient, user: Person, body: dict[str, Any] = BUY, **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/api/orders", json=body, headers={**user.headers, **named})


def holdings(client: FlaskClient, user: Person) -> tuple[int, ...]:
    body = client.get("/api/balance", headers=user.headers).get_json()
    return tuple(body[name] for name in HOLDINGS)


def match(app: Flask) -> int:
    with app.app_context():
        return orders.match()


def doctor(app: Flask) -> str:
    return app.test_cli_runner().invoke(args=["doctor"]).output


def verify(app: Flask) -> None:
    with app.app_context():
        assert ledger.verify().faults == ()


# --- placing ------------------------------------------------------------------------------------------------------


def test_a_buy_reserves_its_rupees_and_waits(app: Flask, client: FlaskClient, user: Person) -> None:
    answer = place(client, user)
    assert answer.status_code == 201
    body = answer.get_json()
    expected = {
        "side": "buy",
        "type": "LIMIT_BUY",
        "status": "OPEN",
        "limit_price": 4_000_000,
        "amount": 1000,
        "currency": "inr",
        "inr_amount": 1000,
        "btc_amount": 25_000,
        "reserved_inr": 1000,
        "reserved_btc": 0,
        "execution_price": None,
        "filled_transaction_id": None,
        "filled_at": None,
        "cancelled_at": None,
        "expires_at": None,
        "reason": None,
        "transactionId": body["id"],
    }
    assert {name: body[name] for name in expected} == expected
    assert holdings(client, user) == (9000, 500_000, 1000, 0)
    assert body["updated_balance"]["reserved_inr"] == 1000
    verify(app)


@pytest.mark.parametrize(
    ("body", "held"),
    [
        (SELL, (10_000, 400_000, 0, 100_000)),
        ({**BUY, "amount": "0.0000001", "currency": "btc"}, (9999, 500_000, 1, 0)),
        ({**SELL, "amount": 1000, "currency": "inr"}, (10_000, 475_000, 0, 25_000)),
        (
            {"type": "LIMIT_BUY", "inr_amount": 1000, "btc_amount": 10**9, "execution_price": 4_000_000},
            (9000, 500_000, 1000, 0),
        ),
        (
            {"type": "LIMIT_SELL", "inr_amount": 10**9, "btc_amount": 100_000, "execution_price": 4_000_000},
            (10_000, 400_000, 0, 100_000),
        ),
    ],
)
def test_an_order_reserves_the_most_that_it_can_cost(
    app: Flask, client: FlaskClient, user: Person, body: dict[str, Any], held: tuple[int, ...]
) -> None:
    assert place(client, user, body).status_code == 201
    assert holdings(client, user) == held
    verify(app)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"side": "hold"}, 400, "invalid_action"),
        ({"side": None}, 400, "invalid_action"),
        ({"type": "stop"}, 400, "invalid_order_type"),
        ({"currency": "usd"}, 400, "invalid_currency"),
        ({"amount": "NaN"}, 400, "invalid_amount"),
        ({"amount": True}, 400, "invalid_amount"),
        ({"amount": None}, 400, "invalid_amount"),
        ({"limit_price": None}, 400, "missing_fields"),
        ({"limit_price": 0}, 400, "invalid_input"),
        ({"limit_price": "4000000"}, 400, "invalid_input"),
        ({"limit_price": 40_000_000}, 400, "invalid_limit_price"),
        ({"amount": "10001"}, 400, "insufficient_funds"),
        ({"time_in_force": "gtd"}, 400, "invalid_input"),
        ({"expires_at": "2100-01-01T00:00:00Z"}, 400, "invalid_input"),
        ({"time_in_force": "gtd", "expires_at": "2001-01-01T00:00:00Z"}, 400, "invalid_input"),
        ({"client_order_id": "not ok"}, 400, "invalid_input"),
    ],
)
def test_what_is_refused_moves_nothing(
    client: FlaskClient, user: Person, change: dict[str, Any], status: int, code: str
) -> None:
    answer = place(client, user, {**BUY, **change})
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert holdings(client, user) == (10_000, 500_000, 0, 0)


def test_an_order_whose_price_is_reached_already_fills_at_once_at_the_current_rate(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    body = place(client, user, {**BUY, "limit_price": 5_000_000}).get_json()
    assert (body["status"], body["execution_price"], body["btc_amount"]) == ("FILLED", 4_095_000, 24_420)
    assert holdings(client, user) == (9000, 524_420, 0, 0)
    verify(app)


def test_a_market_order_sent_here_is_a_trade(app: Flask, client: FlaskClient, user: Person) -> None:
    ours = place(client, user, {"side": "buy", "type": "market", "amount": "1000", "currency": "inr"})
    theirs = place(client, user, {"type": "MARKET_SELL", "btc_amount": 100_000, "inr_amount": 10**9})
    assert (ours.status_code, ours.get_json()["type"]) == (201, "MARKET_BUY")
    assert theirs.get_json()["inr_amount"] == 3960  # at our rate, whatever the client's figure
    assert theirs.get_json()["transactionId"] == theirs.get_json()["id"]
    verify(app)


def test_one_key_places_once(app: Flask, client: FlaskClient, user: Person) -> None:
    answers = together(10, lambda _: place(app.test_client(), user, Idempotency_Key="k1"))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.get_json()["id"] for answer in answers}) == 1
    assert sum(answer.headers.get("Idempotent-Replayed") == "true" for answer in answers) == 9
    assert holdings(client, user) == (9000, 500_000, 1000, 0)
    other = place(client, user, {**BUY, "amount": "1001"}, Idempotency_Key="k1")
    assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")


def test_a_client_order_id_names_one_order_or_trade(client: FlaskClient, user: Person) -> None:
    assert place(client, user, {**BUY, "client_order_id": "mine"}).status_code == 201
    again = place(client, user, {**SELL, "client_order_id": "mine"})
    assert (again.status_code, again.get_json()["code"]) == (409, "client_order_id_reused")


def test_a_user_has_at_most_a_hundred_open_orders(client: FlaskClient, user: Person) -> None:
    small = {**BUY, "amount": "1"}
    assert {place(client, user, small).status_code for _ in range(100)} == {201}
    answer = place(client, user, small)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "too_many_orders")


def test_a_preview_moves_nothing(client: FlaskClient, user: Person) -> None:
    answer = client.post("/api/orders/preview", json=BUY, headers=user.headers)
    assert answer.get_json()["reserved_inr"] == 1000
    assert answer.get_json()["fills_now"] is False
    assert holdings(client, user) == (10_000, 500_000, 0, 0)


# --- filling ------------------------------------------------------------------------------------------------------


def test_an_order_fills_at_the_current_rate_and_the_improvement_is_the_clients(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    order = place(client, user, {**BUY, "amount": "0.001", "currency": "btc"}).get_json()
    assert order["reserved_inr"] == 4000
    assert match(app) == 0  # the rate is above the limit
    set_price(app, 40_000)  # a buyer pays 3,640,000
    assert match(app) == 1
    assert match(app) == 0
    filled = client.get(f"/api/orders/{order['id']}", headers=user.headers).get_json()
    assert (filled["status"], filled["inr_amount"], filled["btc_amount"]) == ("FILLED", 3640, 100_000)
    assert filled["execution_price"] == 3_640_000
    assert holdings(client, user) == (10_000 - 3640, 600_000, 0, 0)
    receipt = client.get(
        f"/api/transactions/{filled['filled_transaction_id']}/receipt", headers=user.headers
    ).get_json()
    assert receipt["recomputed"] is True
    assert receipt["order_id"] == order["id"]
    verify(app)


def test_a_sell_fills_when_the_sell_rate_rises_to_its_limit(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    place(client, user, SELL)
    set_price(app, 45_454)  # a seller gets 3,999,952
    assert match(app) == 0
    set_price(app, 45_455)  # 4,000,040
    assert match(app) == 1
    assert holdings(client, user) == (14_000, 400_000, 0, 0)
    verify(app)


def test_the_best_limit_fills_first_and_then_the_oldest(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    ids = [
        place(client, user, {**BUY, "limit_price": limit}).get_json()["id"]
        for limit in (3_900_000, 4_000_000, 4_000_000, 4_050_000)
    ]
    set_price(app, 40_000)
    assert match(app) == 4
    fills = client.get("/api/transactions?type=LIMIT_BUY", headers=user.headers).get_json()["transactions"]
    assert [fill["order_id"] for fill in reversed(fills)] == [ids[3], ids[1], ids[2], ids[0]]


def test_a_price_that_a_trade_would_refuse_fills_nothing(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    place(client, user)
    set_price(app, 40_000, age_s=-1)
    with app.app_context():
        app.config["MAX_PRICE_AGE_S"] = 0
        try:
            assert orders.match() == 0
        finally:
            app.config["MAX_PRICE_AGE_S"] = 90


def test_two_matchers_fill_an_order_once(app: Flask, client: FlaskClient, user: Person) -> None:
    for _ in range(20):
        place(client, user, {**BUY, "amount": "100"})
    set_price(app, 40_000)
    filled = together(4, lambda _: match(app))
    assert sum(filled) == 20
    assert holdings(client, user)[2] == 0
    verify(app)


# --- ending -------------------------------------------------------------------------------------------------------


def test_a_cancelled_order_gives_everything_back(app: Flask, client: FlaskClient, user: Person) -> None:
    order = place(client, user).get_json()
    answer = client.delete(f"/api/orders/{order['id']}", headers=user.headers)
    assert (answer.status_code, answer.get_json()["status"]) == (200, "CANCELLED")
    assert answer.get_json()["cancelled_at"] is not None
    assert holdings(client, user) == (10_000, 500_000, 0, 0)
    again = client.delete(f"/api/orders/{order['id']}", headers=user.headers)
    assert (again.status_code, again.get_json()["code"]) == (409, "order_not_open")
    assert again.get_json()["order"]["status"] == "CANCELLED"
    verify(app)


def test_a_filled_order_cannot_be_cancelled(app: Flask, client: FlaskClient, user: Person) -> None:
    order = place(client, user, {**BUY, "limit_price": 5_000_000}).get_json()
    answer = client.delete(f"/api/orders/{order['id']}", headers=user.headers)
    assert (answer.status_code, answer.get_json()["order"]["status"]) == (409, "FILLED")


def test_fifty_cancels_give_back_once(app: Flask, client: FlaskClient, user: Person) -> None:
    order = place(client, user).get_json()
    answers = together(
        20, lambda _: app.test_client().delete(f"/api/orders/{order['id']}", headers=user.headers)
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert holdings(client, user) == (10_000, 500_000, 0, 0)
    verify(app)


def test_cancel_against_fill_has_one_winner(app: Flask, client: FlaskClient, user: Person) -> None:
    ids = [place(client, user, {**BUY, "amount": "100"}).get_json()["id"] for _ in range(20)]
    set_price(app, 40_000)

    def race(number: int) -> int:
        if number == 0:
            return match(app)
        answers = [
            app.test_client().delete(f"/api/orders/{order_id}", headers=user.headers) for order_id in ids
        ]
        return sum(answer.status_code == 200 for answer in answers)

    filled, cancelled = together(2, race)
    assert filled + cancelled == 20
    inr, _, reserved_inr, _ = holdings(client, user)
    assert (inr, reserved_inr) == (10_000 - 100 * filled, 0)
    verify(app)


def test_all_orders_are_cancelled_at_once(app: Flask, client: FlaskClient, user: Person) -> None:
    place(client, user)
    place(client, user, SELL)
    body = client.delete("/api/orders", headers=user.headers).get_json()
    assert body["cancelled"] == 2
    assert holdings(client, user) == (10_000, 500_000, 0, 0)
    assert client.delete("/api/orders", headers=user.headers).get_json()["cancelled"] == 0
    verify(app)


def test_an_order_that_is_over_expires_and_does_not_fill(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    moment = "2100-01-01T00:00:00Z"
    order = place(client, user, {**BUY, "time_in_force": "gtd", "expires_at": moment}).get_json()
    assert order["expires_at"] == "2100-01-01T00:00:00.000Z"
    end_now(app, order["id"])
    set_price(app, 40_000)
    assert match(app) == 0
    with app.app_context():
        assert orders.has_overdue(by_s=60)
    assert "Limit orders that have expired are still open" in doctor(app)
    with app.app_context():
        assert orders.close_expired() == 1
        assert not orders.has_overdue(by_s=60)
    assert "Limit orders" not in doctor(app)
    body = client.get(f"/api/orders/{order['id']}", headers=user.headers).get_json()
    assert body["status"] == "EXPIRED"
    assert holdings(client, user) == (10_000, 500_000, 0, 0)
    verify(app)


def end_now(app: Flask, order_id: int) -> None:
    """Let an order's time be over, as if it had waited."""
    with app.app_context(), db.engine.begin() as connection:
        rows = sa.update(LimitOrderRow).where(LimitOrderRow.id == order_id)
        connection.execute(rows.values(expires_at=EPOCH))


# --- seeing -------------------------------------------------------------------------------------------------------


def test_orders_are_listed_newest_first_by_cursor(client: FlaskClient, user: Person) -> None:
    ids = [place(client, user).get_json()["id"] for _ in range(3)]
    first = client.get("/api/orders?limit=2&status=OPEN", headers=user.headers).get_json()
    assert [order["id"] for order in first["orders"]] == ids[:0:-1]
    assert first["hasMore"] is True
    rest = client.get(f"/api/orders?before_id={first['next_before_id']}", headers=user.headers).get_json()
    assert [order["id"] for order in rest["orders"]] == ids[:1]
    assert rest["hasMore"] is False


def test_another_s_order_is_not_found(
    client: FlaskClient, user: Person, make_user: Callable[..., Person]
) -> None:
    order, other = place(client, user).get_json(), make_user()
    for method, path in (
        ("GET", f"/api/orders/{order['id']}"),
        ("DELETE", f"/api/orders/{order['id']}"),
        ("DELETE", f"/api/transactions/{order['id']}/cancel"),
    ):
        assert client.open(path, method=method, headers=other.headers).status_code == 404


def test_the_history_shows_an_open_order_as_a_pending_row_on_top(client: FlaskClient, user: Person) -> None:
    order = place(client, user).get_json()
    client.post(
        "/api/trade",
        json={"action": "buy", "type": "market", "amount": "10", "currency": "inr"},
        headers=user.headers,
    )
    rows = client.get("/api/transactions", headers=user.headers).get_json()["transactions"]
    top = rows[0]
    assert (top["id"], top["type"], top["status"]) == (order["id"], "LIMIT_BUY", "PENDING")
    assert (top["inr_amount"], top["btc_amount"], top["execution_price"]) == (1000, 25_000, 4_000_000)
    assert rows[1]["type"] == "MARKET_BUY"
    assert not any(row["type"].startswith("ORDER_") for row in rows)


def test_the_later_client_cancels_by_the_pending_row(client: FlaskClient, user: Person) -> None:
    order = place(client, user).get_json()
    body = client.delete(f"/api/transactions/{order['id']}/cancel", headers=user.headers).get_json()
    assert body["transactionId"] == order["id"]
    assert (body["type"], body["funds_released"]) == ("LIMIT_BUY", {"inr_amount": 1000})
    again = client.delete(f"/api/transactions/{order['id']}/cancel", headers=user.headers)
    assert (again.status_code, again.get_json()["code"]) == (400, "not_pending")
    rows = client.get("/api/transactions", headers=user.headers).get_json()["transactions"]
    assert (rows[0]["id"], rows[0]["status"]) == (order["id"], "CANCELLED")
