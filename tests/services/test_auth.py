"""Accounts and tokens."""

import base64
import json
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from flask import Flask
from flask_jwt_extended import create_refresh_token
from jwt import api_jws as jws

from bittrade import wire
from bittrade.errors import AccountLocked, EmailTaken, InvalidCredentials, InvalidInput, TokenInvalid
from bittrade.extensions import db
from bittrade.models import AuditEvent, LoginFailure, User
from bittrade.services import audit, auth, passwords
from tests.fixtures import PASSWORD, Person, new_user, together

pytestmark = pytest.mark.usefixtures("inside")
WRONG = "not the right words"


def claims_for(user: Person, **more: Any) -> dict[str, Any]:
    """What another program of ours puts into a token."""
    return {"id": user.id, "email": user.email, "exp": wire.now() + timedelta(hours=1), **more}


@pytest.fixture
def user(inside: Flask) -> Person:
    return new_user(inside)


@pytest.fixture
def sign(inside: Flask) -> Callable[..., str]:
    """Make a token with our secret, as another program would."""

    def make(claims: dict[str, Any], *, key: str | None = None, algorithm: str = "HS256") -> str:
        moments = {name: value.timestamp() for name, value in claims.items() if isinstance(value, datetime)}
        payload = json.dumps(
            {**claims, **moments}
        ).encode()  # PyJWT itself makes no claim that it would not take
        return jws.encode(payload, key or inside.config["JWT_SECRET"], algorithm=algorithm)

    return make


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: str = "") -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)
    ]
    return ".".join([*parts, signature])


# --- Tokens that are good -----------------------------------------------------------------------------------------


def test_a_token_has_the_contract_s_claims_and_lives_a_day(user: Person) -> None:
    claims = jwt.decode(user.token, options={"verify_signature": False})
    assert (claims["id"], claims["email"]) == (user.id, user.email)
    assert type(claims["id"]) is int
    assert claims["exp"] - claims["iat"] == 24 * 3600
    assert len(claims["jti"]) >= 16
    assert jwt.get_unverified_header(user.token)["alg"] == "HS256"


def test_a_token_names_its_owner(user: Person) -> None:
    identity = auth.authenticate(user.token)
    assert (identity.user_id, identity.email, identity.name) == (user.id, user.email, user.name)


def test_a_token_that_pyjwt_made_from_id_and_email_is_accepted(
    user: Person, sign: Callable[..., str]
) -> None:
    assert auth.authenticate(sign(claims_for(user))).user_id == user.id


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"iat": 1_700_000_000},
        {"extra": {"deep": [1]}},
        {"jti": "of-their-own"},
        {"jti": ""},
        {"jti": "x" * 500},
        {"jti": 7},
        {"jti": ["a"]},
        {"jti": "é"},
        {"exp": time.time() + 3600.25},
        {"exp": 1e300},
        {"exp": 10**18},
        {"exp": 10**400},
        {"exp": int(time.time() * 1000)},
        {"iat": time.time() + 3},
        {"iat": int(time.time()) + 60},
        {"iat": int(time.time()) + 14 * 3600},
        {"iat": "yesterday"},
        {"iat": None},
        {"iat": True},
        {"nbf": int(time.time())},
        {"sub": 7},
        {"sub": {"id": 1}},
        {"iss": ["somebody"]},
        {"aud": "shop"},
        {"aud": ["shop", "app"]},
        {"aud": {"deep": 1}},
        {"aud": 7},
        {"aud": None},
        {"type": 7},
        {"type": "user"},
        {"scope": None},
        {"email": 7},
    ],
)
def test_what_else_such_a_token_holds_does_not_matter(
    user: Person, sign: Callable[..., str], more: dict
) -> None:
    assert auth.authenticate(sign(claims_for(user, **more))).user_id == user.id


# --- Tokens that are bad ------------------------------------------------------------------------------------------

BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "no exp": {"exp": None},
    "exp as text": {"exp": "9999999999"},
    "exp as a word": {"exp": "tomorrow"},
    "exp in the past": {"exp": 1_000_000_000},
    "exp in the past, with a fraction": {"exp": 1_000_000_000.5},
    "exp of negative infinity": {"exp": -(10**400)},
    "exp that is no number": {"exp": float("nan")},
    "exp that is no number of JSON": {"exp": float("inf")},
    "exp as a list": {"exp": [1]},
    "exp as a bool": {"exp": True},
    "no id": {"id": None},
    "id as text": {"id": "1"},
    "id as a bool": {"id": True},
    "id as a float": {"id": 1.0},
    "id zero": {"id": 0},
    "id negative": {"id": -1},
    "id huge": {"id": 2**63},
    "id larger still": {"id": 10**100},
    "id as a list": {"id": [1]},
    "id as an object": {"id": {"$gt": 0}},
    "id of nobody": {"id": 2**62},
    "issued in the future": {"iat": 9_999_999_999},
    "not yet valid": {"nbf": 9_999_999_999},
    "a refresh token": {"type": "refresh"},
}


def drop_none(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if value is not None}


@pytest.mark.parametrize("name", BAD_CLAIMS)
def test_a_token_with_bad_claims_is_refused_though_our_secret_signed_it(
    user: Person, sign: Callable[..., str], name: str
) -> None:
    refuse(sign(drop_none(claims_for(user, **BAD_CLAIMS[name]))))


def refuse(token: str) -> None:
    with pytest.raises(TokenInvalid) as refused:
        auth.authenticate(token)
    assert refused.value.message == "Invalid or expired token"
    assert refused.value.facts == {}


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
def test_an_unsigned_token_is_refused(user: Person, algorithm: str) -> None:
    claims = {"id": user.id, "email": user.email, "exp": 9_999_999_999}
    refuse(unsigned({"alg": algorithm, "typ": "JWT"}, claims))
    refuse(unsigned({"alg": algorithm, "typ": "JWT"}, claims, user.token.split(".")[2]))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_with_the_right_secret_is_refused(
    user: Person, sign: Callable[..., str], algorithm: str
) -> None:
    refuse(sign(claims_for(user), algorithm=algorithm))


def test_a_token_of_another_secret_is_refused(user: Person, sign: Callable[..., str]) -> None:
    refuse(sign(claims_for(user), key=secrets.token_hex(32)))


def test_a_token_that_was_changed_after_signing_is_refused(inside: Flask, user: Person) -> None:
    other = new_user(inside)
    header, _, signature = user.token.split(".")
    refuse(".".join([header, other.token.split(".")[1], signature]))


def test_our_library_s_own_refresh_token_is_no_access_token(user: Person) -> None:
    refuse(create_refresh_token(identity=user.id, additional_claims={"email": user.email}))


@pytest.mark.parametrize(
    "token",
    [
        "",
        " ",
        ".",
        "..",
        "a.b.c",
        "Bearer",
        "null",
        "undefined",
        "\x00",
        "é",
        "\U0001f511" * 10,
        "ｅｙＪ.ｅｙＪ.ｘ",
        "x" * 8192,
        "eyJ" * 3000,
        "e30.e30.e30",
        "\ud800",
        "[]",
        "{}",
        "=.=.=",
        "a" * 4096,
    ],
)
def test_what_is_no_token_at_all_is_refused(token: str) -> None:
    refuse(token)


def test_a_good_token_of_more_than_4_kib_is_refused_unread(user: Person, sign: Callable[..., str]) -> None:
    assert auth.authenticate(sign(claims_for(user, padding="x" * 1000))).user_id == user.id
    refuse(sign(claims_for(user, padding="x" * 8192)))


