"""What sockets hear of orders, plans and loans is what REST answers at that moment, and only their owner hears it."""

from typing import Any

import pytest
from flask import Flask

from bittrade.services import loans
from tests.fixtures import set_price
from tests.orders.conftest import Customer, fall, match, run_due
from tests.sockets.conftest import Client, Connect, MakeUser, member

pytestmark = pytest.mark.usefixtures("price")


@pytest.fixture
def customer(app: Flask, make_user: MakeUser) -> Customer:
    return Customer(make_user(inr=10_000, btc=1_000_000), app)


@pytest.fixture
def socket(connect: Connect, customer: Customer) -> Client:
    return member(connect, customer.person.token)


@pytest.fixture
def stranger(connect: Connect, make_user: MakeUser) -> Client:
    return member(connect, make_user().token)


def heard(socket: Client, event: str) -> list[dict[str, Any]]:
    """The payloads of this event since it was last asked, without their times."""
    found = [dict(payload) for name, payload in socket.got() if name == event]
    for payload in found:
        assert payload.pop("timestamp").endswith("Z")
    return found


def test_each_change_of_an_order(app: Flask, customer: Customer, socket: Client, stranger: Client) -> None:
    first, second = customer.place(), customer.place(limit_price=3_000_000)
    assert [payload["order"]["id"] for payload in heard(socket, "user_order_update")] == [
        first["id"],
        second["id"],
    ]
    fall(app)
    assert match(app) == 1
    (payload,) = heard(socket, "user_order_update")
    assert payload == {"order": customer.get(f"/api/orders/{first['id']}")}
    assert payload["order"]["status"] == "FILLED"
    customer.cancel(second["id"])
    (payload,) = heard(socket, "user_order_update")
    assert payload == {"order": customer.get(f"/api/orders/{second['id']}")}
    assert payload["order"]["status"] == "CANCELLED"
    assert not {name for name, _ in stranger.got() if name.startswith("user_")}


def test_a_fill_is_heard_with_its_balance_and_its_transaction(
    app: Flask, customer: Customer, socket: Client
) -> None:
    order = customer.place()
    socket.got()
    fall(app)
    match(app)
    events = dict(socket.got())
    assert {"user_order_update", "user_balance_update", "user_transaction_update"} <= events.keys()
    assert events["user_balance_update"]["available_btc"] == customer.holdings()[1]
    newest = events["user_transaction_update"]["transactions"][0]
    assert (newest["type"], newest["order_id"]) == ("LIMIT_BUY", order["id"])


def test_each_change_of_the_plans(app: Flask, customer: Customer, socket: Client, stranger: Client) -> None:
    def is_told() -> dict[str, Any]:
        told = customer.get("/api/dca-plans")
        assert heard(socket, "user_dca_plans_update")[-1] == told
        return told

    number = customer.plan(remaining_executions=5)
    assert (is_told()["total_plans"], is_told_of(customer, number)["total_executions"]) == (1, 0)
    run_due(app)
    is_told()
    assert is_told_of(customer, number)["recent_executions"][0]["outcome"] == "executed"
    customer.ask("PATCH", f"/api/dca-plans/{number}/status", {"status": "PAUSED"})
    assert (is_told()["active_plans"], customer.get("/api/dca-plans")["paused_plans"]) == (0, 1)
    customer.ask("DELETE", f"/api/dca-plans/{number}")
    assert is_told() == {"plans": [], "total_plans": 0, "active_plans": 0, "paused_plans": 0}
    assert not {name for name, _ in stranger.got() if name.startswith("user_")}


def is_told_of(customer: Customer, number: int) -> dict[str, Any]:
    (plan,) = customer.get("/api/dca-plans")["plans"]
    assert plan["id"] == number
    found: dict[str, Any] = plan
    return found


def test_a_skipped_run_is_told_too(app: Flask, customer: Customer, socket: Client) -> None:
    customer.plan(max_price=1_000)
    socket.got()
    run_due(app)
    (payload,) = heard(socket, "user_dca_plans_update")
    assert payload["plans"][0]["recent_executions"][0]["reason"] == "price_above_max"


def test_each_change_of_a_loan_says_why(
    app: Flask, customer: Customer, socket: Client, stranger: Client
) -> None:
    def heard_of() -> list[tuple[str, str, bool]]:
        payloads = heard(socket, "user_loan_update")
        return [
            (payload["reason"], payload["loan"]["status"], payload["loan"]["margin_called_at"] is not None)
            for payload in payloads
        ]

    body = {"collateral_btc": 1_000_000, "borrow_inr": 19_800}  # half of what it would bring
    number = customer.ask("POST", "/api/loans", body).get_json()["id"]
    assert [told[1:] for told in heard_of()] == [("ACTIVE", False)]
    set_price(app, 32_000)  # 70.3 %
    with app.app_context():
        loans.watch()
    assert heard_of() == [("margin_call", "ACTIVE", True)]
    set_price(app, 27_000)  # 83.3 %
    with app.app_context():
        loans.watch()
    ((reason, status, _),) = heard_of()
    assert (reason, status) == ("partial_liquidation", "ACTIVE")
    path = f"/api/loans/{number}"
    customer.ask("POST", f"{path}/repay", {"amount_inr": 100_000})
    (payload,) = heard(socket, "user_loan_update")
    assert payload["loan"] == customer.get(path)
    assert payload["loan"]["debt_inr"] == 0
    assert not {name for name, _ in stranger.got() if name.startswith("user_")}
