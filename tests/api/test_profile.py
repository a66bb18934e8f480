"""/api/user/profile: the later client's routes. The rules are those of /api/auth; here are its paths and shapes."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.fixtures import PASSWORD, Person, new_user

NEW_PASSWORD = "entirely different words"


def put(client: FlaskClient, user: Person, what: str, **body: Any) -> Any:
    return client.put(f"/api/user/profile/{what}", json=body, headers=user.headers)


def actions(client: FlaskClient, user: Person) -> list[tuple[str, dict[str, Any]]]:
    events = client.get("/api/account/activity", headers=user.headers).get_json()["events"]
    return [(event["action"], event["facts"]) for event in events]


def test_a_profile_is_its_user(client: FlaskClient, user: Person) -> None:
    answer = client.get("/api/user/profile", headers=user.headers)
    assert answer.status_code == 200
    shown = answer.get_json()["user"]
    wanted = {"id": user.id, "email": user.email, "name": user.name, "is_admin": 0}
    assert {name: shown[name] for name in wanted} == wanted


def test_the_name_changes_and_the_log_has_both(client: FlaskClient, user: Person) -> None:
    answer = put(client, user, "name", name="  New Name ", currentPassword=PASSWORD)
    assert (answer.status_code, answer.get_json()) == (200, {"message": "Name changed", "name": "New Name"})
    assert client.get("/api/user/profile", headers=user.headers).get_json()["user"]["name"] == "New Name"
    changed = {"before": {"name": user.name}, "after": {"name": "New Name"}}
    assert actions(client, user)[0] == ("profile_changed", changed)


def test_the_email_changes_and_the_next_login_is_by_it(client: FlaskClient, user: Person) -> None:
    answer = put(client, user, "email", email="New@Example.com", currentPassword=PASSWORD)
    assert answer.get_json() == {"message": "Email changed", "email": "New@example.com"}
    login = {"email": "new@example.com", "password": PASSWORD}
    assert client.post("/api/auth/login", json=login).status_code == 200


def test_an_email_of_another_is_409(app: Flask, client: FlaskClient, user: Person) -> None:
    answer = put(client, user, "email", email=new_user(app).email, currentPassword=PASSWORD)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "email_taken")


def test_a_new_password_ends_every_other_session_and_key(client: FlaskClient, user: Person) -> None:
    login = {"email": user.email, "password": PASSWORD}
    other = client.post("/api/auth/login", json=login).get_json()["token"]
    key = client.post("/api/keys", json={"name": "bot", "scopes": ["read"]}, headers=user.headers)
    answer = put(
        client,
        user,
        "password",
        currentPassword=PASSWORD,
        newPassword=NEW_PASSWORD,
        confirmPassword=NEW_PASSWORD,
    )
    assert (answer.status_code, answer.get_json()) == (200, {"message": "Password changed"})
    for ended in (other, key.get_json()["key"]):
        headers = {"Authorization": f"Bearer {ended}"}
        assert client.get("/api/balance", headers=headers).status_code == 403
    assert client.get("/api/balance", headers=user.headers).status_code == 200
    assert client.post("/api/auth/login", json=login).status_code == 401
    assert client.post("/api/auth/login", json={**login, "password": NEW_PASSWORD}).status_code == 200
    assert "password_changed" in [action for action, _ in actions(client, user)]


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("name", {"name": "New", "currentPassword": "not the password"}, 401),
        ("name", {"name": "New"}, 400),
        ("name", {"currentPassword": PASSWORD}, 400),
        ("name", {"name": "two\nlines", "currentPassword": PASSWORD}, 400),
        ("email", {"email": "new@example.com", "currentPassword": "not the password"}, 401),
        ("email", {"email": "nonsense", "currentPassword": PASSWORD}, 400),
        ("password", {"currentPassword": "not the password", "newPassword": NEW_PASSWORD}, 401),
        ("password", {"currentPassword": PASSWORD, "newPassword": "short"}, 400),
        (
            "password",
            {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD, "confirmPassword": "other words"},
            400,
        ),
    ],
)
def test_a_refusal_changes_nothing(
    client: FlaskClient, user: Person, what: str, body: dict[str, Any], status: int
) -> None:
    answer = put(client, user, what, **body)
    assert answer.status_code == status
    assert isinstance(answer.get_json()["error"], str)
    shown = client.get("/api/user/profile", headers=user.headers).get_json()["user"]
    assert (shown["name"], shown["email"]) == (user.name, user.email)
    assert client.post("/api/auth/login", json={"email": user.email, "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize("what", ["name", "email", "password"])
def test_a_stolen_token_does_not_find_the_password_by_trying(
    client: FlaskClient, user: Person, what: str
) -> None:
    body = {"name": "New", "email": "new@example.com", "newPassword": NEW_PASSWORD}
    statuses = [
        put(client, user, what, **body, currentPassword=word).status_code
        for word in ["not the password"] * 10 + [PASSWORD]
    ]
    assert statuses == [401] * 10 + [429]
