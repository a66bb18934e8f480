"""What waits on purpose (a disabled account), what waits for nobody (lateness), and what fails again and again."""

import logging
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import wire
from bittrade.extensions import db
from bittrade.models import BitcoinData, LimitOrderRow, RecurringPlan
from bittrade.services import auth, health, orders
from bittrade.services.orders import matching
from tests.fixtures import set_price
from tests.orders.conftest import Customer, fall, match, run_due, verify


def switch(app: Flask, customer: Customer, *, on: bool) -> None:
    with app.app_context():
        (auth.enable_user if on else auth.disable_user)(customer.person.email)


def statuses(app: Flask) -> list[str]:
    with app.app_context(), db.engine.connect() as connection:
        return list(connection.scalars(sa.select(LimitOrderRow.status).order_by(LimitOrderRow.id)))


def age(app: Flask, *columns: sa.orm.InstrumentedAttribute, by_s: int) -> None:  # type: ignore[type-arg]
    """Let rows be older."""
    with app.app_context(), db.engine.begin() as connection:
        for column in columns:
            at = wire.now() - timedelta(seconds=by_s)
            connection.execute(sa.update(column.class_).values({column.key: at}))


def doctor(app: Flask) -> str:
    return app.test_cli_runner().invoke(args=["doctor"]).output


def late(app: Flask, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    monkeypatch.setattr(health, "_memory", health._Memory())
    with app.app_context():
        report = health.check()
    return report["status"], report["late"]


def test_the_orders_of_a_disabled_account_wait_until_it_is_enabled(app: Flask, customer: Customer) -> None:
    customer.place()
    switch(app, customer, on=False)
    fall(app)
    assert match(app) == 0
    assert statuses(app) == ["OPEN"]
    with app.app_context():
        assert not orders.has_unfilled(by_s=0)
    switch(app, customer, on=True)
    assert match(app) == 1
    verify(app)


def test_a_disabled_account_does_not_hold_up_the_others(
    app: Flask, customer: Customer, new_customer: object
) -> None:
    customer.place(limit_price=4_050_000)
    other = new_customer(inr=1000)  # type: ignore[operator]
    other.place()
    switch(app, customer, on=False)
    fall(app)
    assert match(app) == 1
    assert statuses(app) == ["OPEN", "FILLED"]


def test_an_operator_can_cancel_the_order_of_a_disabled_account(app: Flask, customer: Customer) -> None:
    order = customer.place()
    switch(app, customer, on=False)
    with app.app_context():
        assert orders.cancel_as_operator(order["id"], why="the account is shut")["status"] == "CANCELLED"
    verify(app)


def test_the_plans_of_a_disabled_account_skip_their_runs(app: Flask, customer: Customer) -> None:
    customer.plan()
    switch(app, customer, on=False)
    run_due(app)
    run_due(app)
    with app.app_context(), db.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT outcome, reason FROM plan_runs")).all()
    assert [tuple(row) for row in rows] == [("skipped", "account_disabled")]
    verify(app)


def test_orders_that_the_price_reached_long_ago_are_late(
    app: Flask, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer.place()
    age(app, LimitOrderRow.created_at, BitcoinData.created_at, by_s=100)
    fall(app)
    assert late(app, monkeypatch) == ("OK", [])  # within the minute it was too dear, too
    age(app, BitcoinData.created_at, by_s=70)
    with app.app_context(), db.engine.begin() as connection:  # the dear one was before all of it
        first = sa.select(sa.func.min(BitcoinData.id)).scalar_subquery()
        dear = sa.update(BitcoinData).where(BitcoinData.id == connection.scalar(sa.select(first)))
        connection.execute(dear.values(created_at=wire.now() - timedelta(seconds=200)))
    assert late(app, monkeypatch) == ("DEGRADED", ["matching"])
    assert "the price reached long ago are still open" in doctor(app)
    assert match(app) == 1
    assert late(app, monkeypatch) == ("OK", [])


def test_nothing_is_late_without_a_price_to_trade_on(app: Flask, customer: Customer) -> None:
    customer.place()
    with app.app_context():
        set_price(app, 40_000)
        age(app, LimitOrderRow.created_at, BitcoinData.created_at, BitcoinData.as_of, by_s=200)
        assert not orders.has_unfilled(by_s=60)


def test_plans_and_expired_orders_are_late_in_health(
    app: Flask, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer.plan()
    customer.place(time_in_force="gtd", expires_at="2100-01-01T00:00:00Z")
    age(app, LimitOrderRow.expires_at, RecurringPlan.attempt_at, by_s=100)
    assert late(app, monkeypatch) == ("DEGRADED", ["expired_orders", "plans"])


def test_an_order_that_fails_is_logged_seldom_and_holds_up_nobody(
    app: Flask, customer: Customer, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = customer.place(), customer.place()
    with app.app_context(), db.engine.begin() as connection:  # as a wrong hand could leave it
        wrong = sa.update(LimitOrderRow).where(LimitOrderRow.id == bad["id"])
        connection.execute(wrong.values(amount=9_000, reserved=9_000))
    fall(app)
    with caplog.at_level(logging.WARNING):
        assert match(app) == 1
        assert [match(app) for _ in range(3)] == [0, 0, 0]
    assert statuses(app) == ["OPEN", "FILLED"]
    lines = [record.getMessage() for record in caplog.records if "not filled" in record.getMessage()]
    assert len(lines) == 1
    assert f"order {bad['id']}" in lines[0]
    assert good["id"] != bad["id"]


def test_a_plan_that_fails_is_put_off_and_logged_seldom(
    app: Flask, customer: Customer, caplog: pytest.LogCaptureFixture
) -> None:
    bad, _good = customer.plan(), customer.plan()
    with app.app_context(), db.engine.begin() as connection:
        wrong = sa.update(RecurringPlan).where(RecurringPlan.id == bad)
        connection.execute(wrong.values(time_zone="Mars/Olympus"))
    with caplog.at_level(logging.WARNING):
        assert run_due(app) == 2
        assert run_due(app) == 0
    assert customer.holdings()[0] == 9000
    assert len([record for record in caplog.records if "did not run" in record.getMessage()]) == 1


def test_who_is_not_told_in_time_reads_the_truth_all_the_same(
    app: Flask, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer.place()
    assert customer.holdings()[2] == 1000
    monkeypatch.setattr(matching, "TELL_FOR_S", 0)
    fall(app)
    assert match(app) == 1
    assert customer.holdings() == (9000, 527_472, 0, 0)
