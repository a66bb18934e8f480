"""Recurring plans over REST, and their runs: each due time exactly once, each explained."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import wire
from bittrade.extensions import db
from bittrade.models import PlanRun, RecurringPlan
from bittrade.services import halt, ledger, plans
from tests.fixtures import Person, set_price, together

DAILY = {"plan_type": "DCA_BUY", "frequency": "DAILY", "amount_per_execution_inr": 1000}


@pytest.fixture
def user(make_user: Callable[..., Person], price: None) -> Person:
    return make_user(inr=10_000, btc=500_000)


def create(client: FlaskClient, user: Person, **changes: Any) -> Any:
    return client.post("/api/dca-plans", json={**DAILY, **changes}, headers=user.headers)


def only_plan(client: FlaskClient, user: Person) -> dict[str, Any]:
    (plan,) = client.get("/api/dca-plans", headers=user.headers).get_json()["plans"]
    return plan


def runs(client: FlaskClient, user: Person, plan_id: int) -> list[tuple[str, str | None]]:
    body = client.get(f"/api/dca-plans/{plan_id}/runs", headers=user.headers).get_json()
    return [(run["outcome"], run["reason"]) for run in body["runs"]]


def balance(client: FlaskClient, user: Person) -> int:
    return client.get("/api/balance", headers=user.headers).get_json()["available_inr"]


def run_due(app: Flask) -> None:
    with app.app_context():
        plans.run_due()


def let_pass(app: Flask, days: float) -> None:
    """Move every plan's times back, as if so much time had passed."""
    back = timedelta(days=days)
    with app.app_context(), db.engine.begin() as connection:
        rows = connection.execute(
            sa.select(
                RecurringPlan.id, RecurringPlan.start_at, RecurringPlan.due_at, RecurringPlan.attempt_at
            )
        ).all()
        for row in rows:
            connection.execute(
                sa.update(RecurringPlan)
                .where(RecurringPlan.id == row.id)
                .values(
                    start_at=row.start_at - back, due_at=row.due_at - back, attempt_at=row.attempt_at - back
                )
            )
        for run in connection.execute(sa.select(PlanRun.plan_id, PlanRun.due_at)).all():
            connection.execute(
                sa.update(PlanRun)
                .where(PlanRun.plan_id == run.plan_id, PlanRun.due_at == run.due_at)
                .values(due_at=run.due_at - back)
            )


def verify(app: Flask) -> None:
    with app.app_context():
        assert ledger.verify().faults == ()


def test_a_plan_trades_at_once_and_then_each_day(app: Flask, client: FlaskClient, user: Person) -> None:
    answer = create(client, user, remaining_executions=3)
    assert answer.status_code == 201
    plan_id = answer.get_json()["planId"]
    run_due(app)
    run_due(app)
    plan = only_plan(client, user)
    assert (plan["status"], plan["total_executions"], plan["remaining_executions"]) == ("ACTIVE", 1, 2)
    assert plan["performance"] == {
        "total_executed": 1,
        "total_invested": 1000,
        "total_btc": 24_420,
        "avg_price": 4_095_004,
    }
    assert [run["execution_price"] for run in plan["recent_executions"]] == [4_095_000]
    tomorrow = datetime.fromisoformat(plan["next_execution_at"])
    assert timedelta(hours=23) < tomorrow - wire.now() <= timedelta(days=1)
    for _ in range(2):
        let_pass(app, 1)
        run_due(app)
    plan = only_plan(client, user)
    assert (plan["status"], plan["remaining_executions"]) == ("COMPLETED", 0)
    assert plan["completed_at"] is not None
    let_pass(app, 5)
    run_due(app)
    assert runs(client, user, plan_id) == [("executed", None)] * 3
    assert balance(client, user) == 7000
    kinds = client.get("/api/transactions?type=DCA_BUY", headers=user.headers).get_json()["transactions"]
    assert len(kinds) == 3
    verify(app)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_per_execution_btc": 1000},
        {"amount_per_execution_inr": None},
        {"amount_per_execution_inr": "1.5"},
        {"amount_per_execution_inr": -1},
        {"frequency": "YEARLY"},
        {"plan_type": "DCA_HOLD"},
        {"time_zone": "Mars/Olympus"},
        {"remaining_executions": 0},
        {"start_at": "2001-01-01T00:00:00Z"},
        {"start_at": "2100-01-01T00:00:00Z"},
        {"min_price": 2, "max_price": 1},
    ],
)
def test_what_is_no_plan_is_refused(client: FlaskClient, user: Person, changes: dict[str, Any]) -> None:
    assert create(client, user, **changes).status_code == 400
    assert client.get("/api/dca-plans", headers=user.headers).get_json()["total_plans"] == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_price": 4_094_999}, "price_above_max"),
        ({"min_price": 4_095_001}, "price_below_min"),
        ({"amount_per_execution_inr": 10_001}, "insufficient_funds"),
        ({"amount_per_execution_inr": 10**12}, "order_out_of_range"),
    ],
)
def test_a_run_that_is_skipped_says_why(
    app: Flask, client: FlaskClient, user: Person, changes: dict[str, Any], reason: str
) -> None:
    plan_id = create(client, user, **changes).get_json()["planId"]
    run_due(app)
    run_due(app)
    assert runs(client, user, plan_id) == [("skipped", reason)]
    assert balance(client, user) == 10_000


