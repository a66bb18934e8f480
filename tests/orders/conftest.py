"""Somebody with money, and the steps that the tests about orders and plans take in one word each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bittrade.services import ledger, orders, plans
from tests.fixtures import Person, set_price

BUY = {"side": "buy", "type": "limit", "limit_price": 4_000_000, "amount": "1000", "currency": "inr"}
SELL = {"side": "sell", "type": "limit", "limit_price": 4_000_000, "amount": "0.001", "currency": "btc"}
DAILY = {"plan_type": "DCA_BUY", "frequency": "DAILY", "amount_per_execution_inr": 1000}


@dataclass(frozen=True)
class Customer:
    """A person at the API; each request has a client of its own, so that threads may share this."""

    person: Person
    app: Flask

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        client: FlaskClient = self.app.test_client()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.open(path, method=method, json=body, headers={**self.person.headers, **headers})

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.data
        return answer.get_json()

    def place(self, body: dict[str, Any] = BUY, **changes: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/api/orders", {**body, **changes})
        assert answer.status_code == 201, answer.data
        return answer.get_json()

    def plan(self, **changes: Any) -> int:
        answer = self.ask("POST", "/api/dca-plans", {**DAILY, **changes})
        assert answer.status_code == 201, answer.data
        return answer.get_json()["planId"]

    def cancel(self, order_id: int) -> TestResponse:
        return self.ask("DELETE", f"/api/orders/{order_id}")

    def trade(self, amount: int) -> TestResponse:
        body = {"action": "buy", "type": "market", "amount": amount, "currency": "inr"}
        return self.ask("POST", "/api/trade", body)

    def holdings(self) -> tuple[int, int, int, int]:
        """Available rupees and satoshis, reserved rupees and satoshis."""
        held = self.get("/api/balance")
        return held["available_inr"], held["available_btc"], held["reserved_inr"], held["reserved_btc"]


@pytest.fixture
def new_customer(app: Flask, price: None, make_user: Callable[..., Person]) -> Callable[..., Customer]:
    """Make a customer while a bitcoin costs 4,095,000 and brings 3,960,000 rupees."""
    return lambda **wanted: Customer(make_user(**wanted), app)


@pytest.fixture
def customer(new_customer: Callable[..., Customer]) -> Customer:
    """Has ₹10,000 and 500,000 satoshis."""
    return new_customer(inr=10_000, btc=500_000)


def match(app: Flask) -> int:
    with app.app_context():
        return orders.match()


def run_due(app: Flask) -> int:
    with app.app_context():
        return plans.run_due()


def fall(app: Flask) -> None:
    """A price at which a bitcoin costs 3,640,000 rupees: below every limit here."""
    set_price(app, 40_000)


def verify(app: Flask) -> None:
    """The books are right, to the unit."""
    with app.app_context():
        assert ledger.verify().faults == ()
