"""What holds for every answer: error shapes, headers, CORS, and bodies that are bounded and strict."""

import gzip
import io
import json
import re
import tracemalloc
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade import create_app
from tests.api.conftest import BUY
from tests.fixtures import Person

GZIPPED = gzip.compress(b"{}", mtime=0)
ORIGIN = {"Origin": "https://shop.example"}


def rules() -> list[tuple[str, str]]:
    found = []
    for rule in create_app().url_map.iter_rules():
        path = re.sub("<int:[a-z_]+>|<session_id>", "1", rule.rule.replace("<timeframe>", "1d"))
        found += [(method, path) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    return sorted(found)


PAGES = {"/api/docs/events"}
# The built pages are there once they are built, and are no part of the API: tests/e2e/test_page.py and its neighbours.
EVERY_ROUTE = pytest.mark.parametrize(
    "route",
    [route for route in rules() if route[1].startswith("/api") and route[1] != "/api/docs"],
    ids=lambda route: " ".join(route),
)


# --- Nobody is home -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nothing",
        "/favicon.ico",
        "/api/balance//",
        "/api//balance",
        "/api/balances",
        "/balance/api",
        "/api/balance/..",
        "/api/%00",
        "//api/balance",
        "/%2e%2e/etc/passwd",
        "/api/bitcoin/chart/",
        "/static/x.js",
        "/api/" + "x" * 5000,
    ],
)
def test_an_unknown_path_is_404_in_json(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.get_json() == {"error": "Endpoint not found", "code": "not_found"}


@EVERY_ROUTE
def test_letter_case_and_one_slash_at_the_end_make_no_difference(
    client: FlaskClient, route: tuple[str, str]
) -> None:
    method, path = route
    known = client.open(path, method=method)
    for other in (f"{path}/", path.upper(), f"{path.title()}/"):
        other = re.sub("1D", "1d", other)  # a value, not a name
        answer = client.open(other, method=method)
        assert answer.status_code == known.status_code
        assert answer.is_json == known.is_json
        assert (answer.get_json(silent=True) or {}).get("code") == (known.get_json(silent=True) or {}).get(
            "code"
        )


def test_the_letter_case_of_an_id_stays_as_it_is(client: FlaskClient, user: Person) -> None:
    (session,) = client.get("/api/auth/sessions", headers=user.headers).get_json()["sessions"]
    assert client.delete(f"/API/Auth/Sessions/{session['id']}/", headers=user.headers).status_code == 200


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "TRACE", "PROPFIND", "NONSENSE"])
@pytest.mark.parametrize("path", ["/api/trade", "/api/balance", "/api/market-rates", "/api/auth/login"])
def test_a_method_that_a_route_does_not_have_is_405_in_json(
    client: FlaskClient, method: str, path: str
) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == 405
    assert answer.get_json()["code"] == "method_not_allowed"
    assert "OPTIONS" in answer.headers["Allow"]


@EVERY_ROUTE
def test_a_verb_that_a_route_does_not_have_is_405(client: FlaskClient, route: tuple[str, str]) -> None:
    _, path = route
    taken = {method for method, known in rules() if known == path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - taken:
        assert client.open(path, method=method).status_code == 405


def test_head_is_answered_like_get_without_a_body(client: FlaskClient, price: None) -> None:
    answer = client.head("/api/market-rates")
    assert (answer.status_code, answer.data) == (200, b"")


# --- Headers ------------------------------------------------------------------------------------------------------


@EVERY_ROUTE
def test_every_answer_carries_the_safe_headers(client: FlaskClient, route: tuple[str, str]) -> None:
    method, path = route
    answer = client.open(path, method=method)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Request-Id"]
    assert answer.mimetype == ("text/html" if path in PAGES else "application/json")
    assert "X-Powered-By" not in answer.headers


@pytest.mark.parametrize("path", ["/api/balance", "/api/transactions", "/api/auth/verify"])
def test_personal_answers_are_not_to_be_stored(client: FlaskClient, user: Person, path: str) -> None:
    assert "no-store" in client.get(path, headers=user.headers).headers["Cache-Control"]


def test_each_request_has_an_id_of_its_own(client: FlaskClient) -> None:
    numbers = {
        client.get("/api/nothing", headers={"X-Request-Id": "mine\\r\\nX: y"}).headers["X-Request-Id"]
        for _ in range(5)
    }
    assert len(numbers) == 5
    assert not any("mine" in number for number in numbers)


# --- CORS ---------------------------------------------------------------------------------------------------------


@EVERY_ROUTE
def test_preflight_works_on_every_route(client: FlaskClient, route: tuple[str, str]) -> None:
    method, path = route
    asked = {
        **ORIGIN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    answer = client.options(path, headers=asked)
    assert answer.status_code in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN["Origin"])
    assert method in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "idempotency-key"))
    assert answer.headers.get("Access-Control-Allow-Credentials") != "true"


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nothing", "/API/Nothing/at/all", "/api/trade/x", "/api//x"]
)
def test_preflight_works_where_there_is_no_route_too(client: FlaskClient, path: str) -> None:
    asked = {**ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"}
    answer = client.options(path, headers=asked)
    assert answer.status_code in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN["Origin"])
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert client.post(path, headers=ORIGIN).status_code == 404


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"path": "/api/nothing"}, 404),
        ({"path": "/api/trade", "method": "DELETE"}, 405),
        ({"path": "/api/balance"}, 401),
        ({"path": "/api/balance", "headers": {"Authorization": "Bearer x"}}, 403),
        (
            {"path": "/api/auth/login", "method": "POST", "data": b"{", "content_type": "application/json"},
            400,
        ),
        ({"path": "/api/auth/login", "method": "POST", "data": b"{}", "content_type": "text/plain"}, 415),
        ({"path": "/api/auth/login", "method": "POST", "data": b"x" * 70_000}, 413),
        ({"path": "/api/market-rates"}, 404),
    ],
)
def test_error_answers_have_cors_headers_too(
    client: FlaskClient, request_: dict[str, Any], status: int
) -> None:
    request_["headers"] = {**request_.get("headers", {}), **ORIGIN}
    answer = client.open(**request_)
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN["Origin"])


