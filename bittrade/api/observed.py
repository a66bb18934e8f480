"""Around every request: a line in the log, and the id that all lines of it carry.

A client may choose that id (`X-Request-ID`), so that its own log and ours can be laid side by side; one that is not
plain is replaced. The sockets' requests last as long as their sockets and have no line.
"""

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.wsgi import ClosingIterator

from bittrade import logs, metrics, query_times

log = logging.getLogger("bittrade.requests")
ID = "bittrade.request_id"  # in the environment, as the next
SEEN = "bittrade.seen"  # a dict for what is found out within: on its way the environment itself is copied
UNCOUNTED = (
    "bittrade.uncounted"  # a request that nobody made: api/ready.py asks, and counts for who it is for
)
SOCKETS = "/socket.io"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,63}", re.ASCII)
Environ = dict[str, Any]
App = Callable[..., Iterable[bytes]]


def request_id(sent: str | None) -> str:
    """Return the id that a client sent, where it is plain: it goes to logs. Otherwise a new one."""
    return sent if sent and _PLAIN.fullmatch(sent) else uuid.uuid4().hex


class Observed:
    """WSGI around an application: each answer is counted where metrics are on, and a line where there are to be lines."""

    def __init__(self, inner: App, *, has_lines: bool) -> None:
        self._inner = inner
        self._has_lines = has_lines
        self._is_watching = has_lines or metrics.is_on

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[ID] = request_id(environ.get("HTTP_X_REQUEST_ID"))
        logs.belongs_to(request_id=environ[ID])
        if environ.get("PATH_INFO", "").startswith(SOCKETS):
            return self._inner(environ, start_response)
        if not self._is_watching or UNCOUNTED in environ:
            return ClosingIterator(self._inner(environ, start_response), logs.belongs_to)
        environ[SEEN] = {}
        answer = _Answer(environ, has_line=self._has_lines)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            answer.status = status[:3]
            answer.bytes = next((value for name, value in headers if name.lower() == "content-length"), None)
            return start_response(status, headers, *rest)

        return ClosingIterator(self._inner(environ, start), [answer.end, logs.belongs_to])


def log_ready(method: str, path: str, status: str, length: int, request_id: str) -> None:
    """Write the line of an answer that was ready: it took no time, and has no user."""
    with logs.belonging_to(request_id=request_id):
        _log({"method": method, "route": path, "status": int(status[:3]), "ms": 0.0, "bytes": length}, path)


def _log(facts: dict[str, Any], path: str) -> None:
    """A path has no query here: it may hold what is nobody's business."""
    said = " ".join(f"{name}={value}" for name, value in list(facts.items())[2:] if value is not None)
    log.info("%s %s %s", facts["method"], path, said, extra=facts)


class _Answer:
    """One request's answer, until it has gone."""

    def __init__(self, environ: Environ, *, has_line: bool) -> None:
        self._environ, self._has_line = environ, has_line
        self._spent = query_times.count_from_here()
        self._began = time.perf_counter()
        self.status = "500"
        self.bytes: str | None = None

    def end(self) -> None:
        """Count it, and write its line."""
        seconds = time.perf_counter() - self._began
        method, route = self._environ["REQUEST_METHOD"], self._environ[SEEN].get("route")
        if metrics.is_on:
            metrics.observe_request(seconds, method, route, self.status)
        if self._has_line:
            self._log(seconds, method, route)

    def _log(self, seconds: float, method: str, route: str | None) -> None:
        facts = {
            "method": method,
            "route": route,
            "status": int(self.status),
            "ms": round(seconds * 1000, 1),
            "bytes": None if self.bytes is None else int(self.bytes),
            "queries": self._spent.queries,
            "db_ms": round(self._spent.seconds * 1000, 1),
            "user_id": self._environ[SEEN].get("user_id"),
        }
        _log(facts, self._environ.get("PATH_INFO", ""))
