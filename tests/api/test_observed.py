"""What an operator reads of a request: its id in the answer and in every line, one line for each answer."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade import broadcast, logs
from bittrade.api.ready import Ready
from tests.fixtures import Person

PLAIN = "client-7:2026/11.a+b=c_D"


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict]]]:
    """All that the application logs, as JSON."""
    stream, log = io.StringIO(), logging.getLogger("bittrade")
    handler, level = logging.StreamHandler(stream), log.level
    handler.setFormatter(logs.formatter("json"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    log.removeHandler(handler)
    log.setLevel(level)


@pytest.fixture
def chatty(new_app: Callable[..., Flask], database_url: str, app: Flask) -> FlaskClient:
    """A client of an app that has a line for each answer, on the run's database."""
    return new_app(DATABASE_URL=database_url, LOG_REQUESTS=True).test_client()


def test_a_plain_id_is_taken_and_any_other_replaced(client: FlaskClient) -> None:
    assert client.get("/api/health/live", headers={"X-Request-ID": PLAIN}).headers["X-Request-Id"] == PLAIN
    for sent in ("", "a b", "-x", "x" * 65, "ü", 'a"b', "<script>"):
        own = client.get("/api/health/live", headers={"X-Request-ID": sent}).headers["X-Request-Id"]
        assert (len(own), own == sent) == (32, False)


@pytest.mark.usefixtures("price")
def test_a_ready_answer_echoes_it_too(app: Flask) -> None:
    headers = [("HOST", "localhost"), ("X-REQUEST-ID", PLAIN)]
    answer = Ready(app).find("GET", "/api/market-rates", headers, "127.0.0.1", is_last=False)
    assert answer is not None
    assert f"X-Request-Id: {PLAIN}\r\n".encode() in answer


def test_each_answer_is_one_line(
    chatty: FlaskClient, make_user: Callable[..., Person], lines: Callable[[], list[dict]]
) -> None:
    user = make_user(inr=100)
    headers = {**user.headers, "X-Request-ID": PLAIN}
    with chatty.get("/api/balance?token=secret", headers=headers) as answer:
        length = len(answer.data)
    (line,) = [line for line in lines() if line["logger"] == "bittrade.requests"]
    expected = {
        "level": "INFO",
        "method": "GET",
        "route": "/api/balance",
        "status": 200,
        "bytes": length,
        "user_id": user.id,
        "request_id": PLAIN,
    }
    assert {name: line[name] for name in expected} == expected
    assert line["queries"] >= 1
    assert 0 < line["db_ms"] <= line["ms"]
    assert "secret" not in json.dumps(line)


def test_what_nobody_serves_has_a_line_too(chatty: FlaskClient, lines: Callable[[], list[dict]]) -> None:
    chatty.get("/api/nothing/here").close()
    (line,) = [line for line in lines() if line["logger"] == "bittrade.requests"]
    assert (line["route"], line["status"]) == (None, 404)


def test_the_id_is_in_every_line_of_its_request_also_in_a_traceback(
    app: Flask, lines: Callable[[], list[dict]], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "eyJ" + "a" * 20 + ".b.c"

    def broken() -> None:
        logging.getLogger("bittrade.services.market").warning("on the way with %s", token)
        raise RuntimeError(f"with Bearer {token}")

    monkeypatch.setitem(app.view_functions, "health.get_live", broken)
    unchecked = FlaskClient(app)
    with unchecked.get("/api/health/live", headers={"X-Request-ID": PLAIN}) as answer:
        assert answer.status_code == 500
    warning, error = lines()
    assert warning["request_id"] == error["request_id"] == PLAIN
    assert "RuntimeError" in error["exc_info"]
    assert token not in json.dumps([warning, error])
    assert warning["message"] == f"on the way with {logs.REDACTED}"


def test_a_line_of_text_ends_with_what_it_belongs_to() -> None:
    logs.belongs_to()  # an answer that a test before this one did not read to its end
    record = logging.LogRecord("bittrade", logging.INFO, "", 0, "hello\nworld", (), None)
    with logs.belonging_to(request_id="r1"):
        assert logs.formatter("text").format(record).endswith("bittrade hello\\nworld [request_id=r1]")
    assert logs.formatter("text").format(record).endswith("bittrade hello\\nworld")


def test_debug_names_parts_of_us_as_the_first_server_s_variable_did(new_app: Callable[..., Flask]) -> None:
    parts = ("bittrade.services.market", "bittrade.jobs.market", "bittrade.services.trade")
    before = {name: logging.getLogger(name).level for name in parts}
    try:
        new_app(DEBUG="express:*,bittrade:market")
        levels = [logging.getLogger(name).getEffectiveLevel() for name in parts]
        assert levels[:2] == [logging.DEBUG] * 2
        assert levels[2] > logging.DEBUG
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def test_what_a_request_has_published_later_carries_its_id(
    app: Flask, lines: Callable[[], list[dict]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a gevent process another greenlet publishes, which is of no request."""
    waiting: list[broadcast._Event] = []
    monkeypatch.setattr(broadcast, "is_gevent", lambda: True)
    monkeypatch.setattr(broadcast._outbox, "put", waiting.append)

    def fail() -> dict:
        raise RuntimeError("no payload")

    with app.app_context(), logs.belonging_to(request_id=PLAIN):
        broadcast.plans_changed(1, fail)
    publisher = threading.Thread(target=waiting[0].publish)
    publisher.start()
    publisher.join()
    (line,) = lines()
    assert (line["request_id"], line["level"]) == (PLAIN, "ERROR")
