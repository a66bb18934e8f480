"""/api/openapi.json: the API's own description is valid, complete and true."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from bittrade.api.errors import STATUS
from tests.fixtures import openapi_document, openapi_path

# What describes the routes and the events, and is itself none of them.
DESCRIPTIONS = {"/api/openapi.json", "/api/asyncapi.json", "/api/docs", "/api/docs/events"}
# What any client can meet on the contract's routes, whatever else a route may refuse.
WITH_TOKEN = {"401": "token_missing", "403": "token_invalid"}
WITH_BODY = {"400": "invalid_json", "413": "body_too_large", "415": "unsupported_media_type"}


def operations(app: Flask) -> dict[tuple[str, str], dict]:
    return {
        (method, path): operation
        for path, item in openapi_document(app)["paths"].items()
        for method, operation in item.items()
    }


def codes(operation: dict, status: str) -> list[str]:
    description = operation["responses"].get(status, {}).get("description", "")
    return [code.strip() for code in description.split(",")]


def test_it_is_served_to_anyone(client: FlaskClient) -> None:
    answer = client.get("/api/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.get_json() == client.get("/api/openapi.json").get_json()


def test_it_is_valid_openapi_3_1(app: Flask) -> None:
    document = openapi_document(app)
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_route_is_in_it(app: Flask) -> None:
    served = {
        (method.lower(), openapi_path(rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api") and rule.rule not in DESCRIPTIONS
    }
    assert served - set(operations(app)) == set()


def test_it_has_no_route_that_is_not_served(app: Flask) -> None:
    served = {openapi_path(rule.rule) for rule in app.url_map.iter_rules()}
    assert {path for _, path in operations(app)} <= served


def test_every_operation_says_what_it_does_and_how_it_succeeds(app: Flask) -> None:
    for where, operation in operations(app).items():
        assert operation["summary"], where
        assert any(status.startswith("2") for status in operation["responses"]), where
        assert "503" in operation["responses"], where


def test_every_protected_operation_asks_for_the_token_and_names_its_refusals(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        is_protected = app.view_functions[rule.endpoint].access == "protected"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            operation = operations(app).get((method.lower(), openapi_path(rule.rule)))
            if operation is None:
                continue
            assert bool(operation.get("security")) == is_protected, rule.rule
            for status, code in WITH_TOKEN.items() if is_protected else ():
                assert code in codes(operation, status), rule.rule


def test_every_operation_with_a_body_names_what_is_wrong_with_bodies(app: Flask) -> None:
    with_body = {
        where: operation for where, operation in operations(app).items() if "requestBody" in operation
    }
    assert ("post", "/api/trade") in with_body
    for where, operation in with_body.items():
        for status, code in WITH_BODY.items():
            assert code in codes(operation, status), where


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("post", "/api/auth/register", "409", {"email_taken"}),
        ("post", "/api/auth/login", "401", {"invalid_credentials"}),
        ("post", "/api/auth/login", "429", {"account_locked"}),
        ("get", "/api/bitcoin/current", "404", {"no_data"}),
        ("get", "/api/bitcoin/chart/{timeframe}", "400", {"invalid_timeframe"}),
        ("get", "/api/bitcoin/history", "400", {"invalid_input"}),
        ("post", "/api/trade", "400", {"insufficient_funds", "invalid_amount", "invalid_idempotency_key"}),
        ("post", "/api/trade", "409", {"idempotency_key_reused"}),
        ("post", "/api/trade", "503", {"rates_unavailable", "outcome_unknown", "database_unavailable"}),
        ("get", "/api/transactions", "400", {"invalid_input"}),
    ],
)
def test_the_contract_s_refusals_are_named(
    app: Flask, method: str, path: str, status: str, expected: set[str]
) -> None:
    assert expected <= set(codes(operations(app)[method, path], status))


def test_every_error_that_has_a_status_has_a_code_of_its_own(app: Flask) -> None:
    named = [kind.code for kind in STATUS]
    assert len(named) == len(set(named))


def test_every_error_answer_has_the_one_shape(app: Flask) -> None:
    for where, operation in operations(app).items():
        for status, answer in operation["responses"].items():
            if status.startswith(("4", "5")):
                schema = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                properties = openapi_document(app)["components"]["schemas"][schema]["properties"]
                assert {"error", "code"} <= set(properties), (where, status)
