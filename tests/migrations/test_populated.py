"""Imported history, transfers and loans come to databases that are in use: nothing of what was there changes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import wire
from bittrade.extensions import db
from bittrade.models import LoanRow
from bittrade.services import ledger, loans, orders, plans
from bittrade.services.loans.book import columns_of
from bittrade.services.node_import import writing
from bittrade.services.node_import.conversion import Account, Opening, PastTransaction
from tests.fixtures import MIGRATIONS, Person, new_user, set_price
from tests.migrations.conftest import upgrade
from tests.migrations.test_migrations import differences

THEN = datetime(2025, 5, 6, 7, 8, 9, tzinfo=UTC)
# By user: 1 is safe at 3,960,000 rupees, 2 is called at 2,900,000 and 3 sold, 4 pledged only, 5 owes without a pledge.
OPENINGS = (
    Opening(inr=500, btc=7, collateral_btc=10_000_000, borrowed_inr=100_000),
    Opening(inr=500, collateral_btc=10_000_000, borrowed_inr=199_000, interest_accrued=6_000),
    Opening(collateral_btc=10_000_000, borrowed_inr=240_000),
    Opening(collateral_btc=5_000),
    Opening(inr=900, borrowed_inr=300),
    Opening(inr=1000, btc=1000),
)
LENT = OPENINGS[:5]


def go_back(revision: str) -> None:
    flask_migrate.downgrade(directory=MIGRATIONS, revision=revision)


def ask(app: Flask, person: Person, method: str, path: str, body: Any = None) -> Any:
    answer = app.test_client().open(path, method=method, json=body, headers=person.headers)
    assert answer.status_code in (200, 201), answer.data
    return answer.get_json()


def import_accounts() -> None:
    """Accounts of another program, each with a row of its history there."""
    for number, opening in enumerate(OPENINGS, start=1):
        email = f"imported-{number}@example.com"
        past = PastTransaction(number, "DEPOSIT", "IMPORTED", "EXECUTED", 5, 0, None, THEN, THEN)
        writing.write({Account(number, email, email, "A Person", "x", THEN, opening): [past]})


def list_loans() -> list[dict[str, Any]]:
    with db.engine.connect() as connection:
        rows = connection.execute(sa.select(LoanRow.__table__).order_by(LoanRow.id)).mappings()
        return [dict(row) for row in rows]


def test_what_was_there_before_imports_transfers_and_loans_stays_as_it_was(empty: Flask) -> None:
    upgrade()
    set_price(empty)
    person = new_user(empty, inr=10_000, btc=500_000)
    trade = {"action": "buy", "type": "market", "amount": 1000, "currency": "inr"}
    ask(empty, person, "POST", "/api/trade", trade)
    limit = {"side": "buy", "type": "limit", "limit_price": 4_000_000, "amount": 100, "currency": "inr"}
    waits = {**limit, "limit_price": 3_000_000}
    for body in (limit, waits, waits):
        number = ask(empty, person, "POST", "/api/orders", body)["id"]
    ask(empty, person, "DELETE", f"/api/orders/{number}")
    plan = {"plan_type": "DCA_SELL", "frequency": "DAILY", "amount_per_execution_btc": 10_000}
    ask(empty, person, "POST", "/api/dca-plans", plan)
    set_price(empty, 40_000)
    assert (orders.match(), plans.run_due()) == (1, 1)
    paths = ("/api/transactions?limit=100&type=", "/api/orders", "/api/dca-plans", "/api/balance")
    before = {path: ask(empty, person, "GET", path) for path in paths}
    chains = list(ledger.write_digest())[1:]
    for _ in range(2):  # back to before imports, and up again
        go_back("0010")
        upgrade()
        assert {path: ask(empty, person, "GET", path) for path in paths} == before
        assert list(ledger.write_digest())[1:-1] == chains[:-1]
        assert ledger.verify().faults == ()
    assert differences() == []
    ask(empty, person, "POST", "/api/loans", {"collateral_btc": 100_000, "borrow_inr": 1000})
    other = new_user(empty)
    sent = {"recipientEmail": other.email, "amount": 10, "currency": "inr"}
    ask(empty, person, "POST", "/api/send-transaction", sent)
    assert ledger.verify().faults == ()


@pytest.fixture
def imported(empty: Flask) -> list[dict[str, Any]]:
    """A database of before loans with accounts that were imported; the loans that an import of today makes of them."""
    upgrade()
    import_accounts()
    of_today = list_loans()
    go_back("0012")
    return of_today


def test_an_imported_debt_becomes_the_loan_that_an_import_of_today_makes(
    imported: list[dict[str, Any]],
) -> None:
    began = wire.now() - timedelta(seconds=1)
    upgrade()
    found = list_loans()
    assert len(found) == len(imported) == len(LENT)
    for row, like in zip(found, imported, strict=True):
        assert began <= row.pop("interest_since") <= wire.now()
        like.pop("interest_since")
        assert row == like
    assert ledger.verify().faults == ()
    assert differences() == []


def test_an_upgrade_that_died_before_it_was_noted_opens_no_loan_twice(
    imported: list[dict[str, Any]],
) -> None:
    upgrade()
    once = list_loans()
    with db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0012'"))
    upgrade()
    assert list_loans() == once
    with (
        db.engine.begin() as connection
    ):  # and one that died before it knew from which rates on they are watched
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0012'"))
        connection.execute(sa.update(LoanRow).values(call_rate_inr=2**63 - 1))
    upgrade()
    assert list_loans() == once


@pytest.mark.usefixtures("imported")
def test_migrated_loans_are_called_sold_and_charged_as_any_other(empty: Flask) -> None:
    upgrade()
    set_price(empty, 45_000)
    assert loans.watch() == (0, 0)
    set_price(empty, 32_954)  # a bitcoin brings 2,899,952 rupees
    assert loans.watch() == (1, 1)
    states = {row["user_id"]: row for row in list_loans()}
    assert states[2]["margin_called_at"] is not None
    assert states[3]["collateral_btc"] < 10_000_000
    with db.engine.begin() as connection:
        connection.execute(sa.update(LoanRow).values(interest_since=wire.now() - timedelta(days=2)))
    assert loans.charge_due() == 4  # who owes nothing pays nothing
    for row in list_loans():
        loan = wire.loan_of(row)
        assert columns_of(loan)["liquidation_rate_inr"] == row["liquidation_rate_inr"]
    assert ledger.verify().faults == ()


@pytest.mark.usefixtures("imported")
def test_the_way_back_would_lose_what_was_imported() -> None:
    with pytest.raises(SystemExit, match="were imported"):
        go_back("0010")
    upgrade()  # from where that came to
    assert differences() == []
    assert ledger.verify().faults == ()
