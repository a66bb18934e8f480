"""docs/asyncapi.json, read for the tests: is this event as it says?"""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tests.fixtures import ROOT

DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs" / "asyncapi.json").read_text())


def names_of(action: str) -> set[str]:
    """The events that the server sends, or receives."""
    operations = [each for each in DOCUMENT["operations"].values() if each["action"] == action]
    return {message["$ref"].rpartition("/")[2] for each in operations for message in each["messages"]}


@cache
def validator_of(event: str) -> Draft202012Validator:
    """For its payload; an event that is not documented is a KeyError."""
    payload = DOCUMENT["components"]["messages"][event]["payload"]
    schema = {**payload, "components": DOCUMENT["components"]}
    Draft202012Validator.check_schema(payload)
    return Draft202012Validator(schema)