def test_a_page_may_read_the_headers_that_it_needs(client: FlaskClient) -> None:
    exposed = client.get("/api/nothing", headers=ORIGIN).headers["Access-Control-Expose-Headers"]
    assert {"Idempotent-Replayed", "Retry-After"} <= {name.strip() for name in exposed.split(",")}


# --- Bodies -------------------------------------------------------------------------------------------------------

POSTS = ["/api/auth/register", "/api/auth/login", "/api/auth/password", "/api/trade"]
EVERY_BODY = pytest.mark.parametrize("path", POSTS)
REGISTER = {"email": "x@example.com", "password": "a long enough pass phrase", "name": "X"}


def send(
    client: FlaskClient, user: Person, path: str, body: bytes, content_type: str = "application/json"
) -> Any:
    return client.post(path, data=body, content_type=content_type, headers=user.headers)


def nested(depth: int) -> bytes:
    """An object whose `x` is nested so that the whole is `depth` deep."""
    return b'{"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


INVALID = {
    "nothing": b"",
    "a space": b" ",
    "half": b'{"a": 1',
    "not JSON": b"action=buy",
    "an array": b"[]",
    "an array of objects": b'[{"action":"buy"}]',
    "a string": b'"text"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "NaN alone": b"NaN",
    "a NaN": b'{"amount": NaN}',
    "an Infinity": b'{"amount": Infinity}',
    "a negative Infinity": b'{"amount": -Infinity}',
    "a key twice": b'{"amount": 1, "amount": 2}',
    "a key twice inside": b'{"x": {"a": 1, "a": 1}}',
    "a key twice, once escaped": b'{"amount": 1, "\\u0061mount": 2}',
    "garbage after": b'{"a": 1} x',
    "two objects": b"{}{}",
    "two BOMs": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "a BOM within": b'{"a":\xef\xbb\xbf 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without a BOM": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "Latin-1": '{"name": "é"}'.encode("latin-1"),
    "a cut-off character": b'{"name": "\xf0\x9f\x94"}',
    "an overlong character": b'{"name": "\xc0\x80"}',
    "a bare surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "a NUL": b'{"a": 1}\x00',
    "a control character": b'{"a": "\x01"}',
    "single quotes": b"{'a': 1}",
    "a trailing comma": b'{"a": 1,}',
    "a comment": b'{"a": 1} // x',
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV*JMLQ\xb2R\xaa\x05\x00",
    "17 levels": nested(17),
    "1,000 levels": nested(1000),
    "16,000 levels": nested(16_000),
    "16,000 objects": b'{"a":' * 8000 + b"1" + b"}" * 8000,
    "a number of 5,000 digits": b'{"amount": ' + b"9" * 5000 + b"}",
}


@EVERY_BODY
@pytest.mark.parametrize("name", INVALID)
def test_a_body_that_is_not_a_strict_json_object_is_400(
    client: FlaskClient, user: Person, path: str, name: str
) -> None:
    answer = send(client, user, path, INVALID[name])
    assert answer.status_code == 400
    assert answer.get_json()["code"] == "invalid_json"


@EVERY_BODY
def test_a_byte_order_mark_before_the_body_is_ignored(client: FlaskClient, user: Person, path: str) -> None:
    assert send(client, user, path, b"\xef\xbb\xbf{}").get_json()["code"] == "missing_fields"


@EVERY_BODY
def test_16_levels_are_deep_enough(client: FlaskClient, user: Person, path: str) -> None:
    assert send(client, user, path, nested(16)).get_json()["code"] == "missing_fields"


@EVERY_BODY
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "",
        "json",
        "application/jsonx",
        "text/json",
        "application/octet-stream",
        "*/*",
        "application/json/x",
        "\xff",
    ],
)
def test_another_content_type_is_415(client: FlaskClient, user: Person, path: str, content_type: str) -> None:
    answer = send(client, user, path, b"{}", content_type)
    assert answer.status_code == 415
    assert answer.get_json()["code"] == "unsupported_media_type"


