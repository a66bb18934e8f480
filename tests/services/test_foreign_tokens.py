"""Tokens of other programs with our secret: what each is known by, and when it ends, whatever their clocks say."""

import json
import string
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from jwt import api_jws as jws

from bittrade import wire
from bittrade.errors import TokenInvalid
from bittrade.extensions import db
from bittrade.models import LoginSession, User
from bittrade.services import auth, sessions
from bittrade.services.auth import access
from tests.fixtures import PASSWORD, Person, new_user, together

pytestmark = pytest.mark.usefixtures("inside")
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
Sign = Callable[..., str]


@pytest.fixture
def user(inside: Flask) -> Person:
    return new_user(inside)


@pytest.fixture
def sign(inside: Flask, user: Person) -> Sign:
    """Make a token of this user as another program would; `None` leaves a claim out."""

    def make(*, of: Person | None = None, header: dict[str, Any] | None = None, **more: Any) -> str:
        owner = of or user
        claims = {"id": owner.id, "email": owner.email, "exp": int(time.time()) + 3600, **more}
        payload = json.dumps({name: value for name, value in claims.items() if value is not None})
        return jws.encode(payload.encode(), inside.config["JWT_SECRET"], algorithm="HS256", headers=header)

    return make


def is_good(token: str) -> bool:
    try:
        auth.authenticate(token)
    except TokenInvalid:
        return False
    return True


# --- One token, one form ------------------------------------------------------------------------------------------


def forms(token: str) -> list[str]:
    """The same token in other letters: a decoder that is not strict takes all of them."""
    header, payload, signature = token.split(".")
    last = ALPHABET.index(signature[-1])
    loose = [signature[:-1] + ALPHABET[last & ~3 | bits] for bits in range(4)]
    return [
        *(f"{token}{end}" for end in ("=", "==", "\n", " ", "!", "=x", ".")),
        *(f"{header}.{payload}.{other}" for other in loose if other != signature),
        f"{header}=.{payload}.{signature}",
        f" {token}",
        f"{header}.{payload}.{signature[:5]}\n{signature[5:]}",
    ]


def test_another_form_of_a_token_is_no_token(user: Person, sign: Sign) -> None:
    for token in (sign(), user.token):
        assert is_good(token)
        assert [form for form in forms(token) if is_good(form)] == []


def test_a_token_that_was_logged_out_lives_again_in_no_form(user: Person, sign: Sign) -> None:
    for token in (sign(), user.token):
        auth.logout(auth.authenticate(token))
        assert [form for form in [token, *forms(token)] if is_good(form)] == []


def test_two_tokens_that_say_the_same_are_one(user: Person, sign: Sign) -> None:
    end = int(time.time()) + 3600
    first, second = sign(exp=end, note=1), sign(exp=float(end), note=1.0, header={"kid": "7"})
    assert first != second
    auth.logout(auth.authenticate(first))
    assert not is_good(second)
    assert is_good(sign(exp=end, note=2))


def test_one_token_under_both_secrets_is_one(
    new_app: Callable[..., Flask], inside: Flask, user: Person, sign: Sign
) -> None:
    token = sign()
    rotating = new_app(JWT_SECRET="n" + "ew" * 20, JWT_SECRET_PREVIOUS=inside.config["JWT_SECRET"])
    again = jws.encode(jws.decode(token, options={"verify_signature": False}), rotating.config["JWT_SECRET"])
    auth.logout(auth.authenticate(token))
    with rotating.app_context():
        assert not is_good(again)


def test_another_user_s_jti_ends_nobody_s_session(inside: Flask, user: Person, sign: Sign) -> None:
    other = new_user(inside)
    theirs = auth.authenticate(other.token).jti
    mine = sign(jti=theirs)
    auth.logout(auth.authenticate(mine))
    assert not is_good(mine)
    assert is_good(other.token)
    same = [sign(jti="the-same"), sign(jti="the-same", of=other)]
    for token in same:
        assert is_good(token)
    auth.logout(auth.authenticate(same[1]))
    assert [is_good(token) for token in same] == [True, False]


def test_a_change_of_password_under_another_user_s_jti_keeps_nobody_else_in(
    inside: Flask, user: Person, sign: Sign
) -> None:
    mine = sign(jti=auth.authenticate(new_user(inside).token).jti)
    auth.change_password(auth.authenticate(mine), current=PASSWORD, new="entirely different words")
    assert is_good(mine)
    assert not is_good(user.token)


def test_a_session_of_another_program_is_listed_and_can_be_ended(user: Person, sign: Sign) -> None:
    token = sign()
    identity = auth.authenticate(token)
    assert identity.jti in {row["id"] for row in sessions.list_sessions(identity)}
    sessions.end_session(auth.authenticate(user.token), identity.jti)
    assert not is_good(token)


# --- The end of all tokens ----------------------------------------------------------------------------------------


def logout_all(user: Person) -> None:
    auth.logout_all(auth.authenticate(auth.login(email=user.email, password=PASSWORD)[0]))


def moment(user: Person) -> float:
    """When all tokens were revoked."""
    with db.engine.connect() as connection:
        at = connection.scalar(sa.select(User.tokens_revoked_at).where(User.id == user.id))
    return at.timestamp()  # type: ignore[union-attr]


