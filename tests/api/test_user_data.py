"""/api/balance and /api/transactions: a user's own data."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import wire
from bittrade.extensions import db
from bittrade.models import Balance
from bittrade.services import funds
from bittrade.services.funds import Funds
from tests.api.conftest import BUY
from tests.fixtures import Person, set_price

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def regular(app: Flask, make_user: Callable[..., Person]) -> Person:
    """Somebody with seven deposits: ₹1, ₹2, … ₹7."""
    user = make_user()
    with app.app_context():
        for rupees in range(1, 8):
            funds.deposit(user.id, Funds(rupees, 0))
    return user


def page(client: FlaskClient, user: Person, query: str = "") -> dict:
    answer = client.get(f"/api/transactions{query}", headers=user.headers)
    assert answer.status_code == 200
    return answer.get_json()


def rupees(body: dict) -> list[int]:
    return [row["inr_amount"] for row in body["transactions"]]


def test_a_balance_is_seven_integers(client: FlaskClient, user: Person) -> None:
    expected = {
        "available_inr": 10_000,
        "available_btc": 500_000,
        "reserved_inr": 0,
        "reserved_btc": 0,
        "collateral_btc": 0,
        "borrowed_inr": 0,
        "interest_accrued": 0,
    }
    for _ in range(2):  # from the database, from the cache
        body = client.get("/api/balance", headers=user.headers).get_json()
        assert {name: body[name] for name in expected} == expected
        assert all(type(body[name]) is int for name in expected)


@pytest.mark.usefixtures("price")
def test_a_trade_is_in_the_history_with_all_its_figures(client: FlaskClient, user: Person) -> None:
    number = client.post("/api/trade", json=BUY, headers=user.headers).get_json()["id"]
    row = page(client, user)["transactions"][0]
    expected = {
        "id": number,
        "type": "MARKET_BUY",
        "status": "EXECUTED",
        "btc_amount": 24_420,
        "inr_amount": 1000,
        "execution_price": 4_095_000,
        "cached": False,
    }
    assert {name: row[name] for name in expected} == expected
    assert TIME.fullmatch(row["created_at"])
    assert TIME.fullmatch(row["executed_at"])


def test_a_deposit_is_in_the_history_without_a_price(client: FlaskClient, user: Person) -> None:
    rows = page(client, user)["transactions"]
    assert [(row["type"], row["status"], row["execution_price"]) for row in rows] == [
        ("DEPOSIT_BTC", "EXECUTED", None),
        ("DEPOSIT_INR", "EXECUTED", None),
    ]


def test_an_empty_history_is_an_empty_page(client: FlaskClient, make_user: Callable[..., Person]) -> None:
    body = page(client, make_user())
    assert (body["transactions"], body["page"], body["limit"], body["hasMore"]) == ([], 1, 50, False)


@pytest.mark.parametrize(
    ("query", "expected", "has_more"),
    [
        ("", [7, 6, 5, 4, 3, 2, 1], False),
        ("?limit=7", [7, 6, 5, 4, 3, 2, 1], False),
        ("?limit=6", [7, 6, 5, 4, 3, 2], True),
        ("?limit=3", [7, 6, 5], True),
        ("?limit=3&page=2", [4, 3, 2], True),
        ("?limit=3&page=3", [1], False),
        ("?limit=3&page=4", [], False),
        ("?limit=1&page=7", [1], False),
        ("?limit=200", [7, 6, 5, 4, 3, 2, 1], False),
        ("?limit=50&page=100000", [], False),
        ("?limit=3&unknown=%00&limit=1", [7, 6, 5], True),  # of a key sent twice the first counts
    ],
)
def test_pages_are_newest_first_and_has_more_is_exact(
    client: FlaskClient, regular: Person, query: str, expected: list[int], has_more: bool
) -> None:
    for _ in range(2):  # from the database, from the cache where there is one
        body = page(client, regular, query)
        assert rupees(body) == expected
        assert body["hasMore"] is has_more


def test_pending_transactions_come_first(app: Flask, client: FlaskClient, regular: Person) -> None:
    set_price(app)
    order = {"side": "buy", "type": "limit", "limit_price": 4_000_000, "amount": "9", "currency": "inr"}
    assert client.post("/api/orders", json=order, headers=regular.headers).status_code == 201
    assert client.post("/api/trade", json=BUY_FOR_TWO, headers=regular.headers).status_code == 201
    body = page(client, regular, "?limit=3")
    assert rupees(body) == [9, 2, 7]
    assert (body["transactions"][0]["status"], body["transactions"][0]["executed_at"]) == ("PENDING", None)
    assert rupees(page(client, regular, "?limit=3&page=2")) == [6, 5, 4]


BUY_FOR_TWO = {"action": "buy", "type": "market", "amount": "2", "currency": "inr"}
BAD_NUMBERS = [
    "0",
    "-1",
    "1e9",
    "1.0",
    "+1",
    "%201",
    "1_0",
    "0x10",
    "NaN",
    "ten",
    "１０",
    "١٠",
    "9" * 5000,
    "%00",
    "1%00",
]


@pytest.mark.parametrize("value", [*BAD_NUMBERS, "201", "1000000000"])
def test_a_limit_is_1_to_200(client: FlaskClient, user: Person, value: str) -> None:
    answer = client.get(f"/api/transactions?limit={value}", headers=user.headers)
    assert answer.status_code == 400
    assert "limit" in answer.get_json()["error"]


@pytest.mark.parametrize("value", [*BAD_NUMBERS, "9223372036854775807"])
def test_a_page_is_a_number_from_1(client: FlaskClient, user: Person, value: str) -> None:
    answer = client.get(f"/api/transactions?page={value}", headers=user.headers)
    assert answer.status_code == 400
    assert "page" in answer.get_json()["error"]


@pytest.mark.parametrize("path", ["/api/balance", "/api/transactions", "/api/transactions?limit=3&page=1"])
def test_nobody_sees_another_s_data(client: FlaskClient, make_user: Callable[..., Person], path: str) -> None:
    one, other = make_user(inr=111), make_user(inr=222)
    for _ in range(2):
        for user, mine, foreign in ((one, 111, 222), (other, 222, 111)):
            text = client.get(path, headers=user.headers).text
            assert f'_inr":{mine}' in text or f'_amount":{mine}' in text
            assert f":{foreign}," not in text


def test_figures_beyond_what_a_float_holds_are_exact(
    app: Flask, client: FlaskClient, make_user: Callable[..., Person]
) -> None:
    user = make_user(inr=2**53 + 1, btc=2**53 + 3)
    body = client.get("/api/balance", headers=user.headers)
    assert b'"available_inr":9007199254740993' in body.data
    assert b'"available_btc":9007199254740995' in body.data
    with app.app_context(), db.engine.connect() as connection:
        assert connection.scalar(sa.select(Balance.available_inr)) == 2**53 + 1


def test_times_are_utc_and_now(client: FlaskClient, user: Person) -> None:
    row, _ = page(client, user)["transactions"]
    assert abs(wire.now() - datetime.fromisoformat(row["created_at"])) < timedelta(seconds=30)
