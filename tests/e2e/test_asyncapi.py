"""The document of the events, held to AsyncAPI's own schema of such documents, from its makers' npm package."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from bittrade.api.asyncapi import DOCUMENT
from tests.e2e.conftest import HERE

# Each schema is there twice; this one needs no look at the addresses in it to be resolved.
SCHEMAS = HERE / "node_modules" / "@asyncapi" / "specs" / "schemas"


@pytest.fixture
def validator(_javascript: None) -> Draft7Validator:
    path: Path = SCHEMAS / f"{DOCUMENT['asyncapi']}-without-$id.json"
    return Draft7Validator(json.loads(path.read_text()))


def test_our_document_is_valid_asyncapi_3(validator: Draft7Validator) -> None:
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"operations": {"hear": {"action": "hear", "channel": {"$ref": "#/channels/root"}}}},
        {"servers": {"here": {"protocol": "ws"}}},
        {"components": {"messages": {"heartbeat": {"payload": {"type": "objekt"}}}}},
        {"channel": {}},
    ],
)
def test_the_schema_refuses_what_is_not(validator: Draft7Validator, wrong: dict[str, Any]) -> None:
    assert not validator.is_valid({**DOCUMENT, **wrong})
