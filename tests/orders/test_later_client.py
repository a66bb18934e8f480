"""The later client's bodies and answers for orders and plans, field by field: what it sends is taken, what it reads is there."""

from datetime import datetime
from typing import Any

import pytest
from flask import Flask

from tests.orders.conftest import Customer, fall, match, run_due, verify

LIMIT_BUY = {"type": "LIMIT_BUY", "btc_amount": 25_000, "inr_amount": 1000, "execution_price": 4_000_000}
LIMIT_SELL = {"type": "LIMIT_SELL", "btc_amount": 100_000, "inr_amount": 4000, "execution_price": 4_000_000}
PLAN_FIELDS = {
    "id": int, "plan_type": str, "status": str, "frequency": str, "amount_per_execution_inr": (int, type(None)),
    "amount_per_execution_btc": (int, type(None)), "next_execution_at": (str, type(None)),
    "remaining_executions": (int, type(None)), "max_price": (int, type(None)), "min_price": (int, type(None)),
    "created_at": str, "completed_at": (str, type(None)), "total_executions": int, "recent_executions": list,
    "performance": dict,
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "held"), [(LIMIT_BUY, (9000, 500_000, 1000, 0)), (LIMIT_SELL, (10_000, 400_000, 0, 100_000))]
)
def test_a_limit_order_is_its_transaction_and_waits(
    app: Flask, customer: Customer, body: dict[str, Any], held: tuple[int, ...]
) -> None:
    answer = customer.ask("POST", "/api/orders", body)
    told = answer.get_json()
    assert answer.status_code == 201
    assert (told["transactionId"], told["type"], told["status"]) == (told["id"], body["type"], "OPEN")
    assert customer.holdings() == held
    row = customer.get("/api/transactions")["transactions"][0]
    assert (row["id"], row["type"], row["status"]) == (told["transactionId"], body["type"], "PENDING")
    assert row["execution_price"] == body["execution_price"]
    assert (row["inr_amount"], row["btc_amount"]) == (body["inr_amount"], body["btc_amount"])
    verify(app)


@pytest.mark.parametrize("figure", [1, 10**15, "nonsense", None, -5, 1.5])
def test_the_figure_that_the_client_computed_is_never_believed(customer: Customer, figure: object) -> None:
    told = customer.ask("POST", "/api/orders", {**LIMIT_BUY, "btc_amount": figure}).get_json()
    assert (told["inr_amount"], told["btc_amount"], told["reserved_inr"]) == (1000, 25_000, 1000)
    told = customer.ask("POST", "/api/orders", {**LIMIT_SELL, "inr_amount": figure}).get_json()
    assert (told["inr_amount"], told["btc_amount"], told["reserved_btc"]) == (4000, 100_000, 100_000)


@pytest.mark.parametrize(
    "change",
    [{"execution_price": None}, {"inr_amount": None}, {"inr_amount": 0}, {"inr_amount": -1}, {"type": "LIMIT_HOLD"}],
)  # fmt: skip
def test_a_refusal_is_a_string_in_error(customer: Customer, change: dict[str, Any]) -> None:
    answer = customer.ask("POST", "/api/orders", {**LIMIT_BUY, **change})
    assert answer.status_code == 400
    assert isinstance(answer.get_json()["error"], str)
    assert customer.holdings() == (10_000, 500_000, 0, 0)


@pytest.mark.parametrize(
    ("body", "released"), [(LIMIT_BUY, {"inr_amount": 1000}), (LIMIT_SELL, {"btc_amount": 100_000})]
)
def test_a_cancel_by_the_pending_row(
    app: Flask, customer: Customer, body: dict[str, Any], released: dict[str, int]
) -> None:
    number = customer.ask("POST", "/api/orders", body).get_json()["transactionId"]
    answer = customer.ask("DELETE", f"/api/transactions/{number}/cancel")
    told = answer.get_json()
    assert answer.status_code == 200
    assert isinstance(told["message"], str)
    assert (told["transactionId"], told["type"], told["funds_released"]) == (number, body["type"], released)
    assert customer.holdings() == (10_000, 500_000, 0, 0)
    verify(app)


