"""API keys: what each scope opens, what none does, and how a key ends."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import wire
from bittrade.extensions import db
from bittrade.models import ApiKey
from bittrade.services import api_keys, auth
from bittrade.services.identity import ACCOUNT, KEY_SCOPES
from tests.fixtures import PASSWORD, Person, new_user, together
from tests.security.conftest import BUY, Client, bearer, fill, protected_routes

MakeKey = Callable[..., str]
# Which keys open which route; all other protected routes open to no key. Held to the URL map below.
OPENED_BY: dict[tuple[str, str], set[str]] = {
    ("GET", "/api/balance"): {"read"},
    ("GET", "/api/portfolio"): {"read"},
    ("GET", "/api/events"): {"read"},
    ("GET", "/api/transactions"): {"read", "export"},
    ("GET", "/api/transactions/<int:transaction_id>"): {"read", "export"},
    ("GET", "/api/transactions/<int:transaction_id>/receipt"): {"read", "export"},
    ("GET", "/api/transactions.csv"): {"read", "export"},
    ("GET", "/api/ledger"): {"read", "export"},
    ("GET", "/api/ledger.csv"): {"read", "export"},
    ("POST", "/api/trade"): {"trade"},
    ("POST", "/api/trade/preview"): {"trade"},
    ("POST", "/api/quote"): {"trade"},
    ("POST", "/api/send-transaction"): {"transfer"},
    ("POST", "/api/loans"): {"loan"},
    ("GET", "/api/loans"): {"read", "loan"},
    ("GET", "/api/loans/<int:loan_id>"): {"read", "loan"},
    ("POST", "/api/loans/<int:loan_id>/borrow"): {"loan"},
    ("POST", "/api/loans/<int:loan_id>/repay"): {"loan"},
    ("POST", "/api/loans/<int:loan_id>/add-collateral"): {"loan"},
    ("POST", "/api/loans/<int:loan_id>/withdraw-collateral"): {"loan"},
    ("POST", "/api/orders"): {"trade"},
    ("POST", "/api/orders/preview"): {"trade"},
    ("GET", "/api/orders"): {"read"},
    ("GET", "/api/orders/<int:order_id>"): {"read"},
    ("DELETE", "/api/orders"): {"trade"},
    ("DELETE", "/api/orders/<int:order_id>"): {"trade"},
    ("DELETE", "/api/transactions/<int:transaction_id>/cancel"): {"trade"},
    ("POST", "/api/dca-plans"): {"trade"},
    ("GET", "/api/dca-plans"): {"read"},
    ("GET", "/api/dca-plans/<int:plan_id>/runs"): {"read"},
    ("PATCH", "/api/dca-plans/<int:plan_id>/status"): {"trade"},
    ("DELETE", "/api/dca-plans/<int:plan_id>"): {"trade"},
}
FOR_PERSONS = {
    ("GET", "/api/account/activity"),
    ("GET", "/api/auth/sessions"),
    ("GET", "/api/keys"),
    ("POST", "/api/keys"),
    ("DELETE", "/api/keys/<int:key_id>"),
    ("DELETE", "/api/auth/sessions/<session_id>"),
    ("PATCH", "/api/auth/profile"),
    ("GET", "/api/user/profile"),
    ("PUT", "/api/user/profile/name"),
    ("PUT", "/api/user/profile/email"),
    ("PUT", "/api/user/profile/password"),
    ("POST", "/api/auth/logout"),
    ("POST", "/api/auth/logout-all"),
    ("POST", "/api/auth/password"),
}
BODY: dict[str, Any] = {"name": "bot", "scopes": ["read", "trade"], "expires_in_days": 30}


def new_key(client: FlaskClient, user: Person, **more: Any) -> dict[str, Any]:
    answer = client.post("/api/keys", json={**BODY, **more}, headers=user.headers)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.get_json()
    return body


# --- Scopes -------------------------------------------------------------------------------------------------------


def test_every_protected_route_says_which_keys_open_it(app: Flask) -> None:
    declared = {
        (method, rule.rule): set(app.view_functions[rule.endpoint].scope)  # type: ignore[attr-defined]
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if (method, rule.rule) in set(protected_routes(app))
    }
    staff = {route for route in protected_routes(app) if route[1].startswith("/api/admin/")}
    assert declared == {**OPENED_BY, **{route: {ACCOUNT} for route in FOR_PERSONS | staff}}


@pytest.mark.parametrize("scope", KEY_SCOPES)
def test_a_key_opens_what_its_scope_names_and_nothing_else(
    app: Flask, client: FlaskClient, user: Person, price: None, make_key: MakeKey, scope: str
) -> None:
    key = make_key(user, scope)
    for method, rule in protected_routes(app):
        json = BUY if method == "POST" else None
        answer = client.open(fill(rule, 10**6), method=method, headers=bearer(key), json=json)
        if scope in OPENED_BY.get((method, rule), set()):
            assert answer.status_code not in (401, 403), (rule, answer.text)
        else:
            assert (answer.status_code, answer.get_json()["code"]) == (403, "insufficient_scope"), rule
            assert answer.get_json()["has"] == [scope]
    assert client.get("/api/auth/verify", headers=bearer(key)).get_json()["user"]["id"] == user.id


def test_a_key_with_all_scopes_still_cannot_touch_the_account(
    app: Flask, client: FlaskClient, user: Person, make_key: MakeKey
) -> None:
    key = make_key(user, *KEY_SCOPES)
    for method, rule in FOR_PERSONS:
        answer = client.open(fill(rule), method=method, headers=bearer(key), json={})
        assert (answer.status_code, answer.get_json()["code"]) == (403, "insufficient_scope"), rule
    assert client.get("/api/balance", headers=user.headers).status_code == 200


def test_the_socket_takes_a_key_that_may_read_and_no_other(
    connect: Callable[..., Client], user: Person, make_key: MakeKey
) -> None:
    reader, exporter = connect(), connect()
    assert "authentication_success" in dict(reader.authenticate(make_key(user, "read")))
    refused = dict(exporter.authenticate(make_key(user, "export", "trade")))
    assert refused["authentication_error"]["error"] == "This API key may not do that"
    assert "user_balance_update" not in refused


# --- Made, listed, used -------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_kept_as_a_hash(app: Flask, client: FlaskClient, user: Person) -> None:
    made = new_key(client, user)
    assert made["key"].startswith("bt_")
    assert len(made["key"]) == 46
    listed = client.get("/api/keys", headers=user.headers)
    assert made["key"] not in listed.text
    assert listed.get_json()["keys"] == [{name: made[name] for name in made if name != "key"}]
    with app.app_context(), db.engine.connect() as connection:
        row = str(connection.execute(sa.select(ApiKey.__table__)).one())
    assert made["key"][api_keys.SHOWN :] not in row


def test_its_last_use_is_seen(client: FlaskClient, user: Person) -> None:
    key = new_key(client, user)["key"]
    assert client.get("/api/balance", headers=bearer(key)).status_code == 200
    (listed,) = client.get("/api/keys", headers=user.headers).get_json()["keys"]
    assert listed["last_used_at"] is not None
    assert listed["last_used_address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "two\nlines"),
        ("name", "x" * 101),
        ("scopes", []),
        ("scopes", ["account"]),
        ("scopes", ["read", "admin"]),
        ("scopes", "read"),
        ("expires_in_days", 0),
        ("expires_in_days", 100_000),
        ("expires_in_days", "30"),
        ("addresses", ["not an address"]),
        ("addresses", ["10.0.0.0/33"]),
        ("addresses", ["10.0.0.1"] * 21),
        ("addresses", [7]),
    ],
)
def test_an_unfit_key_is_400(client: FlaskClient, user: Person, field: str, value: object) -> None:
    answer = client.post("/api/keys", json={**BODY, field: value}, headers=user.headers)
    assert answer.status_code == 400


def test_there_are_at_most_twenty_also_when_asked_for_at_once(app: Flask, user: Person) -> None:
    def make(_number: int) -> int:
        return app.test_client().post("/api/keys", json=BODY, headers=user.headers).status_code

    statuses = [make(0) for _ in range(18)] + together(6, make)
    assert sorted(statuses) == [201] * 20 + [409] * 4


# --- The end of a key ---------------------------------------------------------------------------------------------


def test_a_revoked_key_is_refused_at_once(client: FlaskClient, user: Person) -> None:
    made = new_key(client, user)
    assert client.delete(f"/api/keys/{made['id']}", headers=user.headers).status_code == 200
    assert client.get("/api/balance", headers=bearer(made["key"])).status_code == 403
    assert client.get("/api/keys", headers=user.headers).get_json()["keys"] == []
    assert client.delete(f"/api/keys/{made['id']}", headers=user.headers).status_code == 404


def test_an_expired_key_is_refused(app: Flask, client: FlaskClient, user: Person) -> None:
    made = new_key(client, user)
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.update(ApiKey).values(expires_at=wire.now() - timedelta(seconds=1)))
    assert client.get("/api/balance", headers=bearer(made["key"])).status_code == 403


@pytest.mark.parametrize("how", ["password", "logout-all", "disabled"])
def test_what_ends_all_tokens_ends_all_keys(app: Flask, client: FlaskClient, user: Person, how: str) -> None:
    key, other = new_key(client, user)["key"], new_user(app)
    others = new_key(client, other)["key"]
    if how == "disabled":
        with app.app_context():
            auth.disable_user(user.email)
    else:
        change = {"currentPassword": PASSWORD, "newPassword": "entirely different words"}
        assert client.post(f"/api/auth/{how}", json=change, headers=user.headers).status_code == 200
    assert client.get("/api/balance", headers=bearer(key)).status_code == 403
    assert client.get("/api/balance", headers=bearer(others)).status_code == 200


@pytest.mark.parametrize(
    ("addresses", "here", "status"),
    [
        (["127.0.0.1"], "127.0.0.1", 200),
        (["10.0.0.0/8", "127.0.0.0/8"], "127.0.0.1", 200),
        (["10.0.0.0/8"], "127.0.0.1", 403),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", 200),
        (["2001:db8::/32"], "2001:db8::1", 200),
        (["2001:db8::/32"], "10.0.0.1", 403),
        (["10.0.0.0/8"], "", 403),
        (["0.0.0.0/0"], "nonsense", 403),
    ],
)
def test_a_key_for_some_addresses_is_refused_from_others(
    client: FlaskClient, user: Person, make_key: MakeKey, addresses: list[str], here: str, status: int
) -> None:
    key = make_key(user, "read", addresses=addresses)
    answer = client.get("/api/balance", headers=bearer(key), environ_overrides={"REMOTE_ADDR": here})
    assert answer.status_code == status


@pytest.mark.parametrize("here", ["203.0.113.7:4711", '"[::ffff:203.0.113.7]:1"'])
def test_a_key_s_address_is_known_behind_a_gateway_that_writes_ports(
    new_app: Callable[..., Flask], user: Person, make_key: MakeKey, here: str
) -> None:
    key = make_key(user, "read", addresses=["203.0.113.7:443"])
    client = new_app(TRUSTED_PROXY_HOPS=1).test_client()
    headers = {**bearer(key), "X-Forwarded-For": here}
    assert client.get("/api/balance", headers=headers).status_code == 200
    (listed,) = client.get("/api/keys", headers=user.headers).get_json()["keys"]
    assert (listed["addresses"], listed["last_used_address"]) == (["203.0.113.7/32"], "203.0.113.7")


def test_a_key_with_a_scope_id_in_its_address_is_no_server_error(client: FlaskClient, user: Person) -> None:
    key = new_key(client, user, addresses=["fe80::1%eth0"])
    assert key["addresses"] == ["fe80::1/128"]
    for here, status in (("fe80::1%eth1", 200), ("127.0.0.1", 403)):
        answer = client.get(
            "/api/balance", headers=bearer(key["key"]), environ_overrides={"REMOTE_ADDR": here}
        )
        assert answer.status_code == status
    refused = client.post("/api/keys", json={**BODY, "addresses": ["fe80::1%eth0/64"]}, headers=user.headers)
    assert refused.status_code == 400


def test_the_socket_keeps_to_a_key_s_addresses_too(
    connect: Callable[..., Client], user: Person, make_key: MakeKey
) -> None:
    """The test client has no address at all: that is not the one that the key is for."""
    assert "authentication_error" in dict(
        connect().authenticate(make_key(user, "read", addresses=["10.0.0.1"]))
    )


@pytest.mark.parametrize(
    "key", ["bt_", "bt_x", "bt_" + "é" * 43, "bt_" + "x" * 44, "bt_" + "x" * 5000, "BT_" + "x" * 43]
)
def test_what_is_no_key_is_refused_unasked(client: FlaskClient, key: str) -> None:
    answer = client.get("/api/balance", headers=bearer(key))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "token_invalid")
