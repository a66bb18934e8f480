"""What llhttp reads, gunicorn's own parser reads too, and alike: a request is never taken that was refused before."""

from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import example, given
from hypothesis import strategies as st

from llhttp_worker import MAX_HEAD_BYTES, LlhttpRequest, read_head
from tests.security.test_server import SMUGGLING

CONFIG = Config()
CONFIG.set("http_parser", "python")
PEERS = (("127.0.0.1", 1), ("203.0.113.9", 1))
PLAIN = b"GET /api/market-rates?a=1 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"

NAMES = st.sampled_from(
    [
        *(
            b"Host",
            b"Content-Length",
            b"Transfer-Encoding",
            b"Content-Type",
            b"Expect",
            b"Connection",
            b"Upgrade",
        ),
        *(b"X_Forwarded_For", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-SSL", b"Script_Name"),
        *(b"", b"A B", b"A ", b" A", b"A\t", b"A\x00", b"A(", b"A\xe9", b"authorization", b"X-\x7f", b'"'),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *(
                b"x",
                b"",
                b" x ",
                b"0",
                b"5",
                b"+5",
                b"-5",
                b"5, 5",
                b"05",
                b"0x5",
                b"5 ",
                b"99999999999999999999",
            ),
            *(
                b"chunked",
                b"Chunked",
                b"gzip",
                b"gzip, chunked",
                b"chunked, chunked",
                b"identity",
                b"xchunked",
            ),
            *(
                b"100-continue",
                b"close",
                b"keep-alive",
                b"upgrade",
                b"websocket",
                b"https",
                b"a\x00b",
                b"a\rb",
            ),
            *(b"a\nb", b"a\r\n b", b"a\tb", b"a\x7fb", b"a\x01b", b"caf\xe9", b"\xff", b"h2c"),
        ]
    ),
    st.binary(max_size=8),
)
LINES = st.sampled_from(
    [
        *(
            b"GET / HTTP/1.1",
            b"GET /a%20b?c=d#e HTTP/1.1",
            b"POST / HTTP/1.1",
            b"HEAD //x HTTP/1.1",
            b"get / HTTP/1.1",
        ),
        *(
            b"GET / HTTP/1.0",
            b"GET / HTTP/0.9",
            b"GET / HTTP/2.0",
            b"GET / HTTP/9.9",
            b"GET / HTTP/1.2",
            b"GET /",
        ),
        *(
            b"GET  / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b" GET / HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET /\xe9 HTTP/1.1",
        ),
        *(b"GET /\x00 HTTP/1.1", b"GET http://y/ HTTP/1.1", b"CONNECT y:1 HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        *(
            b"GET * HTTP/1.1",
            b"GET y:1 HTTP/1.1",
            b"PROPFIND / HTTP/1.1",
            b"M-SEARCH / HTTP/1.1",
            b"FOO / HTTP/1.1",
        ),
        *(
            b"PRI * HTTP/2.0",
            b"GET / http/1.1",
            b"GET / RTSP/1.0",
            b"\r\nGET / HTTP/1.1",
            b"\r\n\r\nGET / HTTP/1.1",
        ),
    ]
)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n"])
FIELDS = st.lists(
    st.tuples(NAMES, st.sampled_from([b":", b": ", b" :", b":\t", b""]), VALUES, ENDS), max_size=6
)


def read(kind: type[Request], raw: bytes, peer: tuple[str, int]) -> Any:
    """What a parser makes of these bytes: everything that the application and the connection go by, or the error's kind."""
    unreader = IterUnreader([raw])
    try:
        request = kind(CONFIG, unreader, peer, 1)
    except (NoMoreData, StopIteration):
        return "more"
    except Exception as error:
        return type(error).__name__
    body = type(request.body.reader).__name__
    length = getattr(request.body.reader, "length", None)
    names = (
        "method",
        "uri",
        "path",
        "query",
        "fragment",
        "version",
        "headers",
        "scheme",
        "_expected_100_continue",
    )
    rest = unreader.buf.getvalue()
    return [getattr(request, name) for name in names], body, length, request.should_close(), rest


@given(
    LINES,
    ENDS,
    FIELDS,
    st.sampled_from([b"\r\n", b"\n", b""]),
    st.binary(max_size=12),
    st.sampled_from(PEERS),
)
@example(
    b"GET / HTTP/1.1", b"\r\n", [(b"X_Forwarded_For", b": ", b"1.2.3.4", b"\r\n")], b"\r\n", b"", PEERS[1]
)
def test_both_parsers_say_the_same(
    line: bytes, end: bytes, fields: list[tuple[bytes, ...]], last: bytes, rest: bytes, peer: tuple[str, int]
) -> None:
    raw = line + end + b"".join(b"".join(field) for field in fields) + last + rest
    assert read(LlhttpRequest, raw, peer) == read(Request, raw, peer)


@pytest.mark.parametrize("name", SMUGGLING)
def test_what_is_smuggled_is_read_alike(name: str) -> None:
    raw, _expected = SMUGGLING[name]
    assert read(LlhttpRequest, raw, PEERS[0]) == read(Request, raw, PEERS[0])


@pytest.mark.parametrize("count", [99, 100, 101, 200])
def test_the_number_of_fields_is_limited_alike(count: int) -> None:
    raw = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * count + b"\r\n"
    assert read(LlhttpRequest, raw, PEERS[0]) == read(Request, raw, PEERS[0])


@pytest.mark.parametrize("size", [4000, 4060, 4090, 4094, 4096, 8100, 8190, 8200])
def test_the_size_of_a_line_is_limited_alike(size: int) -> None:
    for raw in (
        b"GET /" + b"a" * size + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * size + b"\r\n\r\n",
    ):
        assert read(LlhttpRequest, raw, PEERS[0]) == read(Request, raw, PEERS[0])


def test_smaller_limits_hold_too() -> None:
    config = Config()
    config.set("http_parser", "python")
    config.set("limit_request_field_size", 40)
    config.set("limit_request_fields", 2)
    for raw in (
        b"GET / HTTP/1.1\r\nX: " + b"a" * 60 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\nC: d\r\nE: f\r\n\r\n",
    ):
        with pytest.raises(Exception, match="limit request headers"):
            LlhttpRequest(config, IterUnreader([raw]), PEERS[0], 1)


def test_a_plain_request_is_read_by_llhttp_and_nothing_else() -> None:
    limits = {"most_bytes": MAX_HEAD_BYTES, "most_fields": 100}
    found = read_head(PLAIN + b"rest", **limits)
    assert found is not None
    head, rest = found
    assert (head.method, head.target, head.version, rest) == (
        "GET",
        b"/api/market-rates?a=1",
        (1, 1),
        b"rest",
    )
    assert head.fields == [("HOST", "x"), ("ACCEPT-ENCODING", "gzip")]
    assert read_head(PLAIN[:-2], **limits) is None
    assert read_head(PLAIN.replace(b"gzip", b"a\x01"), **limits) is None