def test_a_run_while_trading_is_halted_is_skipped(app: Flask, client: FlaskClient, user: Person) -> None:
    plan_id = create(client, user).get_json()["planId"]
    with app.app_context():
        halt.halt_trading("a test")
    run_due(app)
    assert runs(client, user, plan_id) == [("skipped", "trading_halted")]


def test_three_runs_without_the_money_pause_the_plan(app: Flask, client: FlaskClient, user: Person) -> None:
    plan_id = create(client, user, amount_per_execution_inr=10_001).get_json()["planId"]
    for _ in range(4):
        run_due(app)
        let_pass(app, 1)
    assert only_plan(client, user)["status"] == "PAUSED"
    assert runs(client, user, plan_id) == [("skipped", "insufficient_funds")] * 3


def test_a_run_waits_for_a_price_until_the_next_is_due(app: Flask, client: FlaskClient, user: Person) -> None:
    plan_id = create(client, user).get_json()["planId"]
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM bitcoin_data"))
    run_due(app)
    assert runs(client, user, plan_id) == []
    set_price(app)
    let_pass(app, 0.01)
    run_due(app)
    assert runs(client, user, plan_id) == [("executed", None)]
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM bitcoin_data"))
    let_pass(app, 1)
    run_due(app)
    set_price(app)
    let_pass(app, 1)
    run_due(app)
    assert runs(client, user, plan_id) == [
        ("executed", None),
        ("skipped", "rates_unavailable"),
        ("executed", None),
    ]


def test_after_an_outage_the_latest_run_is_made_up_and_older_ones_are_recorded_as_missed(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    plan_id = create(client, user).get_json()["planId"]
    run_due(app)
    let_pass(app, 4)
    run_due(app)
    missed = ("skipped", "missed")
    assert runs(client, user, plan_id) == [("executed", None), *[missed] * 3, ("executed", None)]
    assert balance(client, user) == 8000
    verify(app)


def test_many_runners_run_a_due_time_once(app: Flask, client: FlaskClient, user: Person) -> None:
    for _ in range(3):
        create(client, user, amount_per_execution_inr=100)
    together(4, lambda _: run_due(app))
    assert balance(client, user) == 9700
    verify(app)


def test_a_paused_plan_does_not_run_and_a_resumed_one_goes_on_at_its_next_time(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    plan_id = create(client, user).get_json()["planId"]
    path = f"/api/dca-plans/{plan_id}/status"
    assert client.patch(path, json={"status": "PAUSED"}, headers=user.headers).status_code == 200
    run_due(app)
    assert balance(client, user) == 10_000
    let_pass(app, 3.5)
    assert client.patch(path, json={"status": "ACTIVE"}, headers=user.headers).status_code == 200
    run_due(app)
    assert runs(client, user, plan_id) == []
    let_pass(app, 0.51)
    run_due(app)
    assert runs(client, user, plan_id) == [("executed", None)]
    assert client.patch(path, json={"status": "ENDED"}, headers=user.headers).status_code == 400


def test_a_plan_that_was_ended_keeps_its_history(app: Flask, client: FlaskClient, user: Person) -> None:
    plan_id = create(client, user).get_json()["planId"]
    run_due(app)
    body = client.delete(f"/api/dca-plans/{plan_id}", headers=user.headers).get_json()
    assert (body["planId"], body["planType"], body["relatedTransactionsDeleted"]) == (plan_id, "DCA_BUY", 0)
    assert client.get("/api/dca-plans", headers=user.headers).get_json()["total_plans"] == 0
    assert client.delete(f"/api/dca-plans/{plan_id}", headers=user.headers).status_code == 404
    rows = client.get("/api/transactions", headers=user.headers).get_json()["transactions"]
    assert rows[0]["type"] == "DCA_BUY"
    let_pass(app, 2)
    run_due(app)
    assert balance(client, user) == 9000


def test_one_key_creates_one_plan(client: FlaskClient, user: Person) -> None:
    headers = {**user.headers, "Idempotency-Key": "p1"}
    first = client.post("/api/dca-plans", json=DAILY, headers=headers)
    again = client.post("/api/dca-plans", json=DAILY, headers=headers)
    assert first.get_json() == again.get_json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert client.get("/api/dca-plans", headers=user.headers).get_json()["total_plans"] == 1


def test_another_s_plan_is_not_found(
    client: FlaskClient, user: Person, make_user: Callable[..., Person]
) -> None:
    plan_id, other = create(client, user).get_json()["planId"], make_user()
    assert client.get(f"/api/dca-plans/{plan_id}/runs", headers=other.headers).status_code == 404
    assert client.delete(f"/api/dca-plans/{plan_id}", headers=other.headers).status_code == 404
    answer = client.patch(
        f"/api/dca-plans/{plan_id}/status", json={"status": "PAUSED"}, headers=other.headers
    )
    assert answer.status_code == 404


def test_a_plan_that_nobody_runs_is_late(app: Flask, client: FlaskClient, user: Person) -> None:
    def doctor() -> str:
        return app.test_cli_runner().invoke(args=["doctor"]).output

    create(client, user)
    with app.app_context():
        assert plans.find_late(by_s=60) == 0
    assert "recurring plans" not in doctor()
    let_pass(app, 0.1)
    with app.app_context():
        assert plans.find_late(by_s=60) == 1
    assert "1 runs of recurring plans are late" in doctor()
