"""Each answer about orders, plans, transfers and loans has the contract's fields, all of them and no others."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.orders.conftest import BUY, Customer, fall, match, run_due

ORDER = {
    "id", "client_order_id", "side", "type", "status", "limit_price", "amount", "currency", "inr_amount", "btc_amount",
    "reserved_inr", "reserved_btc", "execution_price", "filled_transaction_id", "time_in_force", "created_at",
    "expires_at", "filled_at", "cancelled_at", "reason",
}  # fmt: skip
BALANCE = {
    "available_inr", "available_btc", "reserved_inr", "reserved_btc", "collateral_btc", "borrowed_inr",
    "interest_accrued", "seq",
}  # fmt: skip
RUN = {
    "due_at", "executed_at", "outcome", "reason", "transaction_id", "execution_price", "inr_amount", "btc_amount",
}  # fmt: skip
PLAN = {
    "id", "plan_type", "status", "frequency", "time_zone", "amount_per_execution_inr", "amount_per_execution_btc",
    "next_execution_at", "remaining_executions", "max_price", "min_price", "created_at", "completed_at",
    "total_executions", "recent_executions", "performance",
}  # fmt: skip
LOAN = {
    "id", "status", "collateral_btc", "borrowed_inr", "interest_accrued", "debt_inr", "interest", "ltv_pct",
    "margin_call_rate_inr", "liquidation_rate_inr", "available_to_borrow_inr", "sell_rate_inr", "max_ltv_pct",
    "margin_call_ltv_pct", "liquidation_ltv_pct", "margin_called_at", "created_at", "closed_at",
}  # fmt: skip
STEP = LOAN | {"transactionId", "client_order_id", "seq", "updated_balance"}
MOMENT = "2100-01-01T00:00:00.000Z"


def told(
    customer: Customer, method: str, path: str, body: Any = None, *, status: int = 200
) -> dict[str, Any]:
    answer = customer.ask(method, path, body)
    assert answer.status_code == status, answer.data
    found: dict[str, Any] = answer.get_json()
    return found


def test_an_order_as_it_is_placed_read_listed_and_cancelled(customer: Customer) -> None:
    body = {**BUY, "time_in_force": "gtd", "expires_at": MOMENT, "client_order_id": "mine"}
    placed = told(customer, "POST", "/api/orders", body, status=201)
    order = {name: placed[name] for name in ORDER}
    assert order == {
        "id": placed["transactionId"],
        "client_order_id": "mine",
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
        "time_in_force": "gtd",
        "created_at": placed["created_at"],
        "expires_at": MOMENT,
        "filled_at": None,
        "cancelled_at": None,
        "reason": None,
    }
    assert placed.keys() == ORDER | {"transactionId", "seq", "updated_balance"}
    assert placed["updated_balance"].keys() == BALANCE
    assert placed["updated_balance"]["seq"] == placed["seq"]
    assert customer.get(f"/api/orders/{order['id']}") == order
    assert customer.get("/api/orders?status=OPEN&limit=5") == {
        "orders": [order],
        "limit": 5,
        "hasMore": False,
        "next_before_id": None,
    }
    cancelled = told(customer, "DELETE", f"/api/orders/{order['id']}")
    assert cancelled.keys() == ORDER | {"updated_balance"}
    assert cancelled["updated_balance"].keys() == BALANCE
    changed = {"status": "CANCELLED", "reserved_inr": 0, "cancelled_at": cancelled["cancelled_at"]}
    assert {name: cancelled[name] for name in ORDER} == order | changed
    refused = told(customer, "DELETE", f"/api/orders/{order['id']}", status=409)
    assert (refused["code"], refused["order"].keys()) == ("order_not_open", ORDER)


def test_an_order_as_it_is_filled(app: Flask, customer: Customer) -> None:
    order = customer.place({**BUY, "amount": "0.0001", "currency": "btc"})
    fall(app)
    assert match(app) == 1
    filled = customer.get(f"/api/orders/{order['id']}")
    row = customer.get(f"/api/transactions/{filled['filled_transaction_id']}")
    assert filled == {name: order[name] for name in ORDER} | {
        "status": "FILLED",
        "inr_amount": 364,
        "btc_amount": 10_000,
        "reserved_inr": 0,
        "execution_price": 3_640_000,
        "filled_transaction_id": row["id"],
        "filled_at": row["executed_at"],
    }
    assert (row["type"], row["status"], row["order_id"]) == ("LIMIT_BUY", "EXECUTED", order["id"])


def test_what_a_preview_and_a_cancel_of_all_say(customer: Customer) -> None:
    preview = told(customer, "POST", "/api/orders/preview", BUY)
    assert preview.keys() == {
        "side", "type", "limit_price", "inr_amount", "btc_amount", "reserved_inr", "reserved_btc", "fills_now",
        "updated_balance",
    }  # fmt: skip
    assert preview["updated_balance"].keys() == BALANCE - {"seq"}
    customer.place()
    ended = told(customer, "DELETE", "/api/orders")
    assert ended.keys() == {"cancelled", "orders"}
    assert [order.keys() for order in ended["orders"]] == [ORDER]


def test_the_later_client_s_cancel(customer: Customer) -> None:
    order = customer.place()
    assert told(customer, "DELETE", f"/api/transactions/{order['id']}/cancel") == {
        "message": "Order cancelled",
        "transactionId": order["id"],
        "type": "LIMIT_BUY",
        "funds_released": {"inr_amount": 1000},
    }


def test_a_plan_in_every_answer(app: Flask, customer: Customer) -> None:
    body = {"plan_type": "DCA_BUY", "frequency": "DAILY", "amount_per_execution_inr": 1000}
    made = told(customer, "POST", "/api/dca-plans", body, status=201)
    assert made.keys() == {"planId", "message", "plan"}
    assert made["plan"].keys() == PLAN
    run_due(app)
    listed = customer.get("/api/dca-plans")
    assert listed.keys() == {"plans", "total_plans", "active_plans", "paused_plans"}
    (plan,) = listed["plans"]
    assert plan.keys() == PLAN
    assert plan["performance"].keys() == {"total_executed", "total_invested", "total_btc", "avg_price"}
    runs = customer.get(f"/api/dca-plans/{made['planId']}/runs")
    assert runs == {"planId": made["planId"], "runs": plan["recent_executions"], "hasMore": False}
    assert runs["runs"][0].keys() == RUN
    paused = told(customer, "PATCH", f"/api/dca-plans/{made['planId']}/status", {"status": "PAUSED"})
    assert (paused.keys(), paused["plan"]["status"]) == ({"message", "plan"}, "PAUSED")
    ended = told(customer, "DELETE", f"/api/dca-plans/{made['planId']}")
    assert ended.keys() == {"message", "planId", "planType", "relatedTransactionsDeleted"}


def test_a_transfer(customer: Customer, new_customer: Callable[..., Customer]) -> None:
    body = {"recipientEmail": new_customer().person.email, "amount": 10, "currency": "inr"}
    sent = told(customer, "POST", "/api/send-transaction", body)
    assert sent.keys() == {
        "message", "recipient", "amount", "currency", "inr_amount", "btc_amount", "senderTransactionId",
        "recipientTransactionId", "timestamp", "client_order_id", "seq", "updated_balance",
    }  # fmt: skip
    assert sent["recipient"].keys() == {"name", "email"}
    assert sent["updated_balance"].keys() == BALANCE


@pytest.mark.parametrize(
    ("step", "body", "fields"),
    [
        ("borrow", {"amount_inr": 10}, {"interest_charged_inr"}),
        (
            "repay",
            {"amount_inr": 10},
            {"interest_charged_inr", "repaid_inr", "interest_paid_inr", "principal_paid_inr"},
        ),
        ("add-collateral", {"collateral_btc": 10}, {"interest_charged_inr"}),
        ("withdraw-collateral", {"collateral_btc": 10}, {"interest_charged_inr"}),
    ],
)
def test_a_loan_in_every_answer(
    customer: Customer, step: str, body: dict[str, int], fields: set[str]
) -> None:
    made = told(customer, "POST", "/api/loans", {"collateral_btc": 100_000, "borrow_inr": 1000}, status=201)
    assert made.keys() == STEP
    assert customer.get(f"/api/loans/{made['id']}").keys() == LOAN
    listed = customer.get("/api/loans")
    assert listed.keys() == {"loans", "active_loans", "total_collateral_btc", "total_debt_inr"}
    assert listed["loans"][0].keys() == LOAN
    assert made["interest"].keys() == {"yearly_rate_bps", "accrued_inr", "uncharged_micro_inr", "charged_at"}
    done = told(customer, "POST", f"/api/loans/{made['id']}/{step}", body)
    assert done.keys() == STEP | fields
    assert done["updated_balance"].keys() == BALANCE
