"""Ready answers: what everybody gets is kept as bytes for a quarter of a second, and given without Flask.

Each is Flask's own answer to the same question, asked by this module with everything that an answer may depend on; only
what belongs to one request (its date, its id, what is left of its limit) is written anew. The web server's worker asks
here first (`llhttp_worker.py`), and Flask where there is nothing ready: another path or method, a body, an error, a
limit that is reached.
"""

import io
import sys
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from flask import Flask
from gunicorn import SERVER
from gunicorn.util import http_date
from werkzeug.test import run_wsgi_app

from bittrade import metrics
from bittrade.api import limits, observed
from bittrade.domain.addresses import forwarded_address
from bittrade.domain.pricing import TIMEFRAMES
from bittrade.extensions import socketio
from bittrade.services import audit

FRESH_S = 0.25  # an answer this old is asked for again
USABLE_S = 0.5  # and may be given meanwhile, up to this age
MAX_ANSWERS = 512
MAX_TARGET = 200
NEWS = "btc_price_update"  # whoever has heard of a new price must not read the old one
# What an answer depends on besides its address, and what makes a question more than a question.
VARYING = frozenset({"HOST", "ORIGIN", "ACCEPT-ENCODING", "IF-NONE-MATCH", "X-FORWARDED-HOST"})
NOT_PLAIN = frozenset({"CONTENT-LENGTH", "TRANSFER-ENCODING", "EXPECT", "UPGRADE"})
OF_ONE_REQUEST = frozenset(
    {"x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "date", "connection"}
)

ID_HEADER = "X-REQUEST-ID"
Headers = list[tuple[str, str]]


class Question(NamedTuple):
    """Whatever an answer may depend on."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]


class Answer(NamedTuple):
    """What everybody gets; without a head it is nothing that could be given to everybody."""

    made_at: float
    news: object
    status: str
    headers: str
    body: bytes


class Ready:
    """The ready answers of one process."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._hops: int = app.config["TRUSTED_PROXY_HOPS"]
        self._has_lines: bool = app.config["LOG_REQUESTS"]
        self._rules = dict(list_paths(app))  # by path
        self._answers: dict[Question, Answer] = {}
        self._asking: set[Question] = set()

    def find(
        self, method: str, target: str, headers: Headers, remote_address: str, *, is_last: bool
    ) -> bytes | None:
        """A whole HTTP/1.1 answer; None where Flask has to be asked. `headers` have upper-case names."""
        path = target.partition("?")[0]
        if path not in self._rules or len(target) > MAX_TARGET:
            return None
        began = time.perf_counter() if metrics.is_on else 0.0
        question = read_question(method, target, headers)
        answer = None if question is None else self._answer(question)
        if answer is None or not answer.status:
            return None
        standing = limits.count_read(self._app, _neighbourhood(self._client(headers, remote_address)))
        if standing is not None and standing.remaining < 0:
            return None
        request_id = observed.request_id(next((value for name, value in headers if name == ID_HEADER), None))
        if self._has_lines:
            observed.log_ready(method, path, answer.status, len(answer.body), request_id)
        whole = _write(answer, standing, request_id, is_last=is_last)
        if began:
            seconds = time.perf_counter() - began
            metrics.observe_request(seconds, method, self._rules[path], answer.status[:3])
        return whole

    def _answer(self, question: Question) -> Answer | None:
        now, news = time.monotonic(), _news()
        known = self._answers.get(question)
        if known is not None and known.news is not news:
            known = None
        if known is not None and now - known.made_at < FRESH_S:
            return known
        if question in self._asking:
            return known if known is not None and now - known.made_at < USABLE_S else None
        self._asking.add(question)
        try:
            answer = self._ask(question, now, news)
        finally:
            self._asking.discard(question)
        self._answers.pop(question, None)
        if len(self._answers) >= MAX_ANSWERS:
            del self._answers[next(iter(self._answers))]
        self._answers[question] = answer
        return answer

    def _ask(self, question: Question, now: float, news: object) -> Answer:
        """Flask's answer. Only 200 and 304 are anybody else's too."""
        pieces, status, headers = run_wsgi_app(self._app.wsgi_app, _environ(question), buffered=True)
        body = b"".join(pieces)
        if status[:3] not in ("200", "304"):
            return Answer(now, news, "", "", b"")
        lines = [f"{name}: {value}\r\n" for name, value in headers if name.lower() not in OF_ONE_REQUEST]
        return Answer(now, news, status, "".join(lines), body)

    def _client(self, headers: Headers, remote_address: str) -> str:
        """Who asks, as the front finds it."""
        written = ",".join(value for name, value in headers if name == "X-FORWARDED-FOR")
        forwarded = forwarded_address(written, self._hops)
        return remote_address if forwarded is None else forwarded


def list_paths(app: Flask) -> Iterable[tuple[str, str]]:
    """Every address whose answer is everybody's, with the rule of its route."""
    for rule in app.url_map.iter_rules():
        if not getattr(app.view_functions[rule.endpoint], "is_shared", False):
            continue
        if not rule.arguments:
            yield rule.rule, rule.rule
        elif rule.arguments == {"timeframe"}:
            yield from ((rule.rule.replace("<timeframe>", timeframe), rule.rule) for timeframe in TIMEFRAMES)


def read_question(method: str, target: str, headers: Headers) -> Question | None:
    """What is asked; None where it is more than a plain question, or says a thing twice."""
    if method not in ("GET", "HEAD"):
        return None
    varying = [field for field in headers if field[0] in VARYING]
    if len({name for name, _value in varying}) < len(varying):
        return None
    if any(name in NOT_PLAIN for name, _value in headers):
        return None
    return Question(method, target, tuple(sorted(varying)))


def _environ(question: Question) -> dict[str, Any]:
    path, _, query = question.target.partition("?")
    return {
        "REQUEST_METHOD": question.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "RAW_URI": question.target,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        observed.UNCOUNTED: True,
        **{f"HTTP_{name.replace('-', '_')}": value for name, value in question.headers},
    }


def _news() -> object:
    manager = getattr(socketio.server, "manager", None)
    return manager.news(NEWS) if manager is not None else None


def _write(answer: Answer, standing: limits.Standing | None, request_id: str, *, is_last: bool) -> bytes:
    limit = "" if standing is None else "".join(f"{name}: {text}\r\n" for name, text in standing.headers())
    head = (
        f"HTTP/1.1 {answer.status}\r\nServer: {SERVER}\r\nDate: {_date(int(time.time()))}\r\n"
        f"Connection: {'close' if is_last else 'keep-alive'}\r\n{answer.headers}{limit}X-Request-Id: {request_id}\r\n\r\n"
    )
    return head.encode("latin-1") + answer.body


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return http_date(second)


_neighbourhood = lru_cache(maxsize=4096)(audit.neighbourhood)


def init_ready(app: Flask) -> None:
    """After all routes are there."""
    app.extensions["bittrade_ready"] = Ready(app)
