"""Anything at all from an admin: never a 5xx, always an error in shape that the document names, and no money moves."""

import json
from typing import Any

import pytest
from flask import Flask

from bittrade import create_app
from bittrade.api.admin import schemas
from bittrade.api.schemas import Body
from tests.admin.conftest import Member, verify
from tests.admin.test_roles import admin_routes

NASTY: list[Any] = [
    *(
        "",
        " ",
        "0",
        "-1",
        "1e400",
        "NaN",
        "9" * 5000,
        "０１",
        "\x00",
        "a\x00b",
        "\u202etxt",
        "🔑" * 200,
        "%",
        "_",
    ),
    *(0, -1, 1.5, 1e308, 2**63, 10**30, True, None, [], {}, [[]], {"a": {"b": 1}}),
]
IDS = [0, 2**63 - 1, 2**63, 10**30]
QUERIES: dict[str, type[Body]] = {
    "users": schemas.ListQuery,
    "transactions": schemas.AllTransactionsQuery,
    "dca-plans": schemas.AllPlansQuery,
    "approvals": schemas.ApprovalsQuery,
    "audit": schemas.AuditQuery,
}
BODIES = {
    "deposit-cash": schemas.CashBody,
    "withdraw-cash": schemas.CashBody,
    "deposit-bitcoin": schemas.BitcoinBody,
    "withdraw-bitcoin": schemas.BitcoinBody,
    "reverse": schemas.OptionalReasonBody,
    "approve": schemas.ReasonBody,
    "reject": schemas.ReasonBody,
    "enable": schemas.ReasonBody,
    "unlock": schemas.ReasonBody,
    "password": schemas.ResetPasswordBody,
    "notes": schemas.NoteBody,
    "settings": schemas.SettingsBody,
    "trading": schemas.TradingBody,
}


def names(schema: type[Body]) -> list[str]:
    return [field.alias or name for name, field in schema.model_fields.items()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "route" in metafunc.fixturenames:
        found = admin_routes()
        metafunc.parametrize("route", found, ids=[f"{method} {path}" for method, path in found])


def test_nothing_breaks_it(app: Flask, admin: Member, customer: Member, route: tuple[str, str]) -> None:
    method, path = route
    schema = (QUERIES if method == "GET" else BODIES).get(path.rpartition("/")[2])
    if schema is None:
        return
    good = {} if method == "GET" else dict.fromkeys(names(schema), "x")
    for field in names(schema):
        for value in NASTY:
            send(app, admin, method, path, {**good, field: value})
    verify(app)


def send(app: Flask, admin: Member, method: str, path: str, fields: dict[str, Any]) -> None:
    """As a query where it is a GET, and as a body elsewhere; the client checks the answer."""
    client, headers = app.test_client(), admin.person.headers
    if method == "GET":
        texts = {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()
        }
        client.get(path, query_string=texts, headers=headers)
    else:
        body = json.dumps(fields)
        client.open(path, method=method, data=body, content_type="application/json", headers=headers)


@pytest.mark.parametrize("number", IDS)
def test_a_number_that_no_column_holds_is_not_found(app: Flask, admin: Member, number: int) -> None:
    for rule in create_app().url_map.iter_rules():
        if not rule.rule.startswith("/api/admin") or not rule.arguments:
            continue
        path = rule.build(dict.fromkeys(rule.arguments, number), append_unknown=False)[1]
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            body = {"amount": 1, "reason": "x", "password": "four green parrots whistle", "note": "x"}
            assert admin.ask(method, path, None if method == "GET" else body).status_code == 404, (
                method,
                path,
            )