def test_a_cancel_of_what_is_not_pending_or_not_there(app: Flask, customer: Customer) -> None:
    number = customer.ask("POST", "/api/orders", LIMIT_BUY).get_json()["transactionId"]
    fall(app)
    assert match(app) == 1
    assert customer.ask("DELETE", f"/api/transactions/{number}/cancel").status_code == 400
    trade = customer.trade(100).get_json()["id"]
    assert customer.ask("DELETE", f"/api/transactions/{trade}/cancel").status_code in (400, 404)
    assert customer.ask("DELETE", "/api/transactions/999999/cancel").status_code == 404


def test_a_fill_is_an_executed_row(app: Flask, customer: Customer) -> None:
    number = customer.ask("POST", "/api/orders", LIMIT_BUY).get_json()["id"]
    fall(app)
    match(app)
    rows = customer.get("/api/transactions")["transactions"]
    row = next(row for row in rows if row["type"] == "LIMIT_BUY")
    assert (row["status"], row["order_id"], row["execution_price"]) == ("EXECUTED", number, 3_640_000)
    assert (row["inr_amount"], row["btc_amount"]) == (1000, 27_472)


def test_a_plan_is_created_read_paused_resumed_and_deleted(app: Flask, customer: Customer) -> None:
    wanted = {
        "plan_type": "DCA_SELL", "frequency": "WEEKLY", "amount_per_execution_btc": 10_000,
        "remaining_executions": 12, "max_price": 9_000_000, "min_price": 1_000_000,
    }  # fmt: skip
    answer = customer.ask("POST", "/api/dca-plans", wanted)
    assert answer.status_code == 201
    number = answer.get_json()["planId"]
    assert isinstance(answer.get_json()["message"], str)
    run_due(app)
    told = customer.get("/api/dca-plans")
    assert (told["total_plans"], told["active_plans"], told["paused_plans"]) == (1, 1, 0)
    (plan,) = told["plans"]
    for name, kind in PLAN_FIELDS.items():
        assert isinstance(plan[name], kind), name  # type: ignore[arg-type]
    same = {name: value for name, value in wanted.items() if name != "remaining_executions"}
    assert {name: plan[name] for name in same} == same
    assert (plan["id"], plan["status"], plan["remaining_executions"]) == (number, "ACTIVE", 11)
    assert plan["amount_per_execution_inr"] is None
    assert plan["performance"].keys() >= {"total_invested", "total_btc", "avg_price", "total_executed"}
    assert (plan["performance"]["total_invested"], plan["performance"]["total_btc"]) == (396, 10_000)
    assert len(plan["recent_executions"]) == 1
    assert datetime.fromisoformat(plan["next_execution_at"]) > datetime.fromisoformat(plan["created_at"])
    for status, count in (("PAUSED", 1), ("ACTIVE", 0)):
        answer = customer.ask("PATCH", f"/api/dca-plans/{number}/status", {"status": status})
        assert (answer.status_code, type(answer.get_json()["message"])) == (200, str)
        assert customer.get("/api/dca-plans")["paused_plans"] == count
    answer = customer.ask("DELETE", f"/api/dca-plans/{number}")
    told = answer.get_json()
    assert answer.status_code == 200
    assert isinstance(told["message"], str)
    assert (told["planId"], told["planType"], told["relatedTransactionsDeleted"]) == (number, "DCA_SELL", 0)
    assert customer.get("/api/dca-plans")["plans"] == []
    verify(app)


def test_a_plan_without_an_end_says_null(customer: Customer) -> None:
    customer.plan()
    (plan,) = customer.get("/api/dca-plans")["plans"]
    nothing = ("remaining_executions", "max_price", "min_price", "completed_at", "amount_per_execution_btc")
    assert [plan[name] for name in nothing] == [None] * len(nothing)


def test_a_plan_shows_its_latest_runs(app: Flask, customer: Customer) -> None:
    customer.plan()
    (plan,) = customer.get("/api/dca-plans")["plans"]
    assert plan["recent_executions"] == []
    run_due(app)
    (plan,) = customer.get("/api/dca-plans")["plans"]
    (run,) = plan["recent_executions"]
    assert (run["outcome"], run["inr_amount"], run["execution_price"]) == ("executed", 1000, 4_095_000)