@EVERY_BODY
def test_a_missing_content_type_is_415(client: FlaskClient, user: Person, path: str) -> None:
    answer = client.post(path, data=b"{}", headers=user.headers)
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;charset=UTF-8",
    ],
)
def test_json_may_be_spelled_in_its_usual_ways(client: FlaskClient, user: Person, content_type: str) -> None:
    answer = send(client, user, "/api/auth/register", json.dumps(REGISTER).encode(), content_type)
    assert answer.status_code == 201


@EVERY_BODY
def test_more_than_64_kib_is_413(client: FlaskClient, user: Person, path: str) -> None:
    for size in (64 * 1024 + 1, 1_000_000):
        body = b'{"x": "' + b"x" * (size - 9) + b'"}'
        assert len(body) == size
        answer = send(client, user, path, body)
        assert answer.status_code == 413
        assert answer.get_json()["code"] == "body_too_large"


def zipped(client: FlaskClient, user: Person, body: bytes, coding: str = "gzip") -> Any:
    headers = {**user.headers, "Content-Encoding": coding}
    return client.post("/api/trade", data=body, content_type="application/json", headers=headers)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
def test_a_gzip_body_is_read(client: FlaskClient, user: Person, price: None, coding: str) -> None:
    assert zipped(client, user, gzip.compress(json.dumps(BUY).encode()), coding).status_code == 201


def test_a_gzip_body_may_hold_64_kib_and_no_more(client: FlaskClient, user: Person) -> None:
    for size, code in ((64 * 1024, "missing_fields"), (64 * 1024 + 1, "body_too_large")):
        body = gzip.compress(b'{"x": "' + b"x" * (size - 9) + b'"}')
        assert zipped(client, user, body).get_json()["code"] == code


def test_a_gzip_bomb_is_not_unpacked(client: FlaskClient, user: Person) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 64 * 1024
    tracemalloc.start()
    try:
        answer = zipped(client, user, bomb)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (answer.status_code, answer.get_json()["code"]) == (413, "body_too_large")
    assert most < 10_000_000


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (b"{}", "gzip", 400),
        (GZIPPED[:-3], "gzip", 400),
        (GZIPPED + b"more", "gzip", 400),
        (GZIPPED * 2, "gzip", 400),
        (b"", "gzip", 400),
        (b"{}", "br", 415),
        (b"{}", "deflate", 415),
        (gzip.compress(GZIPPED, mtime=0), "gzip, gzip", 415),
        (b"{}", "\xff", 415),
        (b"{}", "identity", 400),
    ],
)
def test_a_coding_that_we_do_not_read_is_refused_with_its_reason(
    client: FlaskClient, user: Person, body: bytes, coding: str, status: int
) -> None:
    answer = zipped(client, user, body, coding)
    assert answer.status_code == status
    assert answer.get_json()["code"] in ("invalid_json", "unsupported_media_type", "missing_fields")


@EVERY_BODY
def test_64_kib_are_read(client: FlaskClient, user: Person, path: str) -> None:
    body = b'{"x": "' + b"x" * (64 * 1024 - 9) + b'"}'
    assert len(body) == 64 * 1024
    assert send(client, user, path, body).get_json()["code"] == "missing_fields"


def test_a_body_without_a_length_that_turns_out_too_large_is_413(client: FlaskClient, user: Person) -> None:
    answer = client.post(
        "/api/trade",
        input_stream=io.BytesIO(b" " * 100_000),
        content_type="application/json",
        headers=user.headers,
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "99999999999999999999", "0", "5", ""])
def test_a_length_that_lies_is_refused_and_never_a_5xx(
    client: FlaskClient, user: Person, length: str
) -> None:
    answer = client.post(
        "/api/trade",
        data=json.dumps(BUY),
        content_type="application/json",
        headers=user.headers,
        environ_overrides={"CONTENT_LENGTH": length},
    )
    assert answer.status_code in (400, 413)


@pytest.mark.parametrize("field", ["email", "name"])
@pytest.mark.parametrize("text", ["\\ud800", "\\u0000", "\\udfff\\ud800", "\\u202e"], ids=repr)
def test_escaped_characters_that_no_text_has_are_never_a_5xx(
    client: FlaskClient, field: str, text: str
) -> None:
    body = json.dumps({**REGISTER, field: "@"}).replace('"@"', f'"{text}"')
    answer = client.post("/api/auth/register", data=body, content_type="application/json")
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/api/auth/logout", "/api/auth/logout-all"])
@pytest.mark.parametrize("body", [b"", b"{}", b"{", b"x" * 1000])
def test_a_route_without_a_body_does_not_mind_one(
    client: FlaskClient, user: Person, path: str, body: bytes
) -> None:
    assert client.post(path, data=body, headers=user.headers).status_code == 200


def test_a_bug_tells_the_client_nothing(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("the secret is hunter2")

    broken.access = "public"
    monkeypatch.setitem(app.view_functions, "health.get_health", broken)
    answer = FlaskClient(app, app.response_class).get("/api/health")
    assert answer.status_code == 500
    assert answer.get_json() == {"error": "Something went wrong!", "code": "internal_error"}
    assert answer.headers["X-Request-Id"]
