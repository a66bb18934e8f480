"""Who guesses a password locks themselves out, and not its owner."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import wire
from bittrade.extensions import db
from bittrade.models import LoginFailure
from tests.fixtures import PASSWORD, Person, new_user, together
from tests.security.conftest import bearer

WRONG = "not the right words"
NEW = "entirely different words"
HOME, THEIRS = "198.51.100.7", "203.0.113.9"


def login(client: FlaskClient, user: Person, password: str, *, at: str, device: str = "a browser") -> int:
    answer = client.post(
        "/api/auth/login",
        json={"email": user.email, "password": password},
        headers={"User-Agent": device},
        environ_overrides={"REMOTE_ADDR": at},
    )
    return answer.status_code


def pass_time(app: Flask, seconds: float) -> None:
    """Let time pass for all that was counted."""
    with app.app_context(), db.engine.begin() as connection:
        for row in connection.execute(sa.select(LoginFailure.__table__)).all():
            moved = {"last_failed_at": row.last_failed_at - timedelta(seconds=seconds)}
            if row.locked_until is not None:
                moved["locked_until"] = row.locked_until - timedelta(seconds=seconds)
            mine = sa.update(LoginFailure).where(
                LoginFailure.email_normalized == row.email_normalized, LoginFailure.bucket == row.bucket
            )
            connection.execute(mine.values(**moved))


def test_one_wrong_guess_each_quarter_of_an_hour_keeps_nobody_out(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    assert [login(client, user, WRONG, at=THEIRS) for _ in range(11)] == [401] * 10 + [429]
    for _ in range(20):
        pass_time(app, 901)
        login(client, user, WRONG, at=THEIRS)
        assert login(client, user, PASSWORD, at=HOME) == 200
    assert login(client, user, PASSWORD, at=THEIRS) == 200  # their lock has decayed, too


def test_failures_are_forgotten_with_time(app: Flask, client: FlaskClient, user: Person) -> None:
    for _ in range(9):
        login(client, user, WRONG, at=THEIRS)
    pass_time(app, 5 * 300 + 1)
    assert [login(client, user, WRONG, at=THEIRS) for _ in range(7)] == [401] * 6 + [429]


@pytest.mark.parametrize("route", ["password", "profile"])
def test_who_is_logged_in_changes_password_and_profile_during_a_lock(
    client: FlaskClient, user: Person, route: str
) -> None:
    for _ in range(12):
        login(client, user, WRONG, at="127.0.0.1")
    method, body = {"password": ("POST", {"newPassword": NEW}), "profile": ("PATCH", {"name": "New"})}[route]
    change = {"currentPassword": PASSWORD, **body}
    answer = client.open(f"/api/auth/{route}", method=method, json=change, headers=user.headers)
    assert answer.status_code == 200


def test_a_stolen_token_that_guesses_locks_out_neither_the_login_nor_another_session(
    client: FlaskClient, user: Person
) -> None:
    other = client.post("/api/auth/login", json={"email": user.email, "password": PASSWORD}).get_json()
    guess = {"currentPassword": WRONG, "newPassword": NEW}
    statuses = [
        client.post("/api/auth/password", json=guess, headers=user.headers).status_code for _ in range(11)
    ]
    assert statuses == [401] * 10 + [429]
    assert login(client, user, PASSWORD, at="127.0.0.1") == 200
    change = {"currentPassword": PASSWORD, "newPassword": NEW}
    answer = client.post("/api/auth/password", json=change, headers=bearer(other["token"]))
    assert answer.status_code == 200


def test_a_device_that_is_known_gets_in_beside_guesses_from_its_own_network(
    client: FlaskClient, user: Person
) -> None:
    assert login(client, user, PASSWORD, at=HOME, device="the owner's phone") == 200
    assert [login(client, user, WRONG, at=HOME) for _ in range(11)][-1] == 429
    assert login(client, user, PASSWORD, at=HOME, device="the owner's phone") == 200
    assert login(client, user, PASSWORD, at=HOME, device="another phone") == 429


def test_many_networks_together_are_stopped_and_a_known_device_still_gets_in(
    client: FlaskClient, user: Person
) -> None:
    assert login(client, user, PASSWORD, at=HOME) == 200
    statuses = [login(client, user, WRONG, at=f"203.0.113.{number}") for number in range(110)]
    assert statuses == [401] * 100 + [429] * 10
    assert login(client, user, PASSWORD, at="192.0.2.1") == 429
    assert login(client, user, PASSWORD, at=HOME) == 200


def test_a_success_of_the_owner_gives_strangers_no_new_guesses(client: FlaskClient, user: Person) -> None:
    for number in range(99):
        login(client, user, WRONG, at=f"203.0.113.{number}")
    assert login(client, user, PASSWORD, at=HOME) == 200
    assert [login(client, user, WRONG, at=f"192.0.2.{number}") for number in range(2)] == [401, 429]


def test_ten_guesses_at_once_are_one_lock_of_the_first_length(app: Flask, user: Person) -> None:
    for _ in range(9):
        login(app.test_client(), user, WRONG, at=THEIRS)
    together(10, lambda _: login(app.test_client(), user, WRONG, at=THEIRS))
    with app.app_context(), db.engine.connect() as connection:
        until = connection.scalar(sa.select(sa.func.max(LoginFailure.locked_until)))
    assert until - wire.now() <= timedelta(seconds=30)


def test_logins_to_an_account_are_limited_for_each_network(
    new_app: Callable[..., Flask], user: Person
) -> None:
    client = new_app(RATELIMIT_ENABLED=True, RATELIMIT_LOGIN_ACCOUNT="3 per hour").test_client()
    assert [login(client, user, WRONG, at=THEIRS) for _ in range(4)] == [401, 401, 401, 429]
    assert login(client, user, PASSWORD, at=HOME) == 200


def test_changes_are_limited_by_account_and_not_by_address(
    new_app: Callable[..., Flask], app: Flask, user: Person
) -> None:
    client = new_app(RATELIMIT_ENABLED=True, RATELIMIT_WRITE="2 per hour").test_client()

    def status(who: Person, at: str) -> int:
        body = {"name": "x", "scopes": ["read"]}
        place = {"REMOTE_ADDR": at}
        return client.post("/api/keys", json=body, headers=who.headers, environ_overrides=place).status_code

    assert [status(user, at) for at in (HOME, THEIRS, "192.0.2.1")] == [201, 201, 429]
    assert status(new_user(app), HOME) == 201


# --- Operators ----------------------------------------------------------------------------------------------------


def test_an_operator_lifts_the_locks_of_an_account(app: Flask, client: FlaskClient, user: Person) -> None:
    for _ in range(11):
        login(client, user, WRONG, at=THEIRS)
    assert login(client, user, PASSWORD, at=THEIRS) == 429
    done = app.test_cli_runner().invoke(args=["user", "unlock", user.email.upper()])
    assert (done.exit_code, done.output) == (0, f"user {user.id} unlocked\n")
    assert login(client, user, PASSWORD, at=THEIRS) == 200


def test_an_operator_opens_a_shut_account_and_its_old_tokens_stay_ended(
    app: Flask, client: FlaskClient, user: Person
) -> None:
    runner = app.test_cli_runner()
    assert runner.invoke(args=["user", "disable", user.email]).exit_code == 0
    assert login(client, user, PASSWORD, at=HOME) == 401
    assert runner.invoke(args=["user", "enable", user.email]).exit_code == 0
    assert login(client, user, PASSWORD, at=HOME) == 200
    assert client.get("/api/balance", headers=user.headers).status_code == 403


@pytest.mark.parametrize("command", ["unlock", "enable", "disable"])
def test_an_account_that_nobody_has_is_one_line_and_exit_status_1(app: Flask, command: str) -> None:
    done = app.test_cli_runner().invoke(args=["user", command, "nobody@example.com"])
    assert (done.exit_code, done.output) == (1, "Error: No user has the e-mail nobody@example.com\n")


@pytest.mark.parametrize(
    "command", [["trading", "halt"], ["trading", "resume"], ["transaction", "reverse", "1"]]
)
@pytest.mark.parametrize("why", ["", "  ", "-", "…"])
def test_a_step_of_an_operator_needs_a_reason(app: Flask, command: list[str], why: str) -> None:
    done = app.test_cli_runner().invoke(args=[*command, "--why", why])
    assert (done.exit_code, done.output) == (1, "Error: Say why\n")


def test_no_command_takes_a_password_as_an_argument(app: Flask) -> None:
    def options(command: object) -> list[str]:
        own = [name for option in getattr(command, "params", []) for name in option.opts]
        return own + [name for child in getattr(command, "commands", {}).values() for name in options(child)]

    found = options(app.cli)
    assert "--why" in found
    assert [name for name in found if "password" in name or "secret" in name or "token" in name] == []


def test_a_new_account_s_password_comes_from_the_environment_or_is_asked_for(app: Flask) -> None:
    runner, command = app.test_cli_runner(), ["user", "create", "x@example.com", "--name", "X"]
    done = runner.invoke(args=command, env={"BITTRADE_NEW_PASSWORD": PASSWORD})
    assert done.exit_code == 0
    command[2] = "y@example.com"
    assert runner.invoke(args=command, input=f"{PASSWORD}\n{WRONG}\n").exit_code == 1
    assert runner.invoke(args=command, input=f"{PASSWORD}\n{PASSWORD}\n").exit_code == 0
