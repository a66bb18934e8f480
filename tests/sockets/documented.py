"""The AsyncAPI document that a server serves, for the tests: is this event as it says?"""

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from bittrade.api.asyncapi import DOCUMENT


def names_of(action: str) -> set[str]:
    """The events that the server sends, or receives."""
    operations = [each for each in DOCUMENT["operations"].values() if each["action"] == action]
    return {name for each in operations for name in _names(each)}


def answers_to(event: str) -> list[str]:
    """The events that answer one of a client's, in order; the last is the refusal."""
    (operation,) = (each for each in DOCUMENT["operations"].values() if event in _names(each))
    return _names(operation["reply"])


def _names(told: dict[str, Any]) -> list[str]:
    return [message["$ref"].rpartition("/")[2] for message in told["messages"]]


@cache
def validator_of(event: str) -> Draft202012Validator:
    """For its payload; an event that is not documented is a KeyError."""
    payload = DOCUMENT["components"]["messages"][event]["payload"]
    schema = {**payload, "components": DOCUMENT["components"]}
    Draft202012Validator.check_schema(payload)
    return Draft202012Validator(schema)
