"""Ready answers: whoever asks gets what Flask would have said, to the byte, and never something old."""

import gzip
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from bittrade import wire
from bittrade.api import ready
from bittrade.api.ready import Ready, read_question
from bittrade.domain.pricing import ChartPoint, ChartSeries, PriceQuote, SentimentReading
from bittrade.extensions import socketio
from bittrade.services import market
from tests.fixtures import wait_until

CLIENT = "203.0.113.7"
TARGETS = (
    "/api/market-rates",
    "/api/bitcoin/current",
    "/api/bitcoin/chart/1d",
    "/api/bitcoin/sentiment",
    "/api/bitcoin/history",
    "/api/bitcoin/history?limit=2",
    "/api/bitcoin/candles?interval=1m&limit=3",
)
MOVES = re.compile(rb'"(age_ms|timestamp)":("[^"]*"|\d+)|"cached":(true|false)')
OF_ONE_REQUEST = {"X-Request-Id", "Date", "Server", "Connection", "Content-Length"}


@pytest.fixture
def priced(app: Flask) -> Flask:
    """An app with everything that the market's routes can show."""
    with app.app_context():
        now = wire.now()
        market.record_price(PriceQuote(btc_usd_cents=45_000_00, as_of=now, source="test"))
        points = tuple(ChartPoint(now, 45_000_00 + number) for number in range(50))
        market.record_chart(ChartSeries("1d", points))
        market.record_sentiment(SentimentReading(60, "Greed", now.date()))
    return app


@pytest.fixture
def make(priced: Flask) -> Ready:
    return Ready(priced)


def find(answers: Ready, target: str, method: str = "GET", *, client: str = CLIENT, **headers: str) -> Any:
    """(status, headers, body) of the ready answer, or None."""
    fields = [(name.upper().replace("_", "-"), value) for name, value in {"host": "x", **headers}.items()]
    raw = answers.find(method, target, fields, client, is_last=False)
    if raw is None:
        return None
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return int(status.split()[1]), [tuple(line.split(": ", 1)) for line in lines], body


def ask_flask(app: Flask, target: str, method: str = "GET", **headers: str) -> Any:
    fields = {name.replace("_", "-"): value for name, value in {"host": "x", **headers}.items()}
    environ = {"REMOTE_ADDR": CLIENT}
    answer = app.test_client().open(target, method=method, headers=fields, environ_overrides=environ)
    return answer.status_code, list(answer.headers), answer.get_data()


def settled(answer: Any) -> Any:
    """Without what belongs to one request or moves with the clock."""
    status, headers, body = answer
    kept = sorted((name, value) for name, value in headers if name not in OF_ONE_REQUEST)
    if dict(headers).get("Content-Encoding") != "gzip":
        body = MOVES.sub(b"", body)
    else:
        body = b""  # its length moves with the clock's digits; what it says is compared unzipped below
    return status, kept, body


VARIANTS = [
    dict(pair for pair in pairs if pair[1])
    for pairs in itertools.product(
        [("origin", ""), ("origin", "https://shop.example")],
        [("accept_encoding", ""), ("accept_encoding", "gzip, br"), ("accept_encoding", "gzip;q=0, *;q=0")],
        [("if_none_match", ""), ("if_none_match", "*"), ("if_none_match", '"other", W/"another"')],
    )
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_ready_answer_is_flasks(priced: Flask, make: Ready, target: str, method: str) -> None:
    for headers in VARIANTS:
        assert settled(find(make, target, method, **headers)) == settled(
            ask_flask(priced, target, method, **headers)
        ), headers


@pytest.mark.parametrize("target", TARGETS)
def test_who_has_the_answer_already_gets_304(priced: Flask, make: Ready, target: str) -> None:
    tag = dict(find(make, target)[1])["ETag"]
    assert tag == dict(ask_flask(priced, target)[1])["ETag"]
    for answer in (find(make, target, if_none_match=tag), ask_flask(priced, target, if_none_match=tag)):
        status, headers, body = answer
        assert (status, body, dict(headers)["ETag"]) == (304, b"", tag)
        assert dict(headers)["Cache-Control"] == "public, max-age=1, stale-if-error=10"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_flasks(make: Ready, method: str) -> None:
    assert find(make, "/api/market-rates", method) is None


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/api/balance",
            "/api/health",
            "/api/market-rates/",
            "/API/market-rates",
            "/api/bitcoin/chart/2d",
            "/",
        ),
        *("/api/bitcoin/history?limit=0", "/api/bitcoin/history?limit=x", "/api/market-rates?" + "a" * 300),
    ],
)
def test_what_is_not_everybodys_is_flasks(make: Ready, target: str) -> None:
    assert find(make, target) is None


def test_without_data_nothing_is_ready(app: Flask) -> None:
    assert find(Ready(app), "/api/market-rates") is None


