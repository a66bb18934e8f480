"""Loans over REST: terms, borrowing, repaying, collateral, interest, margin calls and liquidations."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bittrade.extensions import db
from bittrade.models import Balance, BitcoinPriceEvent, LedgerLeg, LoanRow, Transaction
from bittrade.services import api_keys, halt, ledger, loans, settings
from bittrade.wire import now
from tests.fixtures import Person, set_price, together
from tests.security.conftest import bearer

# At the fixture's price a bitcoin brings 3,960,000 rupees: 0.1 of it is worth 396,000, half of that 198,000.
TENTH, MOST = 10_000_000, 198_000
NEW = {"collateral_btc": TENTH, "borrow_inr": MOST}
HOLDINGS = ("available_inr", "available_btc", "collateral_btc", "borrowed_inr", "interest_accrued")


@pytest.fixture
def user(make_user: Callable[..., Person], price: None) -> Person:
    return make_user(inr=10_000, btc=50_000_000)


def post(client: FlaskClient, user: Person, path: str, /, **body: Any) -> TestResponse:
    headers = body.pop("headers", {})
    return client.post(f"/api/loans{path}", json=body, headers={**user.headers, **headers})


def make(client: FlaskClient, user: Person, **change: Any) -> int:
    answer = post(client, user, "", **{**NEW, **change})
    assert answer.status_code == 201, answer.text
    return int(answer.get_json()["id"])


def loan_of(client: FlaskClient, user: Person, loan_id: int) -> dict[str, Any]:
    body: dict[str, Any] = client.get(f"/api/loans/{loan_id}", headers=user.headers).get_json()
    return body


def holdings(client: FlaskClient, user: Person) -> tuple[int, ...]:
    body = client.get("/api/balance", headers=user.headers).get_json()
    return tuple(body[name] for name in HOLDINGS)


def types(client: FlaskClient, user: Person) -> list[str]:
    rows = client.get("/api/transactions", headers=user.headers).get_json()["transactions"]
    return [row["type"] for row in rows if not row["type"].startswith("DEPOSIT")]


def watch(app: Flask) -> tuple[int, int]:
    with app.app_context():
        return loans.watch()


def pass_time(app: Flask, **time: float) -> None:
    """Let the loans be older."""
    with app.app_context(), db.engine.begin() as connection:
        for row in connection.execute(sa.select(LoanRow.id, LoanRow.interest_since)).all():
            since = row.interest_since - timedelta(**time)
            connection.execute(sa.update(LoanRow).where(LoanRow.id == row.id).values(interest_since=since))


def verify(app: Flask) -> None:
    with app.app_context():
        assert ledger.verify().faults == ()


def house(app: Flask, account: str) -> int:
    with app.app_context(), db.engine.connect() as connection:
        total = sa.select(sa.func.sum(LedgerLeg.amount)).where(
            LedgerLeg.account == account, LedgerLeg.asset == "INR"
        )
        return int(connection.scalar(total) or 0)


# --- terms and borrowing ------------------------------------------------------------------------------------------


def test_anybody_reads_the_terms(client: FlaskClient, price: None) -> None:
    assert client.get("/api/loans/terms").get_json() == {
        "max_ltv_pct": 50,
        "margin_call_ltv_pct": 70,
        "liquidation_ltv_pct": 80,
        "yearly_rate_bps": 1200,
        "max_loans": 20,
        "sell_rate_inr": 3_960_000,
    }


def test_a_loan_pledges_bitcoin_and_pays_rupees_out(app: Flask, client: FlaskClient, user: Person) -> None:
    answer = post(client, user, "", **NEW, client_order_id="house-1")
    assert answer.status_code == 201
    body = answer.get_json()
    expected = {
        "id": body["transactionId"],
        "status": "ACTIVE",
        "collateral_btc": TENTH,
        "borrowed_inr": MOST,
        "interest_accrued": 0,
        "debt_inr": MOST,
        "ltv_pct": 50,
        "margin_call_rate_inr": 2_828_571,
        "liquidation_rate_inr": 2_475_000,
        "available_to_borrow_inr": 0,
        "sell_rate_inr": 3_960_000,
        "max_ltv_pct": 50,
        "margin_call_ltv_pct": 70,
        "liquidation_ltv_pct": 80,
        "margin_called_at": None,
        "closed_at": None,
        "client_order_id": "house-1",
    }
    assert {name: body[name] for name in expected} == expected
    assert body["interest"]["yearly_rate_bps"] == 1200
    assert holdings(client, user) == (10_000 + MOST, 40_000_000, TENTH, MOST, 0)
    assert body["updated_balance"]["borrowed_inr"] == MOST
    row = client.get(f"/api/transactions/{body['id']}", headers=user.headers).get_json()
    assert (row["type"], row["inr_change"], row["btc_change"]) == ("LOAN_CREATE", MOST, 0)
    assert row["loan_id"] == body["id"]
    verify(app)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"borrow_inr": MOST + 1}, 400, "ltv_too_high"),
        ({"collateral_btc": 50_000_001}, 400, "insufficient_funds"),
        ({"collateral_btc": 0}, 400, "invalid_input"),
        ({"collateral_btc": 1.5}, 400, "invalid_input"),
        ({"collateral_btc": "10000000"}, 400, "invalid_input"),
        ({"borrow_inr": -1}, 400, "invalid_input"),
        ({"borrow_inr": True}, 400, "invalid_input"),
        ({"borrow_inr": None}, 400, "missing_fields"),
        ({"borrow_inr": 10**17}, 400, "invalid_input"),
    ],
)
def test_a_loan_that_is_too_much_or_makes_no_sense_is_refused(
    client: FlaskClient, user: Person, change: dict[str, Any], status: int, code: str
) -> None:
    answer = post(client, user, "", **{**NEW, **change})
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert holdings(client, user) == (10_000, 50_000_000, 0, 0, 0)


@pytest.mark.parametrize("why", ["old", "held", "halted"])
def test_what_needs_a_price_is_refused_as_a_trade_would_be_and_the_rest_is_not(
    app: Flask, client: FlaskClient, user: Person, why: str
) -> None:
    loan_id = make(client, user, borrow_inr=1000)
    expected = {"old": "rates_unavailable", "held": "price_uncertain", "halted": "trading_halted"}[why]
    with app.app_context(), db.engine.begin() as connection:
        if why == "old":
            connection.execute(sa.text("UPDATE bitcoin_data SET as_of = '2020-01-01 00:00:00'"))
        elif why == "held":
            held = {"outcome": "held", "provider": "kraken", "reason": "x", "at": now()}
            connection.execute(sa.insert(BitcoinPriceEvent).values(**held))
        else:
            halt.halt_trading("a test")
    for path, body in (
        ("", NEW),
        (f"/{loan_id}/borrow", {"amount_inr": 1}),
        (f"/{loan_id}/withdraw-collateral", {"collateral_btc": 1}),
    ):
        answer = post(client, user, path, **body)
        assert (answer.status_code, answer.get_json()["code"]) == (503, expected), path
    assert post(client, user, f"/{loan_id}/repay", amount_inr=1).status_code == 200
    assert post(client, user, f"/{loan_id}/add-collateral", collateral_btc=1).status_code == 200
    assert watch(app) == (0, 0)
    verify(app)


def test_another_s_loan_is_not_found(
    client: FlaskClient, user: Person, make_user: Callable[..., Person]
) -> None:
    loan_id, other = make(client, user), make_user(inr=500_000, btc=TENTH)
    assert client.get(f"/api/loans/{loan_id}", headers=other.headers).status_code == 404
    for step, body in (
        ("borrow", {"amount_inr": 1}),
        ("repay", {"amount_inr": 1}),
        ("add-collateral", {"collateral_btc": 1}),
        ("withdraw-collateral", {"collateral_btc": 1}),
    ):
        answer = post(client, other, f"/{loan_id}/{step}", **body)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "loan_not_found")
    assert client.get("/api/loans", headers=other.headers).get_json()["loans"] == []
    assert client.get(f"/api/loans/{10**30}", headers=other.headers).status_code == 404


def test_a_loan_is_borrowed_on_repaid_and_closed(app: Flask, client: FlaskClient, user: Person) -> None:
    with app.app_context():
        settings.set_setting("loan_yearly_rate_bps", "0")  # or a second that passes would be owed for
    loan_id = make(client, user, borrow_inr=100_000)
    more = post(client, user, f"/{loan_id}/borrow", amount_inr=98_000)
    assert (more.status_code, more.get_json()["borrowed_inr"]) == (200, MOST)
    assert post(client, user, f"/{loan_id}/borrow", amount_inr=1).get_json()["code"] == "ltv_too_high"
    out = post(client, user, f"/{loan_id}/withdraw-collateral", collateral_btc=1)
    assert out.get_json()["code"] == "ltv_too_high"
    assert post(client, user, f"/{loan_id}/add-collateral", collateral_btc=TENTH).get_json()["ltv_pct"] == 25
    body = post(client, user, f"/{loan_id}/repay", amount_inr=10**9).get_json()
    assert body["repaid_inr"] - body["interest_paid_inr"] == body["principal_paid_inr"] == MOST
    assert (body["debt_inr"], body["status"], body["liquidation_rate_inr"]) == (0, "ACTIVE", None)
    assert post(client, user, f"/{loan_id}/repay", amount_inr=1).get_json()["code"] == "invalid_amount"
    body = post(client, user, f"/{loan_id}/withdraw-collateral", collateral_btc=2 * TENTH).get_json()
    assert (body["status"], body["collateral_btc"], body["ltv_pct"]) == ("CLOSED", 0, None)
    answer = post(client, user, f"/{loan_id}/borrow", amount_inr=1)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "loan_not_active")
    assert answer.get_json()["loan"]["status"] == "CLOSED"
    assert holdings(client, user)[1:] == (50_000_000, 0, 0, 0)
    verify(app)


def test_a_retry_with_the_same_key_is_done_once(client: FlaskClient, user: Person) -> None:
    key = {"Idempotency-Key": "k"}
    first, again = (post(client, user, "", **NEW, headers=key) for _ in range(2))
    assert first.get_json() == again.get_json()
    assert again.headers["Idempotent-Replayed"] == "true"
    loan_id = first.get_json()["id"]
    steps = [post(client, user, f"/{loan_id}/repay", amount_inr=500, headers=key) for _ in range(2)]
    assert steps[0].get_json() == steps[1].get_json()
    other = post(client, user, f"/{loan_id}/repay", amount_inr=501, headers=key)
    assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")
    assert post(client, user, "", **NEW, client_order_id="a").status_code == 201
    reused = post(client, user, f"/{loan_id}/repay", amount_inr=1, client_order_id="a")
    assert (reused.status_code, reused.get_json()["code"]) == (409, "client_order_id_reused")


def test_a_key_needs_the_scope_loan(app: Flask, client: FlaskClient, user: Person) -> None:
    with app.app_context():
        keys = {
            scope: api_keys.create_key(user.id, name="bot", scopes=[scope])["key"]
            for scope in ("trade", "loan")
        }
    for scope, status in (("trade", 403), ("loan", 201)):
        assert client.post("/api/loans", json=NEW, headers=bearer(keys[scope])).status_code == status


def test_a_user_has_so_many_loans_at_most(
    client: FlaskClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bittrade.services.loans.acting.MAX_LOANS", 1)
    make(client, user)
    answer = post(client, user, "", **NEW)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "too_many_loans")


# --- interest -----------------------------------------------------------------------------------------------------


def test_interest_is_charged_before_a_step_and_paid_first(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    loan_id = make(client, user, borrow_inr=100_000)
    pass_time(app, days=365)
    assert loan_of(client, user, loan_id)["debt_inr"] in (112_000, 112_001)  # a second may have passed
    body = post(client, user, f"/{loan_id}/repay", amount_inr=12_500).get_json()
    charged = body["interest_charged_inr"]
    assert charged in (12_000, 12_001)
    assert (body["interest_paid_inr"], body["principal_paid_inr"]) == (charged, 12_500 - charged)
    assert types(client, user) == ["LOAN_REPAY", "INTEREST_ACCRUAL", "LOAN_CREATE"]
    assert holdings(client, user)[3:] == (100_000 - (12_500 - charged), 0)
    verify(app)


def test_the_job_charges_each_day_and_not_twice(app: Flask, client: FlaskClient, user: Person) -> None:
    loan_id = make(client, user, borrow_inr=100_000)
    with app.app_context():
        assert loans.charge_due() == 0
        pass_time(app, hours=25)
        assert loans.find_late(by_s=1800) == 1
        assert (loans.charge_due(), loans.charge_due()) == (1, 0)
        assert loans.find_late(by_s=1800) == 0
    # 25 hours of 12 % a year on ₹100,000 are 34.2466 rupees: 35 are charged, 0.75 of them in advance.
    loan = loan_of(client, user, loan_id)
    assert loan["interest_accrued"] == 35
    assert -760_000 < loan["interest"]["uncharged_micro_inr"] < -650_000
    assert types(client, user)[0] == "INTEREST_ACCRUAL"
    verify(app)


def test_doctor_tells_when_interest_is_late(app: Flask, client: FlaskClient, user: Person) -> None:
    make(client, user)
    pass_time(app, hours=26)
    assert "The interest of 1 loans is late" in app.test_cli_runner().invoke(args=["doctor"]).output


# --- margin calls and liquidations --------------------------------------------------------------------------------


def test_a_margin_call_is_told_once_and_ends_with_what_answers_it(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    loan_id = make(client, user)
    assert watch(app) == (0, 0)
    set_price(app, 32_000)  # 2,816,000: an LTV of 70.31 %
    assert (watch(app), watch(app)) == ((0, 1), (0, 0))
    assert loan_of(client, user, loan_id)["margin_called_at"] is not None
    events = client.get("/api/account/activity", headers=user.headers).get_json()["events"]
    assert events[0]["action"] == "loan_margin_call"
    missed = client.get("/api/events?after=3", headers=user.headers).get_json()
    assert [loan["id"] for loan in missed["loans"]] == [loan_id]
    body = post(client, user, f"/{loan_id}/add-collateral", collateral_btc=TENTH).get_json()
    assert body["margin_called_at"] is None
    verify(app)


def test_a_margin_call_ends_when_the_price_is_well_above_it(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    loan_id = make(client, user)
    set_price(app, 32_000)
    watch(app)
    set_price(app, 32_500)
    watch(app)
    assert loan_of(client, user, loan_id)["margin_called_at"] is not None
    set_price(app, 35_000)
    watch(app)
    assert loan_of(client, user, loan_id)["margin_called_at"] is None


def test_a_liquidation_sells_just_enough(app: Flask, client: FlaskClient, user: Person) -> None:
    loan_id = make(client, user)
    before = holdings(client, user)
    set_price(app, 28_000)  # 2,464,000: an LTV of 80.36 %
    assert watch(app) == (1, 0)
    loan = loan_of(client, user, loan_id)
    assert loan["status"] == "ACTIVE"
    assert 49.99 <= loan["ltv_pct"] <= 50.05  # interest goes on
    rows = client.get("/api/transactions", headers=user.headers).get_json()["transactions"]
    repaid, sold = rows[0], rows[1]
    assert (repaid["type"], sold["type"]) == ("LOAN_REPAY", "PARTIAL_LIQUIDATION")
    assert sold["inr_change"] == -repaid["inr_change"] > 0
    assert sold["btc_change"] == loan["collateral_btc"] - TENTH
    assert sold["execution_price"] == 2_464_000
    after = holdings(client, user)
    assert after[:2] == before[:2]
    receipt = client.get(f"/api/transactions/{sold['id']}/receipt", headers=user.headers).get_json()
    assert receipt["recomputed"] is True
    assert watch(app) == (0, 0)
    assert (house(app, "house_losses"), house(app, "house_loans")) == (0, -after[3] - after[4])
    verify(app)


def test_a_loan_under_water_is_sold_whole_and_the_rest_is_the_house_s_loss(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    loan_id = make(client, user)
    before = holdings(client, user)
    set_price(app, 20_000)  # 1,760,000: ₹176,000 for a debt of ₹198,000
    assert watch(app) == (1, 0)
    loan = loan_of(client, user, loan_id)
    assert (loan["status"], loan["collateral_btc"], loan["debt_inr"]) == ("LIQUIDATED", 0, 0)
    assert types(client, user)[:3] == ["LOAN_WRITE_OFF", "LOAN_REPAY", "FULL_LIQUIDATION"]
    assert holdings(client, user) == (*before[:2], 0, 0, 0)
    assert -22_001 <= house(app, "house_losses") <= -22_000
    assert house(app, "house_loans") == 0
    events = client.get("/api/account/activity", headers=user.headers).get_json()["events"]
    assert events[0]["action"] == "loan_liquidated"
    verify(app)


def test_what_a_liquidation_brings_counts_for_the_gain(
    app: Flask, client: FlaskClient, make_user: Callable[..., Person], price: None
) -> None:
    buyer = make_user(inr=500_000)
    order = {"action": "buy", "type": "market", "amount": "0.1", "currency": "btc"}
    assert client.post("/api/trade", json=order, headers=buyer.headers).status_code == 201
    make(client, buyer)
    set_price(app, 20_000)
    assert watch(app) == (1, 0)
    held = client.get("/api/portfolio", headers=buyer.headers).get_json()
    assert (held["holdings_btc"], held["realised_gain_inr"]) == (0, 176_000 - 409_500)


def test_the_most_endangered_is_sold_first(
    app: Flask, client: FlaskClient, user: Person, make_user: Callable[..., Person]
) -> None:
    safer, other = make(client, user, borrow_inr=190_000), make_user(btc=TENTH)
    worse = make(client, other)
    set_price(app, 25_000)
    assert watch(app) == (2, 0)
    with app.app_context(), db.engine.connect() as connection:
        sold = sa.select(Transaction.loan_id).where(Transaction.type == "PARTIAL_LIQUIDATION")
        assert list(connection.scalars(sold.order_by(Transaction.id))) == [worse, safer]
    verify(app)


def test_a_loan_keeps_its_terms(app: Flask, client: FlaskClient, user: Person) -> None:
    loan_id = make(client, user)
    with app.app_context():
        settings.set_setting("loan_max_ltv_pct", "20")
        settings.set_setting("loan_yearly_rate_bps", "3000")
    assert client.get("/api/loans/terms").get_json()["max_ltv_pct"] == 20
    assert loan_of(client, user, loan_id)["max_ltv_pct"] == 50
    assert post(client, user, "", **NEW).get_json()["code"] == "ltv_too_high"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loan_max_ltv_pct", "70"),
        ("loan_call_ltv_pct", "80"),
        ("loan_liquidation_ltv_pct", "96"),
        ("loan_yearly_rate_bps", "-1"),
        ("loan_max_ltv_pct", "5 0"),
    ],
)
def test_terms_that_make_no_sense_are_refused(app: Flask, key: str, value: str) -> None:
    answer = app.test_cli_runner().invoke(args=["settings", "set", key, value])
    assert answer.exit_code != 0


def test_operators_list_and_show_loans(app: Flask, client: FlaskClient, user: Person) -> None:
    loan_id = make(client, user)
    runner = app.test_cli_runner()
    listed = runner.invoke(args=["loans", "list", "--user", user.email, "--status", "ACTIVE"]).output
    assert f"{loan_id}\tuser {user.id}\tACTIVE\t{TENTH} satoshis" in listed
    assert "liquidation_rate_inr 2475000" in runner.invoke(args=["loans", "show", str(loan_id)]).output
    assert runner.invoke(args=["loans", "show", "999999"]).exit_code != 0


# --- the proof, and races -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "change", "fault"),
    [
        (LoanRow, {"collateral_btc": TENTH - 1}, "active loans say 9999999"),
        (LoanRow, {"borrowed_inr": 1}, "active loans say 1"),
        (Balance, {"interest_accrued": 5}, "interest_accrued is 5, active loans say 0"),
        (Transaction, {"loan_id": 1}, "what is done to a loan names it"),
    ],
)
def test_the_proof_holds_balances_to_the_loans(
    app: Flask, client: FlaskClient, user: Person, table: Any, change: dict[str, int], fault: str
) -> None:
    make(client, user)
    with app.app_context():
        with db.engine.begin() as connection:
            connection.execute(sa.update(table).where(table.user_id == user.id).values(**change))
        assert any(fault in found for found in ledger.verify().faults)
        assert not ledger.verify_recent().is_right


def test_a_repayment_that_came_first_keeps_the_collateral(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    """Twenty times a repayment and a liquidation at the same moment: one of them finds what the other left."""
    with app.app_context(), db.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            pytest.skip("needs MariaDB")
    outcomes = set()
    for _ in range(20):
        set_price(app, 45_000)
        loan_id = make(client, user)
        set_price(app, 28_000)

        def race(number: int, loan_id: int = loan_id) -> Any:
            if number:
                return watch(app)
            return post(app.test_client(), user, f"/{loan_id}/repay", amount_inr=100_000).status_code

        repaid, (liquidated, _) = together(2, race)
        assert repaid == 200
        loan = loan_of(client, user, loan_id)
        assert loan["ltv_pct"] <= 50.01
        assert (loan["collateral_btc"] == TENTH) == (liquidated == 0)
        outcomes.add(liquidated)
        post(client, user, f"/{loan_id}/repay", amount_inr=10**9)
        post(client, user, f"/{loan_id}/withdraw-collateral", collateral_btc=loan["collateral_btc"])
    assert holdings(client, user)[2:] == (0, 0, 0)
    assert outcomes <= {0, 1}
    verify(app)


def test_two_watches_at_once_sell_once(app: Flask, client: FlaskClient, user: Person) -> None:
    make(client, user)
    set_price(app, 28_000)
    assert sum(liquidated for liquidated, _ in together(4, lambda _: watch(app))) == 1
    assert types(client, user).count("PARTIAL_LIQUIDATION") == 1
    verify(app)
