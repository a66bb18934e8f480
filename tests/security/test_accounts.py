"""Sessions, profile, activity, and what the audit log holds."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import wire
from bittrade.extensions import db
from bittrade.models import AuditEvent, LoginSession
from bittrade.services import audit, auth, corrections, funds, halt
from bittrade.services.audit import Origin
from bittrade.services.funds import Funds
from tests.fixtures import PASSWORD, Person, new_user, set_price
from tests.security.conftest import BUY, bearer

WRONG = "not the right words"
FIREFOX = {"User-Agent": "Firefox/1 on a phone"}


@pytest.fixture(autouse=True)
def _nothing_written_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "refusals", audit.Refusals())


def login(client: FlaskClient, user: Person, **options: object) -> str:
    body = {"email": user.email, "password": PASSWORD}
    token: str = client.post("/api/auth/login", json=body, **options).get_json()["token"]  # type: ignore[arg-type]
    return token


def rows(app: Flask) -> list[sa.RowMapping]:
    with app.app_context(), db.engine.connect() as connection:
        return list(connection.execute(sa.select(AuditEvent.__table__).order_by(AuditEvent.id)).mappings())


# --- Sessions -----------------------------------------------------------------------------------------------------


def test_sessions_name_device_address_and_which_one_asks(client: FlaskClient, user: Person) -> None:
    token = login(client, user, headers=FIREFOX)
    listed = client.get("/api/auth/sessions", headers=bearer(token)).get_json()["sessions"]
    assert len(listed) == 2
    (current,) = [session for session in listed if session["current"]]
    assert (current["device"], current["address"]) == (FIREFOX["User-Agent"], "127.0.0.1")
    assert current["issued_at"] <= current["last_seen_at"] <= current["expires_at"]
    assert token not in json.dumps(listed)


def test_ending_a_session_ends_that_token_and_no_other(client: FlaskClient, user: Person) -> None:
    token = login(client, user)
    listed = client.get("/api/auth/sessions", headers=bearer(token)).get_json()["sessions"]
    (other,) = [session for session in listed if not session["current"]]
    path = f"/api/auth/sessions/{other['id']}"
    assert client.delete(path, headers=bearer(token)).status_code == 200
    assert client.get("/api/balance", headers=user.headers).status_code == 403
    assert client.get("/api/balance", headers=bearer(token)).status_code == 200
    again = client.delete(path, headers=bearer(token))
    assert (again.status_code, again.get_json()["code"]) == (404, "session_not_found")


def test_a_device_s_own_words_are_cut_and_kept_to_one_line(client: FlaskClient, user: Person) -> None:
    token = login(client, user, headers={"User-Agent": "x\t\x7f" + "y" * 5000})
    listed = client.get("/api/auth/sessions", headers=bearer(token)).get_json()["sessions"]
    (current,) = [session for session in listed if session["current"]]
    assert current["device"].isprintable()
    assert len(current["device"]) == 200


def test_last_seen_is_written_at_most_once_a_minute(app: Flask, client: FlaskClient, user: Person) -> None:
    def seen() -> object:
        with app.app_context(), db.engine.connect() as connection:
            return connection.scalar(sa.select(LoginSession.last_seen_at))

    before = seen()
    client.get("/api/balance", headers=user.headers)
    assert seen() == before
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.update(LoginSession).values(last_seen_at=wire.now() - timedelta(seconds=61)))
    client.get("/api/balance", headers=user.headers)
    assert seen() > before  # type: ignore[operator]


# --- Profile ------------------------------------------------------------------------------------------------------


def test_name_and_email_change_and_the_token_goes_on(client: FlaskClient, user: Person) -> None:
    change = {"currentPassword": PASSWORD, "name": "New Name", "email": "New@Example.com"}
    answer = client.patch("/api/auth/profile", json=change, headers=user.headers)
    assert answer.status_code == 200
    expected = {
        "id": user.id,
        "name": "New Name",
        "email": "New@example.com",
        "is_admin": 0,
        "role": "user",
    }
    assert answer.get_json()["user"] == expected
    assert client.get("/api/auth/verify", headers=user.headers).get_json()["user"] == expected
    login_with = {"password": PASSWORD, "email": "NEW@example.com"}
    assert client.post("/api/auth/login", json=login_with).status_code == 200
    assert client.post("/api/auth/login", json={**login_with, "email": user.email}).status_code == 401


def test_an_email_of_another_is_refused_whatever_its_case(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    other = new_user(app)
    change = {"currentPassword": PASSWORD, "email": other.email.upper()}
    answer = client.patch("/api/auth/profile", json=change, headers=user.headers)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "email_taken")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"currentPassword": WRONG, "name": "New"}, 401),
        ({"name": "New"}, 400),
        ({"currentPassword": PASSWORD}, 400),
        ({"currentPassword": PASSWORD, "name": "two\nlines"}, 400),
        ({"currentPassword": PASSWORD, "email": "nonsense"}, 400),
    ],
)
def test_a_change_that_is_refused_changes_nothing(
    client: FlaskClient, user: Person, change: dict[str, str], status: int
) -> None:
    assert client.patch("/api/auth/profile", json=change, headers=user.headers).status_code == status
    assert client.get("/api/auth/verify", headers=user.headers).get_json()["user"]["name"] == user.name


@pytest.mark.parametrize("route", ["password", "profile"])
def test_a_stolen_token_does_not_find_the_password_by_trying(
    client: FlaskClient, user: Person, route: str
) -> None:
    method, body = {
        "password": ("POST", {"newPassword": "entirely different words"}),
        "profile": ("PATCH", {"name": "New"}),
    }[route]
    statuses = [
        client.open(
            f"/api/auth/{route}", method=method, json={**body, "currentPassword": word}, headers=user.headers
        ).status_code
        for word in [WRONG] * 10 + [PASSWORD]
    ]
    assert statuses == [401] * 10 + [429]


# --- Activity -----------------------------------------------------------------------------------------------------


def test_the_owner_sees_everything_that_happened_staff_included(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    client.post("/api/auth/login", json={"email": user.email, "password": WRONG})
    with app.app_context():
        audit.origin.set(Origin(actor="operator jane"))
        funds.withdraw(user.id, Funds(100, 0))
        audit.origin.set(Origin())
    body = client.get("/api/account/activity", headers=user.headers).get_json()
    seen = [(event["action"], event["by"]) for event in body["events"]]
    assert seen == [
        ("withdrawal", "staff"),
        ("login_failed", "unknown"),
        ("deposit", "owner"),
        ("registered", "owner"),
    ]
    assert body["events"][0]["facts"] == {"inr": 100, "satoshis": 0}
    assert "jane" not in json.dumps(body)  # which member of staff is the house's affair


def test_activity_is_paged_by_cursor(client: FlaskClient, user: Person) -> None:
    for _ in range(5):
        login(client, user)
    found, cursor = [], ""
    while True:
        page = client.get(f"/api/account/activity?limit=3{cursor}", headers=user.headers).get_json()
        found += [event["id"] for event in page["events"]]
        assert len(page["events"]) <= 3
        if not page["hasMore"]:
            break
        cursor = f"&before_id={page['next_before_id']}"
    assert found == sorted(set(found), reverse=True)
    assert len(found) == 7


# --- The audit log ------------------------------------------------------------------------------------------------


def test_each_thing_that_matters_is_in_the_audit_log_with_its_request(
    new_app: Callable[..., Flask], app: Flask, client: FlaskClient
) -> None:
    limited = new_app(RATELIMIT_ENABLED=True, RATELIMIT_TRADE="1 per minute").test_client()
    body = {"email": "canary@example.com", "password": PASSWORD, "name": "C"}
    token = client.post("/api/auth/register", json=body).get_json()["token"]
    for word in (WRONG,) * 10 + (PASSWORD,):
        client.post("/api/auth/login", json={**body, "password": word})
    assert client.post("/api/trade", json=BUY, headers=bearer(token)).status_code == 503
    for _ in range(2):
        limited.post("/api/trade", json=BUY, headers=bearer(token))
    client.post("/api/auth/logout", headers=bearer(token))
    client.get("/api/balance", headers=bearer(token))
    found = rows(app)
    actions = {row["action"] for row in found}
    assert actions >= {
        *(
            "registered",
            "login_failed",
            "account_locked",
            "trade_refused",
            "limit_hit",
            "logged_out",
            "token_refused",
        )
    }
    ids = {row["user_id"] for row in found}
    assert len(ids) == 1  # each of them says whom it concerns
    for row in found:
        assert row["request_id"], row["action"]
        assert row["address"] == "127.0.0.1"
        assert abs((wire.now() - row["at"]).total_seconds()) < 60
        assert PASSWORD not in str(row)
        assert token not in str(row)


def test_every_operator_s_change_is_in_the_audit_log_as_theirs(app: Flask) -> None:
    runner = app.test_cli_runner()
    set_price(app)
    user = new_user(app, inr=1000)
    for command in (
        ["user", "create", "x@example.com", "--name", "X"],
        ["balance", "deposit", user.email, "--inr", "5"],
        ["balance", "withdraw", user.email, "--inr", "5"],
        ["settings", "set", "buy_multiplier", "92"],
        ["trading", "halt", "--why", "a test"],
        ["trading", "resume", "--why", "it is over"],
        ["transaction", "reverse", "1", "--why", "a test"],
        ["user", "disable", user.email],
        ["user", "enable", user.email],
        ["user", "unlock", user.email],
    ):
        if command[:2] == ["transaction", "reverse"]:
            with app.app_context(), db.engine.connect() as connection:
                command[2] = str(connection.scalar(sa.text("SELECT MAX(id) FROM transactions")))
        before = len(rows(app))
        done = runner.invoke(args=command, input=f"{PASSWORD}\n{PASSWORD}\n")
        assert done.exit_code == 0, done.output
        assert PASSWORD not in done.output
        fresh = rows(app)[before:]
        assert fresh, command
        assert all(row["actor"].startswith("operator ") for row in fresh), command


def test_the_tail_of_the_audit_log_is_shown_one_line_an_event(app: Flask, client: FlaskClient) -> None:
    user = new_user(app)
    client.patch(
        "/api/auth/profile", json={"currentPassword": PASSWORD, "name": "A\u2028B"}, headers=user.headers
    )
    login(client, user, headers={"User-Agent": "evil"})
    lines = app.test_cli_runner().invoke(args=["audit", "tail", "--lines", "2"]).output.splitlines()
    assert [line.split("\t")[1] for line in lines] == ["registered", "logged_in"]
    only = app.test_cli_runner().invoke(args=["audit", "tail", "--user", user.email]).output
    assert only.count("logged_in") == 1


def test_a_flood_of_one_refusal_is_one_row_a_minute(app: Flask, client: FlaskClient, user: Person) -> None:
    before = len(rows(app))
    for _ in range(50):
        client.get("/api/balance", headers=bearer("nonsense"))
        client.post("/api/trade", json=BUY, headers=user.headers)
    assert sorted(row["action"] for row in rows(app)[before:]) == ["token_refused", "trade_refused"]


def test_no_service_can_change_or_remove_a_row_of_the_audit_log() -> None:
    """That the database does not let it either is tests/security/test_grants.py's to show."""
    verbs = [name for name in vars(audit) if name.startswith(("delete", "update", "remove", "purge", "edit"))]
    assert verbs == []


def test_a_reversal_and_a_halt_reach_the_owner_s_activity_where_they_concern_the_account(
    app: Flask, client: FlaskClient, price: None, user: Person
) -> None:
    traded = client.post("/api/trade", json=BUY, headers=user.headers).get_json()["id"]
    with app.app_context():
        audit.origin.set(Origin(actor="operator jane"))
        corrections.reverse_transaction(traded, why="a mistake")
        halt.halt_trading("a test")
        halt.resume_trading("over")
        audit.origin.set(Origin())
    events = client.get("/api/account/activity", headers=user.headers).get_json()["events"]
    assert (events[0]["by"], events[0]["facts"]["why"]) == ("staff", "a mistake")
    with app.app_context():
        assert auth.authenticate(user.token).user_id == user.id
