"""A trader who speaks to the API, for the tests about conditions, quotes, receipts and the books."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.fixtures import Person


@dataclass(frozen=True)
class Trader:
    """A person with a client: what they type, in one word each."""

    person: Person
    client: FlaskClient

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.client.get(path, headers=self.person.headers, query_string=query)

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> TestResponse:
        return self.client.post(path, json=body, headers={**self.person.headers, **headers})

    def trade(self, action: str, amount: object, currency: str = "inr", **conditions: Any) -> TestResponse:
        body = {"action": action, "type": "market", "amount": amount, "currency": currency, **conditions}
        key = conditions.pop("idempotency_key", None)
        body.pop("idempotency_key", None)
        return self.post("/api/trade", body, **({"Idempotency-Key": key} if key else {}))

    def balance(self) -> dict[str, int]:
        answer: dict[str, int] = self.get("/api/balance").get_json()
        return {name: value for name, value in answer.items() if name != "cached"}


@pytest.fixture
def new_trader(app: Flask, price: None, make_user: Callable[..., Person]) -> Callable[..., Trader]:
    """Make a trader while a bitcoin costs 4,095,000 and brings 3,960,000 rupees: new_trader(inr=1000)."""
    return lambda **wanted: Trader(make_user(**wanted), app.test_client())


@pytest.fixture
def trader(new_trader: Callable[..., Trader]) -> Trader:
    """Has ₹100,000 and 0.1 bitcoin."""
    return new_trader(inr=100_000, btc=10_000_000)
