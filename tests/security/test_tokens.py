"""Bad tokens on every protected route and the socket; and a secret that is being replaced."""

import base64
import json
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_jwt_extended import create_refresh_token

from bittrade import wire
from bittrade.services import auth
from tests.fixtures import PASSWORD, Person, new_user
from tests.security.conftest import Client, bearer, fill, protected_routes

PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMA=\n-----END PUBLIC KEY-----\n"
DAY = timedelta(days=1)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class Forger:
    """Makes tokens that must not be taken, some of them with our own secret."""

    def __init__(self, app: Flask, user: Person) -> None:
        self.app, self.user, self.other = app, user, new_user(app)
        self.good = auth.login(email=user.email, password=PASSWORD)[0]

    def sign(self, key: str | None = None, algorithm: str = "HS256", **more: Any) -> str:
        claims = {"id": self.user.id, "email": self.user.email, "exp": wire.now() + DAY, **more}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key or self.app.config["JWT_SECRET"], algorithm=algorithm)

    def alg_none(self) -> str:
        return f"{part({'alg': 'none'})}.{self.good.split('.')[1]}."

    def hs512(self) -> str:
        return self.sign(algorithm="HS512")

    def key_confusion(self) -> str:
        claims = part({"id": self.user.id, "exp": 9_999_999_999})
        signed = f"{part({'alg': 'RS256'})}.{claims}"
        return f"{signed}.{jwt.encode({}, secrets.token_hex(32)).split('.')[2]}"

    def another_secret(self) -> str:
        return self.sign(key=secrets.token_hex(32))

    def no_exp(self) -> str:
        return self.sign(exp=None)

    def exp_as_text(self) -> str:
        return self.sign(exp="9999999999")

    def expired(self) -> str:
        return self.sign(exp=wire.now() - DAY)

    def issued_in_the_future(self) -> str:
        return self.sign(iat=wire.now() + DAY)

    def another_users_claims(self) -> str:
        header, _, signature = self.good.split(".")
        return ".".join([header, self.other.token.split(".")[1], signature])

    def refresh_as_access(self) -> str:
        return create_refresh_token(identity=self.user.id)

    def eight_kilobytes(self) -> str:
        return self.sign(padding="x" * 8192)

    def disabled_users(self) -> str:
        auth.disable_user(self.other.email)
        return self.other.token

    def nobodys(self) -> str:
        return self.sign(id=2**62)

    def revoked(self) -> str:
        auth.logout(auth.authenticate(self.good))
        return self.good

    def two_headers(self) -> str:
        return f"{self.good},Bearer {self.good}"

    def cut_short(self) -> str:
        return self.good[:-3]

    def id_as_text(self) -> str:
        return self.sign(id=str(self.user.id))

    def a_guessed_key(self) -> str:
        return "bt_" + secrets.token_urlsafe(32)


FORGERIES = [name for name in vars(Forger) if not name.startswith("_") and name != "sign"]


@pytest.fixture
def bad_token(app: Flask, user: Person, request: pytest.FixtureRequest) -> str:
    with app.app_context():
        token: str = getattr(Forger(app, user), request.param)()
        return token


def test_there_are_fifteen_bad_tokens_or_more() -> None:
    assert len(FORGERIES) >= 15


@pytest.mark.parametrize("bad_token", FORGERIES, indirect=True)
def test_a_bad_token_is_refused_alike_on_every_protected_route(
    app: Flask, client: FlaskClient, bad_token: str
) -> None:
    answers = {
        (answer.status_code, answer.text)
        for method, rule in protected_routes(app)
        for answer in [client.open(fill(rule), method=method, headers=bearer(bad_token), json={})]
    }
    assert answers == {(403, '{"error":"Invalid or expired token","code":"token_invalid"}')}
    verify = client.get("/api/auth/verify", headers=bearer(bad_token))
    assert (verify.status_code, verify.get_json()["error"]) == (401, "Invalid token")


@pytest.mark.parametrize("bad_token", FORGERIES, indirect=True)
def test_a_bad_token_is_refused_alike_on_the_socket(connect: Callable[..., Client], bad_token: str) -> None:
    socket = connect()
    socket.got()
    refusal = {"message": "Authentication failed", "error": "Invalid or expired token"}
    assert socket.authenticate(bad_token) == [("authentication_error", refusal)]
    assert socket.is_connected()


# --- Replacing the secret -----------------------------------------------------------------------------------------


def test_tokens_of_the_secret_before_are_taken_until_it_is_withdrawn(
    new_app: Callable[..., Flask], app: Flask, user: Person
) -> None:
    old, new = app.config["JWT_SECRET"], secrets.token_hex(32)
    rotating = new_app(JWT_SECRET=new, JWT_SECRET_PREVIOUS=old)
    assert rotating.test_client().get("/api/balance", headers=user.headers).status_code == 200
    with rotating.app_context():
        fresh = auth.login(email=user.email, password=PASSWORD)[0]
    jwt.decode(fresh, new, algorithms=["HS256"])  # signed with the new one
    rotated = new_app(JWT_SECRET=new)
    client = rotated.test_client()
    assert client.get("/api/balance", headers=user.headers).status_code == 403
    assert client.get("/api/balance", headers=bearer(fresh)).status_code == 200


def test_the_secret_before_accepts_nothing_that_the_secret_would_not(
    new_app: Callable[..., Flask], app: Flask, user: Person
) -> None:
    rotating = new_app(JWT_SECRET=secrets.token_hex(32), JWT_SECRET_PREVIOUS=app.config["JWT_SECRET"])
    client = rotating.test_client()
    claims = {"id": user.id, "email": user.email}
    for token in (
        jwt.encode(claims, app.config["JWT_SECRET"]),  # no exp
        jwt.encode({**claims, "exp": 1_000_000_000}, app.config["JWT_SECRET"]),
        jwt.encode({**claims, "exp": 9_999_999_999}, app.config["JWT_SECRET"], algorithm="HS512"),
        jwt.encode({**claims, "exp": 9_999_999_999}, secrets.token_hex(32)),
    ):
        assert client.get("/api/balance", headers=bearer(token)).status_code == 403
