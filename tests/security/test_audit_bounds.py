"""The audit log can be neither filled nor muted by who is refused."""

import time

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade.domain.tally import FIRST_WINDOW_S
from bittrade.extensions import db
from bittrade.models import AuditEvent
from bittrade.services import audit
from tests.fixtures import Person, new_user
from tests.security.conftest import bearer

WRONG = "not the right words"


@pytest.fixture(autouse=True)
def _nothing_refused_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "refusals", audit.Refusals())


def refused(app: Flask, action: str) -> list[sa.RowMapping]:
    with app.app_context(), db.engine.connect() as connection:
        wanted = sa.select(AuditEvent.__table__).where(AuditEvent.action == action)
        return list(connection.execute(wanted.order_by(AuditEvent.id)).mappings())


def fail(client: FlaskClient, email: str, at: str = "203.0.113.7") -> None:
    body = {"email": email, "password": WRONG}
    client.post("/api/auth/login", json=body, environ_overrides={"REMOTE_ADDR": at})


def test_wrong_logins_of_a_stranger_are_a_row_and_a_count(
    app: Flask, client: FlaskClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(8):
        fail(client, user.email)
    assert len(refused(app, "login_failed")) == 1
    later = time.monotonic() + FIRST_WINDOW_S
    monkeypatch.setattr(audit.time, "monotonic", lambda: later)
    with app.app_context():
        audit.refusals.write_due()
        audit.refusals.write_due()
    first, counted = refused(app, "login_failed")
    assert (first["user_id"], first["facts"]) == (user.id, "{}")
    assert (counted["user_id"], counted["facts"]) == (user.id, '{"count": 7, "in_s": 60}')
    assert (counted["address"], counted["actor"]) == ("203.0.113.7", "anonymous")


def test_a_thousand_strangers_silence_nobody(app: Flask, client: FlaskClient, user: Person) -> None:
    with app.app_context():
        for number in range(2000):
            audit.record_refusal("token_refused", cause=f"None 10.{number >> 8}.{number & 255}.1")
    assert len(refused(app, "token_refused")) <= audit.CAUSES_AN_OWNER + 1
    other = new_user(app)
    fail(client, user.email)
    fail(client, other.email)
    assert [row["user_id"] for row in refused(app, "login_failed")] == [user.id, other.id]


def test_many_networks_at_one_account_are_so_many_rows(app: Flask, client: FlaskClient, user: Person) -> None:
    for number in range(60):
        fail(client, user.email, at=f"203.0.113.{number}")
    assert len(refused(app, "login_failed")) == audit.CAUSES_AN_OWNER + 1


def test_a_lock_is_in_the_log_of_its_owner(app: Flask, client: FlaskClient, user: Person) -> None:
    for _ in range(11):
        fail(client, user.email)
    (row,) = refused(app, "account_locked")
    assert (row["user_id"], row["actor"], row["facts"]) == (user.id, "anonymous", '{"seconds": 30}')


def test_what_is_refused_says_from_where(app: Flask, client: FlaskClient) -> None:
    client.get("/api/balance", headers=bearer("x"), environ_overrides={"REMOTE_ADDR": "198.51.100.1"})
    (row,) = refused(app, "token_refused")
    assert (row["address"], row["user_id"]) == ("198.51.100.1", None)
