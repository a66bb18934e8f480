"""Anything at all, on every route: never a 5xx, always an error in shape, and no balance moves on a refusal.

The client checks each answer's shape and that its code is documented (tests/fixtures.py). `pytest
--hypothesis-profile=long` tries twenty times as much.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from bittrade import create_app
from bittrade.extensions import db
from bittrade.models import Balance
from bittrade.services import auth, ledger
from tests.fixtures import PASSWORD, Person

# --- Bad input (the list of the design's drills) ------------------------------------------------------------------

NASTY_TEXTS = [
    *(
        "",
        " ",
        "0",
        "-0.0",
        "-1",
        "+1",
        "0x10",
        "1_0",
        " 1",
        "1 ",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "1e-400",
    ),
    *(
        "1e1000000",
        "9" * 5000,
        "1000",
        "0.5",
        "1e-8",
        "5.",
        "buy",
        "sell",
        "market",
        "limit",
        "inr",
        "btc",
        "INR",
    ),
    *(
        "１０",
        "١٢",
        "\x00",
        "a\x00b",
        "\ud800",
        "\u202etxt",
        "\u200b",
        "e\u0301",
        "🔑" * 64,
        "x" * 1024,
        "x" * 20_000,
    ),
    *(
        "a@b.c",
        "A@B.C",
        " a@b.c ",
        "x" * 243 + "@example.com",
        "x" * 242 + "@example.com",
        "x@bücher.example",
        "é@x.com",
    ),
    *(
        "' OR 1=1 --",
        "'; DROP TABLE users;--",
        "{{7*7}}",
        "%s%n",
        "../../etc/passwd",
        "<script>",
        "\r\nX-Evil: 1",
    ),
    *("null", "true", "[]", "{}", "2024-07-20T10:30:00.000Z", "2024-13-45", "a long enough pass phrase"),
]
NASTY_NUMBERS: list[Any] = [
    *(0, -1, 1, 1000, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, -(2**63) - 1, 10**30),
    *(0.5, -0.0, 1e300, 1e-300, 1e16, 0.1 + 0.2, 1000.0),
]
FIELDS = [
    *(
        "action",
        "type",
        "amount",
        "currency",
        "email",
        "password",
        "name",
        "confirmPassword",
        "currentPassword",
    ),
    *(
        "newPassword",
        "client_order_id",
        "expected_price",
        "max_slippage_bps",
        "quote_id",
        "__proto__",
        "id",
        "",
    ),
]
texts = st.sampled_from(NASTY_TEXTS) | st.text(max_size=30)
scalars = texts | st.sampled_from(NASTY_NUMBERS) | st.integers() | st.floats() | st.booleans() | st.none()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), values, max_size=6)
# Right in all but one or two fields: this comes further than pure nonsense does.
GOOD: dict[str, Any] = {
    "action": "buy",
    "type": "market",
    "amount": "100",
    "currency": "inr",
    "email": "fuzz@example.com",
    "password": PASSWORD,
    "name": "Fuzz",
    "currentPassword": PASSWORD,
    "newPassword": "entirely different words",
}
nearly_good = st.dictionaries(st.sampled_from(FIELDS), values, max_size=2).map(lambda some: {**GOOD, **some})

RAW_BODIES = [
    *(
        b"",
        b" ",
        b"{",
        b"}",
        b"[]",
        b"null",
        b"NaN",
        b"1",
        b'"x"',
        b"{}{}",
        b"{} x",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
    ),
    *(
        b'{"amount": NaN}',
        b'{"amount": 1e400}',
        b'{"amount": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\xed\xa0\x80"}',
    ),
    *(
        b'{"amount": ' + b"9" * 5000 + b"}",
        b'{"amount": 1e1000000}',
        b'{"email": "\\ud800", "password": "x"}',
    ),
    *(b'{"a":' * n + b"1" + b"}" * n for n in (10, 16, 17, 1000, 5000)),
    *(b"[" * n + b"]" * n for n in (16, 17, 16_000)),
    *(b'{"x": "' + b"x" * n + b'"}' for n in (65_526, 65_527, 65_528, 200_000)),
    *(
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
        b"action=buy&amount=1",
        b"\x00" * 100,
        b"--x\r\nContent-Disposition: form-data\r\n",
    ),
]


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()  # with NaN and lone surrogates, which a client may well send


bodies = (
    nearly_good.map(dump)
    | objects.map(dump)
    | values.map(dump)
    | st.sampled_from(RAW_BODIES)
    | st.binary(max_size=60)
)
CONTENT_TYPES = [
    *("application/json",) * 6,
    *(
        "application/json; charset=utf-8",
        "application/json; charset=utf-16",
        "application/json; charset=nonsense",
    ),
    *(
        "text/plain",
        "",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "\xff",
        "application/",
    ),
]
latin = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20)
header_values = latin | st.sampled_from(
    ["", "x" * 8192, "\x00", "\xe9", "0", "-1", "99999999999999999999", "gzip", "chunked"]
)
header_names = st.sampled_from(
    [
        "Idempotency-Key",
        "Accept",
        "Accept-Encoding",
        "Content-Encoding",
        "Origin",
        "X-Forwarded-For",
        "Host",
        "Cookie",
        "X-Request-Id",
        "If-None-Match",
        "Range",
        "Expect",
        "X-HTTP-Method-Override",
        "Access-Control-Request-Method",
    ]
)
headers = st.dictionaries(header_names, header_values, max_size=3)
QUERIES = [
    *(
        "",
        "limit=1",
        "limit=-1",
        "limit=1e9",
        "limit=1000000000",
        "limit=",
        "limit",
        "limit=1&limit=-1",
        "page=0",
        "page=2",
    ),
    *(
        "limit=%00",
        "limit=%F0%9F%94%91",
        "limit=%ff",
        "%00=1",
        "limit[]=1",
        "page=99999999999999999999",
        "&&&",
        "=",
        "a=b&" * 500,
    ),
    *(
        "before_id=-1",
        "before_id=x",
        "before_id=9223372036854775808",
        "type=x",
        "status=%00",
        "from=2024",
        "to=yesterday",
    ),
    *(
        "client_order_id=%00",
        "from=9999-99-99T99:99:99Z",
        "from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z",
        "x" * 5000,
    ),
]
keys = st.sampled_from(
    [
        *("limit", "page", "before_id", "type", "status", "from", "to", "client_order_id", "x"),
        *("order", "after_id", "cursor", "since", "until", "interval", "currency"),
    ]
)
queries = st.sampled_from(QUERIES) | st.dictionaries(keys, texts, max_size=3)
path_parts = st.sampled_from(
    ["1", "0", "-1", "1d", "9223372036854775808", "%00", "..", "%2e%2e", "%F0%9F%94%91", "x" * 300, "1 "]
)
tokens = st.sampled_from(["good"] * 5 + ["none", "bad", "twice"])


def routes(*methods: str) -> list[tuple[str, str]]:
    """(method, rule) of every route that has one of these methods."""
    return sorted(
        (method, rule.rule)
        for rule in create_app().url_map.iter_rules()
        for method in methods
        if method in (rule.methods or set())
    )


class Fuzzer:
    """Sends what hypothesis thinks of, and looks at the books after each refusal."""

    def __init__(self, app: Flask, user: Person) -> None:
        self.app, self.user, self.client = app, user, app.test_client()
        self.token = user.token
        self.held = self.books()

    def books(self) -> list[tuple[int, ...]]:
        with self.app.app_context(), db.engine.connect() as connection:
            rows = connection.execute(sa.select(Balance.seq, Balance.available_inr, Balance.available_btc))
            return sorted(tuple(row) for row in rows if row.seq)

    def send(self, method: str, path: str, token: str, sent: dict[str, str], **request: Any) -> TestResponse:
        answer = self.client.open(
            path, method=method, headers={**sent, **self.authorization(token)}, **request
        )
        assert answer.status_code < 500, (path, answer.status_code)
        if answer.status_code >= 400:
            assert self.books() == self.held, (path, answer.get_json())
        else:
            self.held = self.books()
            self.renew()
        return answer

    def authorization(self, token: str) -> dict[str, str]:
        one = f"Bearer {self.token}"
        return {
            "good": {"Authorization": one},
            "none": {},
            "bad": {"Authorization": f"Bearer {self.token[:-2]}"},
            "twice": {"Authorization": f"{one}, {one}"},
        }[token]

    def renew(self) -> None:
        """Some requests succeed, and end the token or change the password: begin anew."""
        if (
            self.client.get("/api/auth/verify", headers={"Authorization": f"Bearer {self.token}"}).status_code
            == 401
        ):
            with self.app.app_context():
                self.token, _ = auth.login(email=self.user.email, password=PASSWORD)

    def prove(self) -> None:
        with self.app.app_context():
            assert ledger.verify().faults == ()


@pytest.fixture
def fuzzer(app: Flask, price: None, make_user: Callable[..., Person]) -> Fuzzer:
    return Fuzzer(app, make_user(inr=10**9, btc=10**12, email="fuzz@example.com"))


@pytest.mark.parametrize(("method", "path"), routes("POST", "PUT", "PATCH", "DELETE"))
def test_no_body_or_header_makes_a_change_fail_badly_or_move_money_on_a_refusal(
    fuzzer: Fuzzer, method: str, path: str
) -> None:
    path = re.sub("<[^>]+>", "1", path)

    @given(bodies, st.sampled_from(CONTENT_TYPES), headers, tokens)
    def send(body: bytes, content_type: str, sent: dict[str, str], token: str) -> None:
        fuzzer.send(method, path, token, sent, data=body, content_type=content_type)

    send()
    fuzzer.prove()


@pytest.mark.parametrize("path", [path for _, path in routes("GET")])
def test_no_query_path_or_header_makes_a_get_fail_badly(fuzzer: Fuzzer, path: str) -> None:
    is_open = "<" in path
    start = path.partition("<")[0]
    end = path.partition(">")[2]

    @given(queries, headers, tokens, path_parts)
    def send(query: Any, sent: dict[str, str], token: str, part: str) -> None:
        where = f"{start}{part}{end}" if is_open else path
        fuzzer.send("GET", where, token, sent, query_string=_encodable(query))

    send()
    fuzzer.prove()


def _encodable(query: Any) -> Any:
    """A query in UTF-8: a lone surrogate has none."""
    if isinstance(query, dict):
        return {key: value.encode("utf-8", "replace").decode() for key, value in query.items()}
    return query


def test_no_trade_of_any_words_and_numbers_creates_value(fuzzer: Fuzzer) -> None:
    orders = st.fixed_dictionaries(
        {
            "action": st.sampled_from(["buy", "sell"]),
            "type": st.just("market"),
            "amount": st.integers(1, 10**6) | st.floats(1e-8, 1.0) | st.decimals(0, 1000, places=8).map(str),
            "currency": st.sampled_from(["inr", "btc"]),
        }
    )
    worth = [_worth(fuzzer.held[0])]

    @given(orders)
    def send(order: dict[str, Any]) -> None:
        fuzzer.send("POST", "/api/trade", "good", {}, data=dump(order), content_type="application/json")
        now = _worth(fuzzer.held[0])
        assert now <= worth[0]
        worth[0] = now

    send()
    fuzzer.prove()


def _worth(row: tuple[int, ...]) -> int:
    """At the sell rate of the fixed price, in units of 10⁻⁸ rupees."""
    _, inr, btc = row
    return inr * 10**8 + btc * 3_960_000


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "OPTIONS"]),
    st.text(max_size=40),
)
def test_no_path_makes_anything_fail_badly(client: FlaskClient, method: str, path: str) -> None:
    where = "/" + path.encode("utf-8", "replace").decode().lstrip("/")
    preflight = (204,) if method == "OPTIONS" else ()  # answered on any path, or a browser would hide our 404
    assert client.open(where, method=method).status_code in (200, 401, 404, 405, *preflight)
