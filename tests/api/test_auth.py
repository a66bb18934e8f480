"""/api/auth/…: accounts and tokens."""

from collections.abc import Callable
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade.services import auth
from tests.fixtures import PASSWORD, Person, together

NEW = {"email": "Somebody@Example.com", "password": PASSWORD, "name": "Some Body"}
WRONG = "not the right words"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- Register -----------------------------------------------------------------------------------------------------


def test_register_answers_201_with_a_token_and_the_user(client: FlaskClient) -> None:
    answer = client.post("/api/auth/register", json=NEW)
    assert answer.status_code == 201
    body = answer.get_json()
    assert body["message"] == "User registered successfully"
    assert (body["user"]["email"].lower(), body["user"]["name"]) == ("somebody@example.com", "Some Body")
    assert type(body["user"]["id"]) is int
    assert client.get("/api/auth/verify", headers=bearer(body["token"])).get_json()["valid"] is True
    assert "password" not in answer.text


def test_a_new_account_holds_nothing(client: FlaskClient) -> None:
    token = client.post("/api/auth/register", json=NEW).get_json()["token"]
    balance = client.get("/api/balance", headers=bearer(token)).get_json()
    assert {balance[name] for name in balance if name.endswith(("_inr", "_btc", "_accrued"))} == {0}


@pytest.mark.parametrize("email", ["Somebody@Example.com", "somebody@example.com", "SOMEBODY@EXAMPLE.COM"])
def test_an_email_that_is_taken_is_409_whatever_its_case(client: FlaskClient, email: str) -> None:
    client.post("/api/auth/register", json=NEW)
    answer = client.post("/api/auth/register", json={**NEW, "email": email})
    assert answer.status_code == 409
    assert answer.get_json()["error"] == "User with this email already exists"
    assert answer.get_json()["code"] == "email_taken"


def test_of_registrations_at_once_one_succeeds_and_the_others_are_409(app: Flask) -> None:
    statuses = together(8, lambda _: app.test_client().post("/api/auth/register", json=NEW).status_code)
    assert sorted(statuses) == [201] + [409] * 7


@pytest.mark.parametrize("missing", ["email", "password", "name"])
@pytest.mark.parametrize("how", ["absent", "null", "empty"])
def test_a_missing_field_is_400_and_named(client: FlaskClient, missing: str, how: str) -> None:
    body: dict[str, Any] = {name: value for name, value in NEW.items() if name != missing}
    if how != "absent":
        body[missing] = None if how == "null" else ""
    answer = client.post("/api/auth/register", json=body)
    assert answer.status_code == 400
    assert answer.get_json()["code"] == "missing_fields"
    assert missing in answer.get_json()["error"]


def test_a_confirmation_must_match_if_it_is_sent(client: FlaskClient) -> None:
    refused = client.post("/api/auth/register", json={**NEW, "confirmPassword": WRONG})
    assert refused.status_code == 400
    assert refused.get_json()["error"] == "Passwords do not match"
    assert client.post("/api/auth/register", json={**NEW, "confirmPassword": PASSWORD}).status_code == 201


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("password", "short", "invalid_input"),
        ("password", "x" * 257, "invalid_input"),
        ("password", "x" * 5000, "invalid_input"),
        ("password", "password123", "weak_password"),
        ("password", "Some Body", "invalid_input"),
        ("password", "somebody@example.com", "weak_password"),
        ("password", 1234567890, "invalid_input"),
        ("password", ["a long enough pass phrase"], "invalid_input"),
        ("email", "not an address", "invalid_input"),
        ("email", "x@" + "y" * 260 + ".com", "invalid_input"),
        ("email", {"$ne": None}, "invalid_input"),
        ("email", True, "invalid_input"),
        ("name", "x" * 101, "invalid_input"),
        ("name", "two\nlines", "invalid_input"),
        ("name", 7, "invalid_input"),
        ("confirmPassword", 7, "invalid_input"),
    ],
)
def test_an_unfit_field_is_400(client: FlaskClient, field: str, value: object, code: str) -> None:
    answer = client.post("/api/auth/register", json={**NEW, field: value})
    assert answer.status_code == 400
    assert answer.get_json()["code"] == code


def test_unknown_keys_are_ignored(client: FlaskClient) -> None:
    extra = {**NEW, "id": 1, "available_inr": 10**9, "is_admin": True, "__proto__": {}}
    answer = client.post("/api/auth/register", json=extra)
    assert answer.status_code == 201
    balance = client.get("/api/balance", headers=bearer(answer.get_json()["token"])).get_json()
    assert balance["available_inr"] == 0


