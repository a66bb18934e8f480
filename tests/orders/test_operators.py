"""The operators' commands for limit orders and recurring plans."""

import json

import pytest
from flask import Flask

from tests.orders.conftest import Customer, run_due, verify


def command(app: Flask, *words: object) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=[str(word) for word in words])
    return result.exit_code, result.output


def newest_activity(customer: Customer) -> dict[str, object]:
    return customer.get("/api/account/activity")["events"][0]


def test_an_operator_lists_and_shows_orders(app: Flask, customer: Customer) -> None:
    first, second = customer.place(), customer.place(limit_price=3_900_000)
    customer.cancel(first["id"])
    status, said = command(app, "orders", "list")
    assert status == 0
    assert [line.split("\t")[0] for line in said.splitlines()] == [str(second["id"]), str(first["id"])]
    _, said = command(app, "orders", "list", "--user", customer.person.email, "--status", "OPEN")
    assert said.split("\t")[:7] == [
        str(second["id"]), str(customer.person.id), "LIMIT_BUY", "OPEN", "3900000", "1000", "inr",
    ]  # fmt: skip
    status, said = command(app, "orders", "show", second["id"])
    shown = json.loads(said)
    assert (status, shown["user_id"], shown["reserved_inr"]) == (0, customer.person.id, 1000)


def test_an_operator_cancels_an_order_and_its_owner_reads_why(app: Flask, customer: Customer) -> None:
    order = customer.place()
    assert command(app, "orders", "cancel", order["id"], "--why", "asked by phone")[0] == 0
    body = customer.get(f"/api/orders/{order['id']}")
    assert (body["status"], body["reason"]) == ("CANCELLED", "asked by phone")
    assert customer.holdings() == (10_000, 500_000, 0, 0)
    event = newest_activity(customer)
    assert (event["action"], event["by"]) == ("order_cancelled", "staff")
    assert event["facts"] == {"order_id": order["id"], "why": "asked by phone"}
    status, said = command(app, "orders", "cancel", order["id"], "--why", "again")
    assert (status, "not open" in said) == (1, True)
    verify(app)


@pytest.mark.parametrize("why", ["", "  ", "—", "x" * 256])
def test_a_step_needs_a_reason_that_says_something_and_fits(app: Flask, customer: Customer, why: str) -> None:
    order = customer.place()
    assert command(app, "orders", "cancel", order["id"], "--why", why)[0] == 1
    assert customer.get(f"/api/orders/{order['id']}")["status"] == "OPEN"


@pytest.mark.parametrize(
    "words",
    [
        ("orders", "show", 999),
        ("orders", "cancel", 999, "--why", "x"),
        ("plans", "show", 999),
        ("plans", "cancel", 999, "--why", "x"),
        ("plans", "pause", 999, "--why", "x"),
        ("orders", "list", "--user", "nobody@example.com"),
    ],
)
def test_what_is_not_there_is_one_line_and_status_1(app: Flask, words: tuple[object, ...]) -> None:
    status, said = command(app, *words)
    assert (status, said.count("\n")) == (1, 1)


def test_an_operator_lists_and_shows_plans(app: Flask, customer: Customer) -> None:
    bought, sold = customer.plan(), customer.plan(
        plan_type="DCA_SELL", amount_per_execution_inr=None, amount_per_execution_btc=1000
    )  # fmt: skip
    run_due(app)
    _, said = command(app, "plans", "list", "--status", "ACTIVE", "--user", customer.person.email)
    rows = [line.split("\t") for line in said.splitlines()]
    assert [row[0] for row in rows] == [str(sold), str(bought)]
    assert rows[0][1:7] == [str(customer.person.id), "DCA_SELL", "ACTIVE", "DAILY", "1000", "btc"]
    shown = json.loads(command(app, "plans", "show", bought)[1])
    assert (shown["user_id"], shown["recent_executions"][0]["outcome"]) == (customer.person.id, "executed")


def test_an_operator_pauses_a_plan_and_then_ends_it(app: Flask, customer: Customer) -> None:
    plan_id = customer.plan()
    assert command(app, "plans", "pause", plan_id, "--why", "it looks like a slip")[0] == 0
    run_due(app)
    assert customer.holdings()[0] == 10_000
    assert customer.get("/api/dca-plans")["paused_plans"] == 1
    event = newest_activity(customer)
    assert (event["action"], event["by"]) == ("plan_paused", "staff")
    assert event["facts"] == {"plan_id": plan_id, "why": "it looks like a slip"}
    assert command(app, "plans", "cancel", plan_id, "--why", "it was")[0] == 0
    assert newest_activity(customer)["facts"] == {"plan_id": plan_id, "why": "it was"}
    assert customer.get("/api/dca-plans")["total_plans"] == 0
    assert json.loads(command(app, "plans", "show", plan_id)[1])["status"] == "CANCELLED"
    assert command(app, "plans", "cancel", plan_id, "--why", "twice")[0] == 1
    assert command(app, "plans", "pause", plan_id, "--why", "late")[0] == 1
