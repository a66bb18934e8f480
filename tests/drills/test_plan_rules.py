"""The rules for recurring plans are checked: they pass honest runs, and fail on each kind of tampering."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade.extensions import db
from bittrade.services import plans
from drills.plans import judge, read_runs
from tests.fixtures import Person

HOURLY = {"plan_type": "DCA_BUY", "frequency": "HOURLY", "amount_per_execution_inr": 1000}


@pytest.fixture
def broken(
    app: Flask, client: FlaskClient, make_user: Callable[..., Person], price: None
) -> Callable[[], set[str]]:
    """One plan whose start was two and a half hours ago: two runs were missed, one was made."""
    person = make_user(inr=100_000)
    assert client.post("/api/dca-plans", json=HOURLY, headers=person.headers).status_code == 201
    with app.app_context(), db.engine.begin() as connection:
        start = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=2.5)
        moved = sa.text("UPDATE recurring_plans SET start_at = :start, due_at = :start, attempt_at = :start")
        connection.execute(moved, {"start": start})
    with app.app_context():
        assert plans.run_due() == 1

    def names() -> set[str]:
        with app.app_context(), db.engine.connect() as connection:
            found = read_runs(connection, datetime.now(UTC))
        return {result.name for result in judge(found) if not result.is_ok}

    return names


def test_honest_runs_pass(broken: Callable[[], set[str]]) -> None:
    assert broken() == set()


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("DELETE FROM plan_runs WHERE outcome = 'skipped' LIMIT 1", "P-once"),
        ("UPDATE plan_runs SET due_at = due_at + INTERVAL 1 SECOND", "P-once"),
        ("DELETE FROM plan_runs WHERE outcome = 'executed'", "P-trade"),
        ("UPDATE plan_runs SET btc_amount = btc_amount + 1 WHERE outcome = 'executed'", "P-trade"),
        ("UPDATE plan_runs SET reason = NULL WHERE outcome = 'skipped'", "P-trade"),
        ("UPDATE recurring_plans SET executions = executions + 1", "P-sums"),
        ("UPDATE recurring_plans SET status = 'COMPLETED', remaining_executions = 3", "P-sums"),
    ],
)
def test_what_was_doctored_is_found(
    app: Flask, statement: str, rule: str, broken: Callable[[], set[str]]
) -> None:
    with app.app_context(), db.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            pytest.skip("needs MariaDB")  # the statements are in its words
        assert connection.execute(sa.text(statement)).rowcount
    assert rule in broken()
