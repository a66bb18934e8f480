"""Every operation's example is as its schema says, and is understood by the operation itself."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator

from bittrade import create_app
from bittrade.api import examples
from bittrade.domain.roles import Role
from bittrade.services.auth import staff
from dev import run
from tests.fixtures import Person, openapi_document

MISUNDERSTOOD = {"invalid_input", "missing_fields", "invalid_json", "invalid_amount", "invalid_limit_price"}


def operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Each operation with a body."""
    return [
        (method, path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if "requestBody" in operation
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "operation" in metafunc.fixturenames:
        found = operations(openapi_document(create_app()))
        metafunc.parametrize("operation", found, ids=[f"{method} {path}" for method, path in found])


def body_of(app: Flask, operation: tuple[str, str]) -> dict[str, Any]:
    method, path = operation
    content: dict[str, Any] = openapi_document(app)["paths"][path][method]["requestBody"]["content"]
    return content["application/json"]


def test_an_example_is_as_its_schema_says(app: Flask, operation: tuple[str, str]) -> None:
    content = body_of(app, operation)
    schema = {**content["schema"], "components": openapi_document(app)["components"]}
    Draft202012Validator(schema).validate(content["example"])


@pytest.mark.usefixtures("price")
def test_an_example_is_understood(
    app: Flask, make_user: Callable[..., Person], operation: tuple[str, str]
) -> None:
    method, path = operation
    person = make_user(inr=100_000, btc=10_000_000)
    with app.app_context():
        staff.set_role(person.id, Role.ADMIN, why="a test")
    body = body_of(app, operation)["example"]
    parts = {"user_id": person.id, **examples.PATH_PARTS}
    path = re.sub(r"{(\w+)}", lambda part: str(parts.get(part[1], examples.SOME_ID)), path)
    answer = app.test_client().open(path, method=method.upper(), json=body, headers=person.headers)
    assert answer.get_json().get("code") not in MISUNDERSTOOD, answer.data


def test_the_login_is_that_of_the_demonstration() -> None:
    assert examples.DEMO == {"email": run.DEMO_EMAIL, "password": run.DEMO_PASSWORD}


def test_what_takes_a_key_says_so(app: Flask) -> None:
    paths = openapi_document(app)["paths"]
    for path in ("/api/trade", "/api/orders", "/api/admin/users/{user_id}/deposit-cash"):
        names = [part["name"] for part in paths[path]["post"]["parameters"]]
        assert names.count("Idempotency-Key") == 1
    assert "Idempotency-Key" not in [
        part["name"] for part in paths["/api/balance"]["get"].get("parameters", [])
    ]


def test_each_part_of_a_path_has_an_example(app: Flask) -> None:
    for path, item in openapi_document(app)["paths"].items():
        for operation in item.values():
            for part in operation.get("parameters", []):
                assert part["in"] != "path" or "example" in part, path
