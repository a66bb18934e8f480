"""Transfers over REST: both halves, refusals, retries, the limit, and two users who send to each other at once."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bittrade.errors import NotReversible
from bittrade.extensions import db
from bittrade.models import Balance, LedgerLeg, Transaction
from bittrade.services import api_keys, auth, corrections, halt, ledger
from tests.fixtures import Person, new_user, together
from tests.security.conftest import bearer


@pytest.fixture
def alice(make_user: Callable[..., Person]) -> Person:
    return make_user(inr=10_000, btc=500_000)


@pytest.fixture
def bob(make_user: Callable[..., Person]) -> Person:
    return make_user(inr=100)


def send(client: FlaskClient, sender: Person, recipient: Person, /, **change: Any) -> TestResponse:
    headers = change.pop("headers", {})
    body = {"recipientEmail": recipient.email, "amount": 1000, "currency": "inr", **change}
    return client.post("/api/send-transaction", json=body, headers={**sender.headers, **headers})


def holdings(client: FlaskClient, user: Person) -> tuple[int, int]:
    body = client.get("/api/balance", headers=user.headers).get_json()
    return body["available_inr"], body["available_btc"]


def history(client: FlaskClient, user: Person) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get("/api/transactions", headers=user.headers).get_json()[
        "transactions"
    ]
    return rows


def faults(app: Flask) -> tuple[str, ...]:
    with app.app_context():
        return ledger.verify().faults


def test_the_later_client_sends_rupees(app: Flask, client: FlaskClient, alice: Person, bob: Person) -> None:
    answer = send(client, alice, bob)
    assert answer.status_code == 200
    body = answer.get_json()
    mine, theirs = history(client, alice)[0], history(client, bob)[0]
    assert body["recipient"] == {"name": bob.name, "email": bob.email}
    assert (body["amount"], body["currency"], body["message"]) == (1000, "inr", "Transfer completed")
    assert (body["senderTransactionId"], body["recipientTransactionId"]) == (mine["id"], theirs["id"])
    assert body["updated_balance"]["available_inr"] == 9000
    assert body["timestamp"] == mine["created_at"] == theirs["created_at"]
    assert (holdings(client, alice), holdings(client, bob)) == ((9000, 500_000), (1100, 0))
    assert (mine["type"], mine["inr_change"], mine["counterparty_name"]) == ("TRANSFER_OUT", -1000, bob.name)
    assert (theirs["type"], theirs["inr_change"], theirs["counterparty_name"]) == (
        "TRANSFER_IN",
        1000,
        alice.name,
    )
    assert mine["transfer_id"] == theirs["transfer_id"] == mine["id"]
    assert faults(app) == ()


def test_the_later_client_sends_bitcoin_as_a_decimal(client: FlaskClient, alice: Person, bob: Person) -> None:
    body = send(client, alice, bob, amount=0.0012, currency="btc").get_json()
    assert (body["amount"], body["btc_amount"], body["inr_amount"]) == (120_000, 120_000, 0)
    assert (holdings(client, alice), holdings(client, bob)) == ((10_000, 380_000), (100, 120_000))


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"recipientEmail": "nobody@example.com"}, 400, "recipient_not_found"),
        ({"recipientEmail": "no e-mail"}, 400, "recipient_not_found"),
        ({"recipientEmail": None}, 400, "missing_fields"),
        ({"recipientEmail": 7}, 400, "invalid_input"),
        ({"amount": 10_001}, 400, "insufficient_funds"),
        ({"amount": "1.5"}, 400, "invalid_amount"),
        ({"amount": -5}, 400, "invalid_amount"),
        ({"amount": True}, 400, "invalid_amount"),
        ({"amount": "0.000000001", "currency": "btc"}, 400, "invalid_amount"),
        ({"currency": "usd"}, 400, "invalid_currency"),
        ({"client_order_id": "a b"}, 400, "invalid_input"),
    ],
)
def test_a_refused_transfer_says_why_and_moves_nothing(
    client: FlaskClient, alice: Person, bob: Person, change: dict[str, Any], status: int, code: str
) -> None:
    answer = send(client, alice, bob, **change)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert (holdings(client, alice), holdings(client, bob)) == ((10_000, 500_000), (100, 0))


def test_nobody_sends_to_themselves(client: FlaskClient, alice: Person) -> None:
    answer = send(client, alice, alice, recipientEmail=alice.email.upper())
    assert (answer.status_code, answer.get_json()["code"]) == (400, "same_account")


def test_a_shut_account_is_not_found(app: Flask, client: FlaskClient, alice: Person, bob: Person) -> None:
    with app.app_context():
        auth.disable_user(bob.email)
    answer = send(client, alice, bob)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "recipient_not_found")


def test_nothing_is_sent_while_trading_is_halted(
    app: Flask, client: FlaskClient, alice: Person, bob: Person
) -> None:
    with app.app_context():
        halt.halt_trading("the books do not add up")
    answer = send(client, alice, bob)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "trading_halted")
    assert holdings(client, bob) == (100, 0)


def test_a_retry_with_the_same_key_sends_once(client: FlaskClient, alice: Person, bob: Person) -> None:
    key = {"Idempotency-Key": "k1"}
    first = send(client, alice, bob, headers=key)
    again = send(client, alice, bob, recipientEmail=bob.email.upper(), amount="1000", headers=key)
    other = send(client, alice, bob, amount=999, headers=key)
    assert again.get_json() == first.get_json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")
    assert holdings(client, bob) == (1100, 0)


def test_a_retry_gets_the_first_answer_also_when_the_recipient_is_gone(
    app: Flask, client: FlaskClient, alice: Person, bob: Person
) -> None:
    key = {"Idempotency-Key": "k1"}
    first = send(client, alice, bob, headers=key).get_json()
    with app.app_context():
        auth.disable_user(bob.email)
    assert send(client, alice, bob, headers=key).get_json() == first


def test_a_client_order_id_is_used_once(client: FlaskClient, alice: Person, bob: Person) -> None:
    sent = send(client, alice, bob, client_order_id="rent-11").get_json()
    again = send(client, alice, bob, client_order_id="rent-11")
    assert (again.status_code, again.get_json()["code"]) == (409, "client_order_id_reused")
    assert again.get_json()["transaction_id"] == sent["senderTransactionId"]
    assert history(client, alice)[0]["client_order_id"] == "rent-11"
    assert history(client, bob)[0]["client_order_id"] is None


def test_what_was_sent_and_came_is_no_gain(
    client: FlaskClient, alice: Person, bob: Person, price: None
) -> None:
    send(client, alice, bob, amount="0.001", currency="btc")
    for user, satoshis in ((alice, 400_000), (bob, 100_000)):
        held = client.get("/api/portfolio", headers=user.headers).get_json()
        assert (held["holdings_btc"], held["realised_gain_inr"]) == (satoshis, 0)
        assert held["proceeds_without_cost_inr"] == 0


def test_history_filter_csv_activity_and_events_know_transfers(
    client: FlaskClient, alice: Person, bob: Person
) -> None:
    send(client, alice, bob)
    rows = client.get("/api/transactions?type=TRANSFER_IN", headers=bob.headers).get_json()["transactions"]
    assert [row["type"] for row in rows] == ["TRANSFER_IN"]
    csv = client.get("/api/transactions.csv", headers=bob.headers).get_data(as_text=True)
    assert "TRANSFER_IN" in csv
    assert alice.name in csv
    missed = client.get("/api/events?after=1", headers=bob.headers).get_json()["transactions"]
    assert [row["counterparty_name"] for row in missed] == [alice.name]
    for user, action, by in ((alice, "transfer_sent", "owner"), (bob, "transfer_received", "unknown")):
        event = client.get("/api/account/activity", headers=user.headers).get_json()["events"][0]
        assert (event["action"], event["by"]) == (action, by)
        assert alice.email not in str(event)


def test_a_key_needs_the_scope_transfer(app: Flask, client: FlaskClient, alice: Person, bob: Person) -> None:
    body = {"recipientEmail": bob.email, "amount": 1, "currency": "inr"}
    with app.app_context():
        keys = {
            scope: api_keys.create_key(alice.id, name="bot", scopes=[scope])["key"]
            for scope in ("trade", "transfer")
        }
    for scope, status in (("trade", 403), ("transfer", 200)):
        answer = client.post("/api/send-transaction", json=body, headers=bearer(keys[scope]))
        assert answer.status_code == status, scope
    assert client.post("/api/quote", headers=bearer(keys["transfer"])).status_code == 403


def test_guessing_who_has_an_account_is_limited(
    new_app: Callable[..., Flask], alice: Person, bob: Person
) -> None:
    app = new_app(RATELIMIT_ENABLED=True, RATELIMIT_TRANSFER="3 per hour")
    client = app.test_client()
    codes = [
        send(client, alice, bob, recipientEmail=f"guess-{number}@example.com").get_json()["code"]
        for number in range(5)
    ]
    assert codes == ["recipient_not_found"] * 3 + ["rate_limited"] * 2


def test_half_a_transfer_is_not_reversed(app: Flask, client: FlaskClient, alice: Person, bob: Person) -> None:
    body = send(client, alice, bob).get_json()
    with app.app_context():
        for number in (body["senderTransactionId"], body["recipientTransactionId"]):
            with pytest.raises(NotReversible):
                corrections.reverse_transaction(number, why="a slip")
    assert faults(app) == ()


@pytest.mark.parametrize(
    ("change", "where", "fault"),
    [
        ({"counterparty_id": 1}, Transaction.type == "TRANSFER_IN", "is not the other half"),
        ({"transfer_id": None}, Transaction.type == "TRANSFER_IN", "what came names what was sent"),
        ({"counterparty_id": None}, Transaction.type == "TRANSFER_OUT", "names the other user"),
        ({"inr_amount": 999}, Transaction.type == "TRANSFER_IN", "is not the other half"),
        (
            {"transfer_id": 1},
            Transaction.type == "TRANSFER_IN",
            "the other half of this TRANSFER_IN is missing",
        ),
    ],
)
def test_the_proof_misses_no_half(
    app: Flask,
    client: FlaskClient,
    alice: Person,
    bob: Person,
    change: dict[str, Any],
    where: sa.ColumnElement[bool],
    fault: str,
) -> None:
    send(client, alice, bob)
    assert faults(app) == ()
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.update(Transaction).where(where).values(**change))
    assert any(fault in found for found in faults(app))


def test_users_who_send_to_each_other_at_once_never_see_a_deadlock(app: Flask) -> None:
    first, second = new_user(app, inr=1000), new_user(app, inr=1000)

    def cross(number: int) -> list[int]:
        client = app.test_client()
        sender, recipient = (first, second) if number % 2 else (second, first)
        return [send(client, sender, recipient, amount=1 + number).status_code for _ in range(15)]

    statuses = together(8, cross)
    assert {status for row in statuses for status in row} == {200}
    with app.app_context(), db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.sum(Balance.available_inr))) == 2000
        halves = sa.select(sa.func.count()).where(LedgerLeg.account == "house_transfers")
        assert connection.scalar(halves) == 2 * 8 * 15
    assert faults(app) == ()


def test_many_transfers_of_the_last_rupee_send_it_once(app: Flask, alice: Person, bob: Person) -> None:
    statuses = together(10, lambda _: send(app.test_client(), alice, bob, amount=10_000).status_code)
    assert sorted(statuses) == [200] + [400] * 9
    assert faults(app) == ()
