"""Two users and every route: nobody sees, ends or moves what is another's. The table is held to the URL map."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade.domain.money import Asset
from bittrade.domain.orders import LimitOrder
from bittrade.domain.plans import DEFAULT_ZONE, Frequency, Instalment
from bittrade.domain.trading import Action, Order
from bittrade.extensions import db
from bittrade.models import (
    ApiKey,
    Balance,
    LimitOrderRow,
    LoanRow,
    LoginSession,
    Quote,
    RecurringPlan,
    Transaction,
    User,
)
from bittrade.services import api_keys, auth, loans, orders, plans, quotes
from bittrade.services.orders import OrderRequest
from bittrade.services.plans import PlanRequest
from tests.fixtures import PASSWORD, Person, new_user
from tests.security.conftest import BUY, Client, protected_routes

EVENTS = (
    *(
        "join",
        "join_room",
        "subscribe",
        "room",
        "enter_room",
        "message",
        "json",
        "ping",
        "*",
        "",
        "close_room",
    ),
    *(
        "connect",
        "disconnect",
        "connect_error",
        "reconnect",
        "error",
        "newListener",
        "removeListener",
        "__proto__",
    ),
    *("user_balance_update", "user_transaction_update", "btc_price_update", "authentication_success"),
)
INR, BTC = 7_654_321, 1_234_567
LIMIT = {"side": "buy", "type": "limit", "limit_price": 4_000_000, "amount": "100", "currency": "inr"}
LIMIT_RESERVES = 100
PLEDGED, BORROWED = 1000, 1
PLAN = {"plan_type": "DCA_BUY", "frequency": "DAILY", "amount_per_execution_inr": 100}
NEW_PASSWORD = "entirely different words"


@dataclass(frozen=True)
class Victim:
    """Somebody with one of everything."""

    person: Person
    transaction_id: int
    session_id: str
    key_id: int
    key_prefix: str
    quote_id: str
    order_id: int
    plan_id: int
    loan_id: int

    @property
    def marks(self) -> list[str]:
        """What no answer to anybody else may hold."""
        return [self.person.email, self.session_id, self.key_prefix, str(INR), str(BTC), self.quote_id]


# How the other calls each route, with the victim's ids wherever one can be named: (path, body, status).
Row = Callable[[Victim], tuple[str, dict[str, Any] | None, int]]
ROWS: dict[tuple[str, str], Row] = {
    ("GET", "/api/balance"): lambda v: ("/api/balance", None, 200),
    ("GET", "/api/portfolio"): lambda v: ("/api/portfolio", None, 200),
    ("GET", "/api/events"): lambda v: ("/api/events?after=0", None, 200),
    ("GET", "/api/transactions"): lambda v: (
        f"/api/transactions?before_id={v.transaction_id + 9}",
        None,
        200,
    ),
    ("GET", "/api/ledger"): lambda v: (f"/api/ledger?user_id={v.person.id}", None, 200),
    ("GET", "/api/ledger.csv"): lambda v: (f"/api/ledger.csv?user_id={v.person.id}", None, 200),
    ("GET", "/api/transactions.csv"): lambda v: ("/api/transactions.csv", None, 200),
    ("GET", "/api/transactions/<int:transaction_id>"): lambda v: (
        f"/api/transactions/{v.transaction_id}",
        None,
        404,
    ),
    ("GET", "/api/transactions/<int:transaction_id>/receipt"): lambda v: (
        f"/api/transactions/{v.transaction_id}/receipt",
        None,
        404,
    ),
    ("POST", "/api/trade"): lambda v: ("/api/trade", {**BUY, "quote_id": v.quote_id}, 404),
    ("POST", "/api/trade/preview"): lambda v: ("/api/trade/preview", {**BUY, "quote_id": v.quote_id}, 404),
    ("POST", "/api/quote"): lambda v: ("/api/quote", None, 201),
    ("POST", "/api/orders"): lambda v: ("/api/orders", {**LIMIT, "id": v.order_id}, 201),
    ("POST", "/api/orders/preview"): lambda v: ("/api/orders/preview", LIMIT, 200),
    ("GET", "/api/orders"): lambda v: (f"/api/orders?before_id={v.order_id + 9}", None, 200),
    ("DELETE", "/api/orders"): lambda v: ("/api/orders", None, 200),
    ("GET", "/api/orders/<int:order_id>"): lambda v: (f"/api/orders/{v.order_id}", None, 404),
    ("DELETE", "/api/orders/<int:order_id>"): lambda v: (f"/api/orders/{v.order_id}", None, 404),
    ("DELETE", "/api/transactions/<int:transaction_id>/cancel"): lambda v: (
        f"/api/transactions/{v.order_id}/cancel",
        None,
        404,
    ),
    ("GET", "/api/loans"): lambda v: (f"/api/loans?user_id={v.person.id}", None, 200),
    ("GET", "/api/loans/<int:loan_id>"): lambda v: (f"/api/loans/{v.loan_id}", None, 404),
    ("POST", "/api/loans"): lambda v: (
        "/api/loans",
        {"collateral_btc": 1000, "borrow_inr": 1, "user_id": v.person.id},
        201,
    ),
    ("POST", "/api/loans/<int:loan_id>/borrow"): lambda v: (
        f"/api/loans/{v.loan_id}/borrow",
        {"amount_inr": 1},
        404,
    ),
    ("POST", "/api/loans/<int:loan_id>/repay"): lambda v: (
        f"/api/loans/{v.loan_id}/repay",
        {"amount_inr": 1},
        404,
    ),
    ("POST", "/api/loans/<int:loan_id>/add-collateral"): lambda v: (
        f"/api/loans/{v.loan_id}/add-collateral",
        {"collateral_btc": 1},
        404,
    ),
    ("POST", "/api/loans/<int:loan_id>/withdraw-collateral"): lambda v: (
        f"/api/loans/{v.loan_id}/withdraw-collateral",
        {"collateral_btc": 1},
        404,
    ),
    ("POST", "/api/send-transaction"): lambda v: (
        "/api/send-transaction",
        {"recipientEmail": v.person.email, "amount": 6000, "currency": "inr", "from": v.person.id},
        400,
    ),
    ("GET", "/api/dca-plans"): lambda v: ("/api/dca-plans", None, 200),
    ("POST", "/api/dca-plans"): lambda v: ("/api/dca-plans", {**PLAN, "id": v.plan_id}, 201),
    ("GET", "/api/dca-plans/<int:plan_id>/runs"): lambda v: (f"/api/dca-plans/{v.plan_id}/runs", None, 404),
    ("PATCH", "/api/dca-plans/<int:plan_id>/status"): lambda v: (
        f"/api/dca-plans/{v.plan_id}/status",
        {"status": "PAUSED"},
        404,
    ),
    ("DELETE", "/api/dca-plans/<int:plan_id>"): lambda v: (f"/api/dca-plans/{v.plan_id}", None, 404),
    ("GET", "/api/account/activity"): lambda v: ("/api/account/activity?limit=200", None, 200),
    ("GET", "/api/keys"): lambda v: ("/api/keys", None, 200),
    ("POST", "/api/keys"): lambda v: (
        "/api/keys",
        {"name": "x", "scopes": ["read"], "user_id": v.person.id},
        201,
    ),
    ("DELETE", "/api/keys/<int:key_id>"): lambda v: (f"/api/keys/{v.key_id}", None, 404),
    ("GET", "/api/auth/sessions"): lambda v: ("/api/auth/sessions", None, 200),
    ("DELETE", "/api/auth/sessions/<session_id>"): lambda v: (
        f"/api/auth/sessions/{v.session_id}",
        None,
        404,
    ),
    ("PATCH", "/api/auth/profile"): lambda v: (
        "/api/auth/profile",
        {"currentPassword": PASSWORD, "name": "Me", "id": v.person.id},
        200,
    ),
    ("GET", "/api/user/profile"): lambda v: (f"/api/user/profile?id={v.person.id}", None, 200),
    ("PUT", "/api/user/profile/name"): lambda v: (
        "/api/user/profile/name",
        {"currentPassword": PASSWORD, "name": "Me", "id": v.person.id},
        200,
    ),
    ("PUT", "/api/user/profile/email"): lambda v: (
        "/api/user/profile/email",
        {"currentPassword": PASSWORD, "email": v.person.email, "id": v.person.id},
        409,
    ),
    ("PUT", "/api/user/profile/password"): lambda v: (
        "/api/user/profile/password",
        {"currentPassword": PASSWORD, "newPassword": "words that nobody else has", "id": v.person.id},
        200,
    ),
    ("POST", "/api/auth/password"): lambda v: (
        "/api/auth/password",
        {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD, "id": v.person.id},
        200,
    ),
    ("POST", "/api/auth/logout"): lambda v: ("/api/auth/logout", {"id": v.person.id}, 200),
    ("POST", "/api/auth/logout-all"): lambda v: ("/api/auth/logout-all", {"id": v.person.id}, 200),
}


@pytest.fixture
def victim(app: Flask, price: None) -> Victim:
    person = new_user(app, inr=INR + LIMIT_RESERVES - BORROWED, btc=BTC + PLEDGED)
    with app.app_context():
        key = api_keys.create_key(person.id, name="bot", scopes=["read"])
        quote = quotes.make_quote(person.id).document()["quote_id"]
        with db.engine.connect() as connection:
            transaction_id = connection.scalar(
                sa.select(Transaction.id).where(Transaction.user_id == person.id)
            )
        limit = LimitOrder(Order(Action.BUY, Asset.INR, 100), 4_000_000)
        order = orders.place_order(person.id, OrderRequest(limit)).answer
        instalment = Instalment(Action.BUY, Asset.INR, 100)
        plan, _ = plans.create_plan(person.id, PlanRequest(instalment, Frequency.DAILY, DEFAULT_ZONE))
        loan = loans.create_loan(person.id, collateral=PLEDGED, inr=BORROWED)
        return Victim(
            person,
            transaction_id,
            auth.authenticate(person.token).jti,
            key["id"],
            key["prefix"],
            quote,
            order["id"],
            plan["planId"],
            loan.answer["id"],
        )


def belongings(app: Flask, user_id: int) -> list[Any]:
    """All that is a user's, and could be another's doing."""
    columns = {
        User: (User.email, User.name, User.password_hash, User.disabled_at, User.tokens_revoked_at),
        Balance: (Balance.seq, Balance.available_inr, Balance.available_btc),
        LoginSession: (LoginSession.jti, LoginSession.revoked_at),
        ApiKey: (ApiKey.id, ApiKey.revoked_at),
        Quote: (Quote.id, Quote.used_at),
        LimitOrderRow: (LimitOrderRow.id, LimitOrderRow.status),
        RecurringPlan: (RecurringPlan.id, RecurringPlan.status),
        LoanRow: (LoanRow.id, LoanRow.status, LoanRow.collateral_btc, LoanRow.borrowed_inr),
    }
    with app.app_context(), db.engine.connect() as connection:
        return [
            connection.execute(
                sa.select(*chosen).where((table.id if table is User else table.user_id) == user_id)
            ).all()
            for table, chosen in columns.items()
        ]


def test_every_protected_route_has_a_row(app: Flask) -> None:
    """But those for staff, which tests/admin/test_roles.py asks for as somebody without a role."""
    assert {route for route in protected_routes(app) if not route[1].startswith("/api/admin/")} == set(ROWS)


@pytest.mark.parametrize("route", ROWS, ids=" ".join)
def test_one_user_reaches_nothing_of_another_s(
    app: Flask, client: FlaskClient, victim: Victim, route: tuple[str, str]
) -> None:
    other = new_user(app, inr=5_000, btc=1000)
    before = belongings(app, victim.person.id)
    path, body, status = ROWS[route](victim)
    answer = client.open(path, method=route[0], json=body, headers=other.headers)
    assert answer.status_code == status, answer.text
    assert [mark for mark in victim.marks if mark in answer.text] == []
    assert belongings(app, victim.person.id) == before
    assert client.get("/api/balance", headers=victim.person.headers).get_json()["available_inr"] == INR


def test_one_user_s_socket_gets_nothing_of_another_s(
    app: Flask, client: FlaskClient, victim: Victim, connect: Callable[..., Client]
) -> None:
    other = new_user(app, inr=5_000)
    socket, theirs = connect(auth={"token": other.token}), connect(auth={"token": victim.person.token})
    heard = socket.got()
    assert "authentication_success" in dict(heard)
    guesses = (f"user:{victim.person.id}", victim.person.id, {"room": f"user:{victim.person.id}"}, None, [])
    rng = random.Random(11)  # noqa: S311 - replayable, no secret
    for _ in range(1000):
        heard += socket.send(rng.choice(EVENTS), *rng.choices(guesses, k=rng.randrange(3)))
    assert client.post("/api/trade", json=BUY, headers=victim.person.headers).status_code == 201
    heard += socket.got()
    assert "user_transaction_update" in theirs.names()
    assert [mark for mark in victim.marks if mark in str(heard)] == []