@pytest.mark.parametrize("name", ["CONTENT-LENGTH", "TRANSFER-ENCODING", "EXPECT", "UPGRADE"])
def test_more_than_a_question_is_flasks(make: Ready, name: str) -> None:
    assert make.find("GET", "/api/market-rates", [("HOST", "x"), (name, "0")], CLIENT, is_last=False) is None


def test_a_header_that_is_there_twice_is_flasks() -> None:
    assert read_question("GET", "/", [("ORIGIN", "a"), ("ORIGIN", "b")]) is None


def test_only_trusted_hosts_get_an_answer(new_app: Callable[..., Flask]) -> None:
    app = new_app(TRUSTED_HOSTS=["shop.example"], TRUSTED_PROXY_HOPS=1)
    with app.app_context():
        market.record_price(PriceQuote(btc_usd_cents=45_000_00, as_of=wire.now(), source="test"))
    answers = Ready(app)
    assert find(answers, "/api/market-rates", host="evil.example") is None
    assert find(answers, "/api/market-rates", host="shop.example") is not None
    assert find(answers, "/api/market-rates", host="shop.example", x_forwarded_host="evil.example") is None


# --- Limits -------------------------------------------------------------------------------------------------------


@pytest.fixture
def limited(priced: Flask) -> Iterator[Flask]:
    before = {name: priced.config[name] for name in ("RATELIMIT_ENABLED", "RATELIMIT_READ")}
    priced.config.update(RATELIMIT_ENABLED=True, RATELIMIT_READ="3 per day")
    priced.extensions["bittrade_limits"].__init__()
    yield priced
    priced.config.update(before)
    priced.extensions["bittrade_limits"].__init__()


def test_ready_answers_count_with_flasks(limited: Flask) -> None:
    answers, target = Ready(limited), "/api/market-rates"
    assert dict(find(answers, target)[1])["X-RateLimit-Remaining"] == "2"
    assert dict(ask_flask(limited, target)[1])["X-RateLimit-Remaining"] == "1"
    third = dict(find(answers, target)[1])
    assert (third["X-RateLimit-Limit"], third["X-RateLimit-Remaining"]) == ("3", "0")
    assert find(answers, target) is None
    assert ask_flask(limited, target)[0] == 429
    assert find(answers, target, client="203.0.113.8") is not None


def test_behind_a_proxy_the_client_counts_and_not_the_proxy(limited: Flask) -> None:
    limited.config["TRUSTED_PROXY_HOPS"] = 1
    answers, target = Ready(limited), "/api/market-rates"
    limited.config["TRUSTED_PROXY_HOPS"] = 0
    for _ in range(3):
        assert find(answers, target, x_forwarded_for="9.9.9.9, 198.51.100.1") is not None
    assert find(answers, target, x_forwarded_for="8.8.8.8, 198.51.100.1") is None
    assert find(answers, target, x_forwarded_for="198.51.100.1, 198.51.100.2") is not None


# --- Age ----------------------------------------------------------------------------------------------------------


def usd(answer: Any) -> bytes:
    found = re.search(rb'"btc_usd_price":([\d.]+)', answer[2])
    assert found is not None
    return found.group(1)


def test_an_answer_is_made_once_while_it_is_fresh(make: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "FRESH_S", 600.0)
    first = find(make, "/api/market-rates")
    assert find(make, "/api/market-rates")[2] == first[2]
    monkeypatch.setattr(ready, "FRESH_S", 0.0)
    # The time in it has milliseconds.
    wait_until(lambda: find(make, "/api/market-rates")[2] != first[2], timeout_s=60)


def test_a_new_price_that_this_process_has_heard_of_is_in_the_next_answer(priced: Flask) -> None:
    answers = Ready(priced)
    assert usd(find(answers, "/api/market-rates")) == b"45000"
    with priced.app_context():
        market.record_price(PriceQuote(btc_usd_cents=46_000_00, as_of=wire.now(), source="test"))
    socketio.server.manager.emit(ready.NEWS, {"btc_usd_price": 46000}, "/")
    assert usd(find(answers, "/api/market-rates")) == b"46000"


def test_what_is_kept_is_bounded(make: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "MAX_ANSWERS", 5)
    for number in range(20):
        assert find(make, "/api/market-rates", origin=f"https://{number}.example") is not None
    assert len(make._answers) == 5


# --- gzip ---------------------------------------------------------------------------------------------------------


def test_what_is_larger_than_a_kilobyte_is_sent_small(priced: Flask) -> None:
    client = priced.test_client()
    plain = client.get("/api/bitcoin/chart/1d")
    small = client.get("/api/bitcoin/chart/1d", headers={"Accept-Encoding": "gzip"})
    assert small.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in small.headers["Vary"]
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert gzip.decompress(small.get_data()) == plain.get_data()
    assert len(small.get_data()) < len(plain.get_data()) / 3
    assert (
        "Content-Encoding" not in client.get("/api/market-rates", headers={"Accept-Encoding": "gzip"}).headers
    )
