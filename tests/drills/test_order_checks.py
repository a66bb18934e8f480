"""The rules for orders are checked: they pass honest orders, and fail on each kind of tampering, naming the rule."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade.extensions import db
from bittrade.services import orders
from drills import checker
from drills.order_checks import Placed, Told, check_orders, read_orders
from tests.fixtures import Person, set_price

BODIES = (
    {"side": "buy", "limit_price": 4_000_000, "amount": "1000", "currency": "inr"},
    {"side": "buy", "limit_price": 3_900_000, "amount": "0.00100000", "currency": "btc"},
    {"side": "buy", "limit_price": 3_000_000, "amount": "500", "currency": "inr"},
    {"side": "sell", "limit_price": 3_000_000, "amount": "0.00200000", "currency": "btc"},
    {"side": "sell", "limit_price": 4_200_000, "amount": "700", "currency": "inr"},
)


@pytest.fixture
def told(app: Flask, client: FlaskClient, make_user: Callable[..., Person], price: None) -> Told:
    """Three fills, one of them at once; two that were cancelled, of which one cancel was refused at first."""
    person, told = make_user(inr=100_000, btc=5_000_000), Told()
    for number, body in enumerate(BODIES):
        headers = {**person.headers, "Idempotency-Key": f"key-{number}"}
        answer = client.post("/api/orders", json={"type": "limit", **body}, headers=headers)
        assert answer.status_code == 201, answer.data
        told.placed.append(Placed(person.id, f"key-{number}", dict(body), answer.get_json()["id"]))
    refused = {"type": "limit", **BODIES[0], "amount": "99999999"}
    answer = client.post("/api/orders", json=refused, headers={**person.headers, "Idempotency-Key": "no"})
    told.placed.append(Placed(person.id, "no", dict(refused), is_refused=answer.status_code == 400))
    set_price(app, 40_000)
    with app.app_context():
        assert orders.match() == 2
    for placed in told.placed[:3]:
        path = f"/api/orders/{placed.order_id}"
        told.cancels[placed.order_id or 0] = client.delete(path, headers=person.headers).status_code
    client.delete("/api/orders", headers=person.headers)
    assert list(told.cancels.values()) == [409, 409, 200]
    return told


@pytest.fixture
def broken(app: Flask, told: Told) -> Iterator[Callable[[], set[str]]]:
    """The names of the rules, and of the books' invariants, that are found broken."""

    def names() -> set[str]:
        with app.app_context(), db.engine.connect() as connection:
            found = read_orders(connection)
        books = [result for result in checker.check_books(found.books, []) if result.name != "I6"]
        return {result.name for result in [*books, *check_orders(found, told)] if not result.is_ok}

    return names


@pytest.fixture
def tamper(app: Flask) -> Callable[..., None]:
    """Run one statement behind the application's back, that changes something."""

    def run(statement: str, **values: object) -> None:
        with app.app_context(), db.engine.begin() as connection:
            assert connection.execute(sa.text(statement), values).rowcount

    return run


def test_honest_orders_pass(broken: Callable[[], set[str]]) -> None:
    assert broken() == set()


FIRST_FILL = "type = 'LIMIT_BUY' AND execution_price = 3640000"


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE orders SET limit_price = 3639999 WHERE status = 'FILLED' AND action = 'buy'", "O-fill"),
        ("UPDATE orders SET amount = amount + 1 WHERE status = 'FILLED'", "O-fill"),
        ("UPDATE transactions SET execution_price = 4000001 WHERE <fill>", "O-fill"),
        ("UPDATE transactions SET execution_price = 3639999 WHERE <fill>", "I8"),
        ("UPDATE transactions SET inr_amount = inr_amount + 1 WHERE <fill>", "O-fill"),
        ("UPDATE transactions SET type = 'LIMIT_SELL' WHERE <fill>", "O-fill"),
        ("UPDATE transactions SET type = 'ORDER_RELEASE' WHERE <fill>", "O-end"),
        ("UPDATE transactions SET order_id = NULL WHERE <fill>", "O-end"),
        ("UPDATE orders SET status = 'EXPIRED' WHERE status = 'CANCELLED'", "O-end"),
        ("UPDATE orders SET status = 'EXPIRED' WHERE status = 'CANCELLED'", "O-cancel"),
        ("UPDATE orders SET status = 'OPEN', closed_by_id = NULL WHERE status = 'CANCELLED'", "O-end"),
        ("UPDATE orders SET reserved = reserved + 1", "O-hold"),
        ("UPDATE ledger_legs SET account = 'available_inr' WHERE account = 'reserved_inr' AND amount > 0", "O-hold"),
        ("UPDATE orders SET action = 'buy' WHERE action = 'sell'", "O-once"),
        ("UPDATE idempotency_keys SET `key` = 'no' WHERE `key` = 'key-0'", "O-once"),
        ("DELETE FROM idempotency_keys WHERE `key` = 'key-1'", "O-once"),
    ],
)  # fmt: skip
def test_what_was_doctored_is_found(
    statement: str, rule: str, tamper: Callable[..., None], broken: Callable[[], set[str]]
) -> None:
    tamper(statement.replace("<fill>", FIRST_FILL))
    assert rule in broken()


def test_a_fill_that_happened_twice_is_found(
    app: Flask, tamper: Callable[..., None], broken: Callable[[], set[str]], told: Told
) -> None:
    """Two transactions say that they closed one order: what the unique column refuses."""
    number: Any = told.placed[0].order_id
    other: Any = told.placed[1].order_id
    with app.app_context(), db.engine.connect() as connection:
        found = read_orders(connection)
    found.closings[number] += found.closings.pop(other)
    assert "O-end" in {result.name for result in check_orders(found, told) if not result.is_ok}
