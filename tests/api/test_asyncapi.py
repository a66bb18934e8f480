"""/api/asyncapi.json and /api/docs/events: the sockets' events for machines and for people, the one made of the other.

That they say what the sockets do is shown in tests/sockets/test_asyncapi.py.
"""

import base64
import copy
import hashlib
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade.api import asyncapi
from bittrade.api.asyncapi import DOCUMENT

PAGE = "/api/docs/events"
EVENTS = DOCUMENT["components"]["messages"]


@pytest.fixture
def page(client: FlaskClient) -> str:
    return client.get(PAGE).text


def directives(client: FlaskClient) -> dict[str, str]:
    policy = client.get(PAGE).headers["Content-Security-Policy"]
    return {name: value for name, _, value in (part.strip().partition(" ") for part in policy.split(";"))}


def test_the_document_is_served_to_anyone(client: FlaskClient) -> None:
    answer = client.get("/api/asyncapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.get_json() == DOCUMENT


def test_the_page_is_served_to_anyone(client: FlaskClient) -> None:
    answer = client.get(PAGE)
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    assert 'href="/api/asyncapi.json"' in answer.text
    assert 'href="/api/openapi.json"' in answer.text


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_the_page_has_every_event_with_its_fields_and_examples(page: str, name: str) -> None:
    (article,) = re.findall(rf'<article id="{name}">.*?</article>', page, re.DOTALL)
    assert article.count("<pre>") == len(EVENTS[name]["examples"])
    for field in EVENTS[name]["payload"].get("properties", {"token": ...}):
        assert f"<code>{field}</code></th>" in article


def test_the_page_has_every_server(page: str) -> None:
    for server in DOCUMENT["servers"].values():
        assert f"{server['protocol']}://{server['host']}{server['pathname']}" in page


def test_each_link_within_the_page_leads_somewhere_and_none_leads_away(page: str) -> None:
    places = re.findall(r'\bid="([^"]+)"', page)
    assert len(places) == len(set(places))
    links = set(re.findall(r'\bhref="([^"]+)"', page))
    assert links == {f"#{place}" for place in places} | {"/api/asyncapi.json", "/api/openapi.json"}


def test_the_page_runs_nothing_and_loads_nothing(page: str) -> None:
    assert not re.search(r"<(script|link|img|iframe|object|embed|form|base)\b", page)
    assert not re.search(r"\s(on[a-z]+|src|style)=", page)
    assert not re.search(r"@import|url\(", page)


def test_the_page_s_policy_allows_its_own_stylesheet_and_nothing_else(client: FlaskClient, page: str) -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    fingerprint = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert directives(client) == {
        "default-src": "'none'",
        "style-src": f"'sha256-{fingerprint}'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def hostile(node: Any) -> Any:
    """The document with markup in every text that is not a name of something."""
    if isinstance(node, dict):
        said = ("title", "summary", "description", "const")
        return {key: "<img src=x>" if key in said else hostile(value) for key, value in node.items()}
    return [hostile(each) for each in node] if isinstance(node, list) else node


def test_text_of_the_document_is_text_on_the_page(app: Flask) -> None:
    document = hostile(copy.deepcopy(DOCUMENT))
    document["components"]["messages"]["heartbeat"]["examples"][0]["payload"] = "</pre><img src=x>"
    with app.app_context():
        page = asyncapi.render(document)
    assert "<img" not in page
    assert page.count("&lt;img src=x&gt;") > 100
    assert "&lt;/pre&gt;&lt;img" in page
