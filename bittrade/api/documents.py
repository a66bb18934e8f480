"""From an AsyncAPI document to what a page shows of it: each operation, its events, the fields of their payloads.

Pure, and only as wide as our own document: references within it, objects, arrays, `allOf` (to say more of what is
referred to) and `anyOf` (either this or that).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

# What a schema may ask of a value, in words.
RULES = {
    "const": "always `{}`",
    "enum": "one of `{}`",
    "minimum": "at least `{}`",
    "exclusiveMinimum": "more than `{}`",
    "maximum": "at most `{}`",
    "maxItems": "at most `{}` of them",
    "format": "{}",
    "pattern": "matches `{}`",
}
JSON_VALUES = ("const", "enum")


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a payload's table; `transactions[].id` is a field of each of an array's objects."""

    name: str
    type: str
    rules: list[str]
    is_required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One form that a payload may have; only an object has fields."""

    type: str
    description: str
    fields: list[Field]


@dataclass(frozen=True, slots=True)
class Example:
    summary: str
    payload: str


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    summary: str
    description: str
    shapes: list[Shape]
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class Operation:
    """What is done, with which events, and the names of those that answer them."""

    action: str
    title: str
    summary: str
    events: list[Event]
    answers: list[str]


def list_operations(document: dict[str, Any]) -> list[Operation]:
    """In the document's order."""
    return [
        Operation(
            action=each["action"],
            title=each["title"],
            summary=each["summary"],
            events=[_event(message) for message in each["messages"]],
            answers=[message["name"] for message in each.get("reply", {}).get("messages", [])],
        )
        for each in inlined(document["operations"], document).values()
    ]


def inlined(node: Any, document: dict[str, Any]) -> Any:
    """The node with all that it refers to in its place. Of an `allOf` the last word wins, and what stands beside it."""
    if isinstance(node, list):
        return [inlined(each, document) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return inlined(_find(node["$ref"], document), document)
    own = {key: inlined(value, document) for key, value in node.items()}
    merged: dict[str, Any] = {}
    for part in own.pop("allOf", []):
        merged |= part
    return merged | own


def _find(reference: str, document: dict[str, Any]) -> Any:
    found: Any = document
    for key in reference.removeprefix("#/").split("/"):
        found = found[key]
    return found


def _event(message: dict[str, Any]) -> Event:
    return Event(
        name=message["name"],
        summary=message["summary"],
        description=message["description"],
        shapes=[_shape(each) for each in _choices(message["payload"])],
        examples=[
            Example(each["summary"], json.dumps(each["payload"], indent=2, ensure_ascii=False))
            for each in message["examples"]
        ],
    )


def _shape(schema: Schema) -> Shape:
    return Shape(_type(schema), schema.get("description", ""), list(list_fields(schema)))


def list_fields(schema: Schema, prefix: str = "") -> Iterator[Field]:
    """The fields of an inlined schema: its own, each followed by those within it."""
    for choice in _choices(schema):
        if "items" in choice:
            yield from list_fields(choice["items"], f"{prefix}[]")
        for name, inner in choice.get("properties", {}).items():
            path = f"{prefix}.{name}" if prefix else name
            is_required = name in choice.get("required", [])
            yield Field(path, _type(inner), _rules(inner), is_required, inner.get("description", ""))
            yield from list_fields(inner, path)


def _choices(schema: Schema) -> list[Schema]:
    return schema.get("anyOf", [schema])


def _type(schema: Schema) -> str:
    """`string or null`, `array of objects`."""
    words: list[str] = []
    for choice in _choices(schema):
        types = choice.get("type", "anything")
        for word in types if isinstance(types, list) else [types]:
            words.append(f"array of {_type(choice['items'])}s" if word == "array" else word)
    return " or ".join(words)


def _rules(schema: Schema) -> list[str]:
    """In words; a format says in one what its pattern spells out."""
    return [
        words.format(_value(key, choice[key]))
        for choice in _choices(schema)
        for key, words in RULES.items()
        if key in choice and not (key == "pattern" and "format" in choice)
    ]


def _value(key: str, value: Any) -> str:
    if key not in JSON_VALUES:
        return str(value)
    return "`, `".join(json.dumps(each) for each in (value if isinstance(value, list) else [value]))
