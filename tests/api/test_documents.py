"""What a page shows of an AsyncAPI document: references, alternatives and nested fields, in words."""

from typing import Any

import pytest

from bittrade.api.asyncapi import DOCUMENT
from bittrade.api.documents import Field, inlined, list_fields, list_operations

MOMENT = {"type": "string", "format": "date-time", "pattern": "Z$", "description": "UTC"}
SCHEMAS = {"components": {"schemas": {"Moment": MOMENT}}}
REFERENCE = {"$ref": "#/components/schemas/Moment"}


def fields(**properties: Any) -> list[Field]:
    return list(list_fields(inlined({"type": "object", "properties": properties}, SCHEMAS)))


def rows(**properties: Any) -> list[tuple[str, str, list[str]]]:
    return [(field.name, field.type, field.rules) for field in fields(**properties)]


def test_a_reference_is_what_it_refers_to() -> None:
    (field,) = fields(at=REFERENCE)
    assert (field.type, field.rules, field.description) == ("string", ["date-time"], "UTC")


def test_all_of_says_more_of_what_it_refers_to() -> None:
    (field,) = fields(at={"allOf": [REFERENCE], "description": "when it was sent"})
    assert (field.type, field.rules, field.description) == ("string", ["date-time"], "when it was sent")


@pytest.mark.parametrize(
    ("schema", "type_"),
    [
        ({"type": "integer"}, "integer"),
        ({"type": ["integer", "null"]}, "integer or null"),
        ({"anyOf": [REFERENCE, {"type": "null"}]}, "string or null"),
        ({"type": "array", "items": {"type": "object"}}, "array of objects"),
        ({}, "anything"),
    ],
)
def test_a_type_is_said_in_words(schema: dict[str, Any], type_: str) -> None:
    assert fields(x=schema)[0].type == type_


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"const": "x"}, 'always `"x"`'),
        ({"const": False}, "always `false`"),
        ({"enum": ["a", "b", None]}, 'one of `"a"`, `"b"`, `null`'),
        ({"minimum": 0}, "at least `0`"),
        ({"exclusiveMinimum": 0}, "more than `0`"),
        ({"maximum": 9}, "at most `9`"),
        ({"maxItems": 15}, "at most `15` of them"),
        ({"format": "date-time"}, "date-time"),
        ({"pattern": "^a$"}, "matches `^a$`"),
    ],
)
def test_a_rule_is_said_in_words(rule: dict[str, Any], words: str) -> None:
    assert fields(x=rule)[0].rules == [words]


def test_what_is_inside_follows_what_it_is_inside_of() -> None:
    one = {"type": "object", "properties": {"id": {"type": "integer", "minimum": 1}}}
    assert rows(all={"type": "array", "items": one, "maxItems": 3}, one=one, last={"type": "boolean"}) == [
        ("all", "array of objects", ["at most `3` of them"]),
        ("all[].id", "integer", ["at least `1`"]),
        ("one", "object", []),
        ("one.id", "integer", ["at least `1`"]),
        ("last", "boolean", []),
    ]


def test_a_field_is_required_where_the_schema_says_so() -> None:
    schema = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["b"]}
    assert [field.is_required for field in list_fields(schema)] == [False, True]


# --- Our own document ---------------------------------------------------------------------------------------------


def test_our_document_has_every_event_once_and_says_what_each_and_its_fields_mean() -> None:
    events = [event for operation in list_operations(DOCUMENT) for event in operation.events]
    assert sorted(event.name for event in events) == sorted(DOCUMENT["components"]["messages"])
    for event in events:
        assert event.summary.endswith("."), event.name
        assert event.description.endswith("."), event.name
        assert event.examples, event.name
        for field in (field for shape in event.shapes for field in shape.fields):
            assert field.description, (event.name, field.name)
            assert "anything" not in field.type, (event.name, field.name)


def test_our_document_says_no_rule_that_the_page_would_keep_to_itself() -> None:
    known = {"type", "description", "properties", "required", "additionalProperties", "items", "anyOf"}
    known |= {"const", "enum", "minimum", "exclusiveMinimum", "maximum", "maxItems", "format", "pattern"}
    for message in inlined(DOCUMENT["components"]["messages"], DOCUMENT).values():
        assert set(keywords(message["payload"])) <= known


def keywords(schema: dict[str, Any]) -> list[str]:
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    inner += [schema["items"]] if "items" in schema else []
    return [*schema, *(word for each in inner for word in keywords(each))]


def test_what_a_client_sends_names_its_answers() -> None:
    answers = {op.events[0].name: op.answers for op in list_operations(DOCUMENT) if op.action == "receive"}
    assert answers.keys() == {"authenticate", "resume"}
    for names in answers.values():
        assert names[-2:] == ["authentication_success", "authentication_error"]
