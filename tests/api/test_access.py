"""Who may call what: a matrix made from the URL map, so that a new route is in it by itself."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from bittrade import create_app
from tests.fixtures import Person

PUBLIC = {
    "/api/auth/register",
    "/api/auth/login",
    "/api/auth/verify",  # looks at the token itself, and answers 401 in its own words
    "/api/bitcoin/current",
    "/api/market-rates",
    "/api/bitcoin/chart/<timeframe>",
    "/api/bitcoin/sentiment",
    "/api/bitcoin/history",
    "/api/health",
    "/api/health/live",
    "/api/health/ready",
    "/api/openapi.json",
}
PROTECTED = {
    "/api/trade",
    "/api/balance",
    "/api/transactions",
    "/api/auth/logout",
    "/api/auth/logout-all",
    "/api/auth/password",
}
# What the contract's routes need not: additive routes that anyone may read.
PUBLIC_BESIDES = {
    "/api/trading-rules",
    "/api/loans/terms",
    "/api/bitcoin/candles",
    "/api/market/status",
    "/api/markets",
    "/api/time",
    "/api/asyncapi.json",
    "/api/docs",
    "/api/docs/events",
    "/",
    "/admin",
    "/assets/<name>",
}


def access_of(app: Flask, rule: Rule) -> Any:
    return getattr(app.view_functions[rule.endpoint], "access", None)


def routes(access: str) -> list[tuple[str, str]]:
    """(method, path) of every route with this access, with values put in."""
    app = create_app()
    found = []
    for rule in app.url_map.iter_rules():
        if access_of(app, rule) == access:
            path = rule.build({name: _value(rule, name) for name in rule.arguments}, append_unknown=False)[1]
            found += [(method, path) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    return sorted(found)


def _value(rule: Rule, name: str) -> Any:
    return "1d" if name == "timeframe" else 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "route" in metafunc.fixturenames:
        found = routes("protected")
        metafunc.parametrize("route", found, ids=[f"{method} {path}" for method, path in found])


def test_every_view_says_who_may_call_it(app: Flask) -> None:
    accesses = {rule.rule: access_of(app, rule) for rule in app.url_map.iter_rules()}
    assert set(accesses.values()) == {"public", "protected"}, accesses


def test_the_contract_s_routes_are_there_and_guarded_as_it_says(app: Flask) -> None:
    accesses = {rule.rule: access_of(app, rule) for rule in app.url_map.iter_rules()}
    assert {path for path in PUBLIC if accesses.get(path) == "public"} == PUBLIC
    assert {path for path in PROTECTED if accesses.get(path) == "protected"} == PROTECTED


def test_nothing_is_public_by_accident(app: Flask) -> None:
    public = {rule.rule for rule in app.url_map.iter_rules() if access_of(app, rule) == "public"}
    assert public <= PUBLIC | PUBLIC_BESIDES


def test_without_a_token_every_protected_route_is_401(client: FlaskClient, route: tuple[str, str]) -> None:
    method, path = route
    answer = client.open(path, method=method, json={} if method == "POST" else None)
    assert answer.status_code == 401
    assert answer.get_json() == {"error": "Access token required", "code": "token_missing"}


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.eyJpZCI6MX0."])
def test_with_a_bad_token_every_protected_route_is_403(
    client: FlaskClient, route: tuple[str, str], token: str
) -> None:
    method, path = route
    headers = {"Authorization": f"Bearer {token}"}
    answer = client.open(path, method=method, headers=headers, json={} if method == "POST" else None)
    assert answer.status_code == 403
    assert answer.get_json() == {"error": "Invalid or expired token", "code": "token_invalid"}


def test_with_a_revoked_token_every_protected_route_is_403(
    client: FlaskClient, user: Person, route: tuple[str, str]
) -> None:
    assert client.post("/api/auth/logout-all", headers=user.headers).status_code == 200
    method, path = route
    answer = client.open(path, method=method, headers=user.headers, json={} if method == "POST" else None)
    assert answer.status_code == 403


def test_the_token_is_looked_at_before_the_body(client: FlaskClient, route: tuple[str, str]) -> None:
    method, path = route
    answer = client.open(path, method=method, data=b"{not json", content_type="text/plain")
    assert answer.status_code == 401