# --- Log in -------------------------------------------------------------------------------------------------------


def test_login_answers_200_with_a_token_and_the_user(client: FlaskClient, user: Person) -> None:
    answer = client.post("/api/auth/login", json={"email": user.email.upper(), "password": PASSWORD})
    assert answer.status_code == 200
    body = answer.get_json()
    assert body["message"] == "Login successful"
    own = {"id": user.id, "email": user.email, "name": user.name}
    assert body["user"] == {**own, "is_admin": 0, "role": "user"}
    assert client.get("/api/balance", headers=bearer(body["token"])).status_code == 200


def test_an_unknown_email_and_a_wrong_password_get_the_same_answer(client: FlaskClient, user: Person) -> None:
    unknown = client.post("/api/auth/login", json={"email": "nobody@example.com", "password": PASSWORD})
    wrong = client.post("/api/auth/login", json={"email": user.email, "password": WRONG})
    malformed = client.post("/api/auth/login", json={"email": "not an address", "password": WRONG})
    assert unknown.status_code == wrong.status_code == malformed.status_code == 401
    assert unknown.data == wrong.data == malformed.data
    assert unknown.get_json() == {"error": "Invalid email or password", "code": "invalid_credentials"}


def test_ten_failures_lock_the_login_with_429_and_retry_after(client: FlaskClient, user: Person) -> None:
    for _ in range(10):
        answer = client.post("/api/auth/login", json={"email": user.email, "password": WRONG})
        assert answer.status_code == 401
    for password in (WRONG, PASSWORD):
        answer = client.post("/api/auth/login", json={"email": user.email.title(), "password": password})
        assert answer.status_code == 429
        assert answer.get_json()["code"] == "account_locked"
        assert 0 < int(answer.headers["Retry-After"]) <= 31
    assert client.get("/api/balance", headers=user.headers).status_code == 200  # who is in stays in


def test_another_address_in_x_forwarded_for_does_not_get_around_the_lock(
    client: FlaskClient, user: Person
) -> None:
    statuses = [
        client.post(
            "/api/auth/login",
            json={"email": user.email, "password": WRONG},
            headers={"X-Forwarded-For": f"10.0.0.{number}"},
        ).status_code
        for number in range(12)
    ]
    assert statuses == [401] * 10 + [429] * 2


@pytest.mark.parametrize("missing", ["email", "password"])
def test_login_without_a_field_is_400(client: FlaskClient, missing: str) -> None:
    body = {"email": "x@example.com", "password": WRONG}
    del body[missing]
    answer = client.post("/api/auth/login", json=body)
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Missing required fields: email, password"


# --- Verify -------------------------------------------------------------------------------------------------------


def test_verify_answers_who_it_is(client: FlaskClient, user: Person) -> None:
    answer = client.get("/api/auth/verify", headers=user.headers)
    assert answer.status_code == 200
    assert answer.get_json() == {
        "valid": True,
        "user": {"id": user.id, "email": user.email, "name": user.name, "is_admin": 0, "role": "user"},
    }


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "}]
)
def test_verify_without_a_token_is_401_in_its_own_words(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.get("/api/auth/verify", headers=headers)
    assert answer.status_code == 401
    assert answer.get_json()["error"] == "No token provided"


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "x" * 8192, "two words"])
def test_verify_with_a_bad_token_is_401_in_its_own_words(client: FlaskClient, token: str) -> None:
    answer = client.get("/api/auth/verify", headers=bearer(token))
    assert answer.status_code == 401
    assert answer.get_json()["error"] == "Invalid token"


def test_verify_with_a_revoked_token_is_401(client: FlaskClient, user: Person) -> None:
    client.post("/api/auth/logout", headers=user.headers)
    assert client.get("/api/auth/verify", headers=user.headers).get_json()["error"] == "Invalid token"


def test_verify_is_not_tightly_limited(client: FlaskClient, user: Person) -> None:
    assert {client.get("/api/auth/verify", headers=user.headers).status_code for _ in range(100)} == {200}


# --- Log out, change the password ---------------------------------------------------------------------------------


def test_logout_ends_this_token_with_403_from_then_on(client: FlaskClient, user: Person) -> None:
    other = client.post("/api/auth/login", json={"email": user.email, "password": PASSWORD}).get_json()[
        "token"
    ]
    assert client.post("/api/auth/logout", headers=user.headers).status_code == 200
    answer = client.get("/api/balance", headers=user.headers)
    assert (answer.status_code, answer.get_json()["error"]) == (403, "Invalid or expired token")
    assert client.get("/api/balance", headers=bearer(other)).status_code == 200