def test_a_token_with_a_header_that_is_not_an_object_is_refused(user: Person) -> None:
    for header in (
        [],
        1,
        "x",
        None,
        {"alg": ["HS256"]},
        {"alg": {}},
        {"kid": "../../etc/passwd", "alg": "HS256"},
    ):
        refuse(unsigned(header, {"id": user.id}, "AAAA"))


# --- The end of a token -------------------------------------------------------------------------------------------


def test_logout_ends_this_token_and_no_other(user: Person) -> None:
    other, _ = auth.login(email=user.email, password=PASSWORD)
    auth.logout(auth.authenticate(user.token))
    refuse(user.token)
    assert auth.authenticate(other).user_id == user.id


def test_logging_out_twice_does_no_harm(user: Person) -> None:
    identity = auth.authenticate(user.token)
    auth.logout(identity)
    auth.logout(identity)
    refuse(user.token)


def test_logout_all_ends_every_token_of_this_user_and_of_nobody_else(inside: Flask, user: Person) -> None:
    other, second = new_user(inside), auth.login(email=user.email, password=PASSWORD)[0]
    auth.logout_all(auth.authenticate(user.token))
    refuse(user.token)
    refuse(second)
    assert auth.authenticate(other.token).user_id == other.id


def test_after_logout_all_one_can_log_in_again(user: Person) -> None:
    auth.logout_all(auth.authenticate(user.token))
    token, _ = auth.login(email=user.email, password=PASSWORD)
    assert auth.authenticate(token).user_id == user.id


def test_a_change_of_password_ends_all_other_tokens_and_keeps_this_one(user: Person) -> None:
    other, _ = auth.login(email=user.email, password=PASSWORD)
    auth.change_password(auth.authenticate(user.token), current=PASSWORD, new="entirely different words")
    assert auth.authenticate(user.token).user_id == user.id
    refuse(other)
    with pytest.raises(InvalidCredentials):
        auth.login(email=user.email, password=PASSWORD)
    auth.login(email=user.email, password="entirely different words")


def test_a_change_of_password_asks_for_the_current_one(user: Person) -> None:
    identity = auth.authenticate(user.token)
    with pytest.raises(InvalidCredentials):
        auth.change_password(identity, current=WRONG, new="entirely different words")
    auth.login(email=user.email, password=PASSWORD)


@pytest.mark.parametrize("new", ["short", "password123", "1234567890", "i love bittrade"])
def test_a_change_to_a_bad_password_is_refused(user: Person, new: str) -> None:
    with pytest.raises(InvalidInput):
        auth.change_password(auth.authenticate(user.token), current=PASSWORD, new=new)
    auth.login(email=user.email, password=PASSWORD)


def test_a_disabled_user_s_tokens_end_and_there_is_no_login(user: Person, sign: Callable[..., str]) -> None:
    foreign = sign(claims_for(user))
    auth.disable_user(user.email)
    refuse(user.token)
    refuse(foreign)
    with pytest.raises(InvalidCredentials):
        auth.login(email=user.email, password=PASSWORD)


def test_a_token_of_another_program_can_be_logged_out_too(user: Person, sign: Callable[..., str]) -> None:
    first, second = sign(claims_for(user)), sign(claims_for(user, exp=wire.now() + timedelta(hours=2)))
    auth.logout(auth.authenticate(first))
    refuse(first)
    assert auth.authenticate(second).user_id == user.id


def test_logout_all_ends_tokens_of_other_programs(user: Person, sign: Callable[..., str]) -> None:
    without_time, of_before = sign(claims_for(user)), sign(claims_for(user, iat=1_700_000_000))
    auth.logout_all(auth.authenticate(user.token))
    refuse(without_time)
    refuse(of_before)


def test_a_change_of_password_made_with_another_program_s_token_keeps_that_token(
    user: Person, sign: Callable[..., str]
) -> None:
    foreign = sign(claims_for(user))
    auth.change_password(auth.authenticate(foreign), current=PASSWORD, new="entirely different words")
    assert auth.authenticate(foreign).user_id == user.id
    refuse(user.token)