def test_a_token_minted_in_the_very_second_of_a_logout_all_is_good(user: Person, sign: Sign) -> None:
    logout_all(user)
    assert is_good(sign(iat=int(moment(user))))
    assert is_good(sign(iat=moment(user) + 0.000_01))


def test_a_token_minted_before_it_is_not(user: Person, sign: Sign) -> None:
    logout_all(user)
    assert not is_good(sign(iat=int(moment(user)) - 1))
    assert not is_good(sign(iat=moment(user) - 0.000_01, note="a fraction"))
    assert not is_good(sign())
    assert not is_good(sign(iat="yesterday"))
    assert not is_good(sign(iat=-(10**400)))


@pytest.mark.parametrize("ahead_s", [0, 1, 60, 3600, 14 * 3600])
def test_a_token_that_was_there_before_ends_whatever_its_clock_said(
    user: Person, sign: Sign, ahead_s: int
) -> None:
    token = sign(iat=int(time.time()) + ahead_s)
    assert is_good(token)
    logout_all(user)
    assert not is_good(token)
    assert is_good(sign(iat=int(time.time()), note="a new one"))


@pytest.mark.parametrize("ahead_s", [5, 60, 3600])
def test_a_token_of_a_clock_ahead_that_nobody_had_seen_ends_too_and_for_good(
    user: Person, sign: Sign, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    token = sign(iat=int(time.time()) + ahead_s, exp=int(time.time()) + 86_400)
    logout_all(user)
    assert not is_good(token)
    later = wire.now() + timedelta(seconds=ahead_s + 3600)
    monkeypatch.setattr(wire, "now", lambda: later)
    assert not is_good(token)


def test_long_after_a_logout_all_a_clock_that_is_ahead_is_believed_again(
    user: Person, sign: Sign, monkeypatch: pytest.MonkeyPatch
) -> None:
    logout_all(user)
    later = wire.now() + access.DOUBT + timedelta(seconds=1)
    monkeypatch.setattr(wire, "now", lambda: later)
    assert is_good(sign(iat=later.timestamp() + 5))


@pytest.mark.usefixtures(
    "mariadb_url"
)  # SQLite has one writer: there nothing ends a token while another comes in
def test_a_token_that_was_coming_in_during_a_logout_all_does_not_survive_it(
    user: Person, sign: Sign, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, admit = sign(iat=int(time.time()) + 1), access._admit

    def slow(*args: Any) -> bool:
        monkeypatch.setattr(access, "_admit", admit)
        logout_all(user)
        return admit(*args)

    monkeypatch.setattr(access, "_admit", slow)
    assert not is_good(token)
    assert not is_good(token)


def test_a_token_that_is_seen_by_many_at_once_gets_one_row(
    on_both_databases: Flask,
) -> None:
    user = new_user(on_both_databases)
    claims = {"id": user.id, "email": user.email, "exp": int(time.time()) + 3600}
    token = jws.encode(json.dumps(claims).encode(), on_both_databases.config["JWT_SECRET"])

    def come_in(_number: int) -> bool:
        with on_both_databases.app_context():
            return is_good(token)

    assert together(8, come_in) == [True] * 8
    with on_both_databases.app_context(), db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(LoginSession)) == 2


def test_a_disabled_user_s_new_token_is_refused(user: Person, sign: Sign) -> None:
    auth.disable_user(user.email)
    assert not is_good(sign(iat=int(time.time()) + 1))
    assert not is_good(sign(iat=int(time.time()) + 3600))


def disable_by_hand(user: Person) -> None:
    """As somebody does with nothing but SQL: no token of theirs is revoked."""
    with db.engine.begin() as connection:
        connection.execute(sa.update(User).where(User.id == user.id).values(disabled_at=wire.now()))


def test_who_was_disabled_by_hand_is_out_too(user: Person, sign: Sign) -> None:
    known = sign()
    assert is_good(known)
    disable_by_hand(user)
    assert not is_good(known)
    assert not is_good(user.token)


def test_a_token_that_was_coming_in_as_its_user_was_disabled_does_not_get_in(
    user: Person, sign: Sign, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit = access._admit

    def slow(*args: Any) -> bool:
        disable_by_hand(user)
        return admit(*args)

    monkeypatch.setattr(access, "_admit", slow)
    assert not is_good(sign())


def test_a_session_that_was_ended_is_not_listed(user: Person) -> None:
    mine = auth.authenticate(user.token)
    other = auth.authenticate(auth.login(email=user.email, password=PASSWORD)[0])
    assert {row["id"] for row in sessions.list_sessions(mine)} == {mine.jti, other.jti}
    sessions.end_session(mine, other.jti)
    assert [row["id"] for row in sessions.list_sessions(mine)] == [mine.jti]


def test_the_leeway_after_a_token_s_end_is_some_seconds(sign: Sign) -> None:
    assert is_good(sign(exp=time.time() - 1))
    for late_s in (10, 60, 3000):
        assert not is_good(sign(exp=time.time() - late_s))
        assert not is_good(sign(nbf=time.time() + late_s))