def test_logout_all_ends_all_tokens(client: FlaskClient, user: Person) -> None:
    other = client.post("/api/auth/login", json={"email": user.email, "password": PASSWORD}).get_json()[
        "token"
    ]
    assert client.post("/api/auth/logout-all", headers=user.headers).status_code == 200
    for headers in (user.headers, bearer(other)):
        assert client.get("/api/balance", headers=headers).status_code == 403


def test_a_change_of_password_keeps_this_token_and_ends_the_others(client: FlaskClient, user: Person) -> None:
    login = {"email": user.email, "password": PASSWORD}
    other = client.post("/api/auth/login", json=login).get_json()["token"]
    change = {"currentPassword": PASSWORD, "newPassword": "entirely different words"}
    assert client.post("/api/auth/password", json=change, headers=user.headers).status_code == 200
    assert client.get("/api/balance", headers=user.headers).status_code == 200
    assert client.get("/api/balance", headers=bearer(other)).status_code == 403
    assert client.post("/api/auth/login", json=login).status_code == 401
    assert (
        client.post("/api/auth/login", json={**login, "password": change["newPassword"]}).status_code == 200
    )


def test_a_change_of_password_with_a_wrong_current_one_is_401_and_changes_nothing(
    client: FlaskClient, user: Person
) -> None:
    change = {"currentPassword": WRONG, "newPassword": "entirely different words"}
    answer = client.post("/api/auth/password", json=change, headers=user.headers)
    assert answer.status_code == 401
    assert client.post("/api/auth/login", json={"email": user.email, "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize("new", ["short", "password123", "x" * 257])
def test_a_change_to_an_unfit_password_is_400(client: FlaskClient, user: Person, new: str) -> None:
    change = {"currentPassword": PASSWORD, "newPassword": new}
    assert client.post("/api/auth/password", json=change, headers=user.headers).status_code == 400


def test_a_disabled_user_s_token_is_403(app: Flask, client: FlaskClient, user: Person) -> None:
    with app.app_context():
        auth.disable_user(user.email)
    assert client.get("/api/balance", headers=user.headers).status_code == 403
    login = client.post("/api/auth/login", json={"email": user.email, "password": PASSWORD})
    assert (login.status_code, login.get_json()["error"]) == (401, "Invalid email or password")


# --- The header ---------------------------------------------------------------------------------------------------


def test_a_token_that_pyjwt_made_with_our_secret_is_let_in(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    claims = {"id": user.id, "email": user.email, "exp": 4_000_000_000}
    token = jwt.encode(claims, app.config["JWT_SECRET"], algorithm="HS256")
    assert client.get("/api/balance", headers=bearer(token)).status_code == 200


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda token: f"Bearer {token}", 200),
        (lambda token: f"bearer {token}", 200),
        (lambda token: f"Bearer   {token}  ", 200),
        (lambda token: token, 401),
        (lambda token: "", 401),
        (lambda token: "Bearer", 401),
        (lambda token: f"Bearer {token} {token}", 403),
        (lambda token: f"Bearer {token},Bearer {token}", 403),
        (lambda token: f"Bearer {token}x", 403),
        (lambda token: f"Bearer {token[:-1]}", 403),
        (lambda token: f"Bearer {token}\x00", 403),
        (lambda token: "Bearer null", 403),
        (lambda token: "Bearer " + "x" * 8192, 403),
        (lambda token: "Bearer \xe9\xe9", 403),
        (lambda token: "Basic dXNlcjpwYXNz", 401),
    ],
)
def test_the_authorization_header_is_read_as_first_clients_send_it(
    client: FlaskClient, user: Person, make: Callable[[str], str], status: int
) -> None:
    answer = client.get("/api/balance", headers={"Authorization": make(user.token)})
    assert answer.status_code == status
    if status != 200:
        expected = {401: "Access token required", 403: "Invalid or expired token"}[status]
        assert answer.get_json()["error"] == expected


def test_a_token_in_the_query_or_a_cookie_or_the_body_is_no_token(client: FlaskClient, user: Person) -> None:
    client.set_cookie("access_token_cookie", user.token)
    for path in (
        f"/api/balance?token={user.token}",
        f"/api/balance?access_token={user.token}&jwt={user.token}",
    ):
        assert client.get(path).status_code == 401
    assert client.post("/api/trade", json={"access_token": user.token}).status_code == 401