def test_two_users_tokens_with_one_jti_do_not_end_each_other(inside: Flask, sign: Callable[..., str]) -> None:
    one, other = new_user(inside), new_user(inside)
    tokens = [sign(claims_for(user, jti="the-same")) for user in (one, other)]
    auth.logout(auth.authenticate(tokens[0]))
    refuse(tokens[0])
    assert auth.authenticate(tokens[1]).user_id == other.id


# --- Accounts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", ["Somebody@Example.com", "SOMEBODY@EXAMPLE.COM", "  somebody@example.com "])
def test_an_email_is_taken_whatever_its_case(inside: Flask, again: str) -> None:
    new_user(inside, email="somebody@example.com")
    with pytest.raises(EmailTaken):
        auth.register(email=again, password=PASSWORD, name="X")


def test_of_twenty_registrations_of_one_email_one_succeeds(on_both_databases: Flask) -> None:
    def register(_number: int) -> bool:
        with on_both_databases.app_context():
            try:
                auth.create_user(email="one@example.com", password=PASSWORD, name="X")
            except EmailTaken:
                return False
            return True

    assert sum(together(10, register)) == 1


@pytest.mark.parametrize(
    "email",
    [
        "",
        " ",
        "x",
        "x@",
        "@x.com",
        "x@y@z.com",
        "x y@example.com",
        "x@exa mple.com",
        "x@-example.com",
        "x@" + "a" * 250 + ".com",
        "\ud800@example.com",
        "ａ@example.com",
        "x\x00@example.com",
        "é@example.com",
        "x@example..com",
        "x@[127.0.0.1]",
        '"quoted"@example.com',
        "x@example.com,y@z.com",
    ],
)
def test_what_is_no_email_is_refused(email: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid email address"):
        auth.register(email=email, password=PASSWORD, name="X")


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "a\x00b", "\u202egnol", "\u200b"])
def test_a_name_has_1_to_100_printable_characters(name: str) -> None:
    with pytest.raises(InvalidInput, match="printable"):
        auth.register(email="x@example.com", password=PASSWORD, name=name)


@pytest.mark.parametrize(
    "name", ["A", "Ünï Çødé", "देवनागरी", "李小龍", "O'Neil; DROP TABLE users;--", "\U0001f511", "x" * 100]
)
def test_any_people_s_name_is_a_name(name: str) -> None:
    _, user = auth.register(email="x@example.com", password=PASSWORD, name=name)
    assert user["name"] == name
    assert auth.login(email="x@example.com", password=PASSWORD)[1]["name"] == name


def test_an_international_domain_is_one_domain_in_both_spellings() -> None:
    auth.register(email="x@bücher.example", password=PASSWORD, name="X")
    with pytest.raises(EmailTaken):
        auth.register(email="x@xn--bcher-kva.example", password=PASSWORD, name="X")


def test_a_login_rehashes_a_password_that_was_hashed_more_cheaply(
    inside: Flask, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inside.config, "BCRYPT_COST", 5)
    auth.login(email=user.email, password=PASSWORD)
    with db.engine.connect() as connection:
        assert str(connection.scalar(sa.select(User.password_hash))).startswith("bt1$$2b$05$")
    auth.login(email=user.email, password=PASSWORD)


# --- Failed logins ------------------------------------------------------------------------------------------------


def fail(email: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(InvalidCredentials):
            auth.login(email=email, password=WRONG)


def unlock(email: str) -> None:
    """Let the lock's time pass."""
    with db.engine.begin() as connection:
        moved = sa.update(LoginFailure).where(LoginFailure.email_normalized == email)
        connection.execute(moved.values(locked_until=wire.now() - timedelta(seconds=1)))


def locked_for(email: str, password: str = PASSWORD) -> int:
    with pytest.raises(AccountLocked) as refused:
        auth.login(email=email, password=password)
    return int(refused.value.facts["retry_after_s"])


def test_ten_failures_in_a_row_lock_also_the_right_password_out_for_a_while(user: Person) -> None:
    fail(user.email, 10)
    assert 25 <= locked_for(user.email) <= 31
    unlock(user.email)
    auth.login(email=user.email, password=PASSWORD)


def test_nine_failures_and_a_success_start_the_count_again(user: Person) -> None:
    fail(user.email, 9)
    auth.login(email=user.email, password=PASSWORD)
    fail(user.email, 9)
    auth.login(email=user.email, password=PASSWORD)


def test_the_delay_grows_to_a_quarter_of_an_hour_and_no_further(user: Person) -> None:
    fail(user.email, 10)
    delays = []
    for _ in range(8):
        delays.append(locked_for(user.email))
        unlock(user.email)
        fail(user.email, 1)
    assert delays == sorted(delays)
    assert 55 <= delays[1] <= 61
    assert 890 <= delays[-1] <= 901


def test_an_email_that_nobody_has_locks_in_the_same_way() -> None:
    fail("nobody@example.com", 10)
    assert 25 <= locked_for("nobody@example.com") <= 31


def test_neither_case_nor_spaces_get_around_the_lock(user: Person) -> None:
    for email in (
        user.email,
        user.email.upper(),
        f" {user.email}",
        user.email.title(),
        f"{user.email}  ",
    ) * 2:
        fail(email, 1)
    assert locked_for(user.email)
    assert locked_for(user.email.upper())


def test_one_account_s_lock_is_not_another_s(inside: Flask, user: Person) -> None:
    other = new_user(inside)
    fail(user.email, 10)
    auth.login(email=other.email, password=PASSWORD)


@pytest.mark.parametrize("password", ["", "x", "p" * 73, "\U0001f511" * 1000, "\x00", "\ud800"])
def test_any_password_may_be_tried_and_is_only_wrong(user: Person, password: str) -> None:
    with pytest.raises(InvalidCredentials):
        auth.login(email=user.email, password=password)


def test_what_matters_is_in_the_audit_log(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "refusals", audit.Refusals())  # users of other tests had the same id on SQLite
    fail(user.email, 1)
    auth.logout(auth.authenticate(auth.login(email=user.email, password=PASSWORD)[0]))
    auth.disable_user(user.email)
    with db.engine.connect() as connection:
        rows = connection.execute(
            sa.select(AuditEvent.action, AuditEvent.facts).order_by(AuditEvent.id)
        ).all()
    assert [row.action for row in rows] == [
        "registered",
        "login_failed",
        "logged_in",
        "logged_out",
        "user_disabled",
    ]
    assert not any(PASSWORD in row.facts or WRONG in row.facts for row in rows)


def test_a_login_that_was_under_way_does_not_survive_a_change_of_password(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = new_user(app)
    with app.app_context():
        identity = auth.authenticate(user.token)
        checked = passwords.matches

        def slow(password: str, hashed: str | None) -> bool:
            is_right = checked(password, hashed)
            monkeypatch.setattr(passwords, "matches", checked)
            auth.change_password(identity, current=user.password, new="another long pass phrase")
            return is_right

        monkeypatch.setattr(passwords, "matches", slow)
        with pytest.raises(InvalidCredentials):
            auth.login(email=user.email, password=user.password)
        token, _ = auth.login(email=user.email, password="another long pass phrase")
        assert auth.authenticate(token).user_id == user.id


def test_the_longest_password_and_one_character_more_is_another_password(app: Flask) -> None:
    longest = "long enough " * 21 + "1234"
    assert len(longest) == passwords.MAX_LENGTH
    with app.app_context():
        auth.register(email="longest@example.com", password=longest, name="Long")
        assert auth.login(email="longest@example.com", password=longest)
        with pytest.raises(InvalidCredentials):
            auth.login(email="longest@example.com", password=longest + "5")
