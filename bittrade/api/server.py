"""What gunicorn does before our application is asked, made to fit: its refusals have the shape of all our errors, headers
that WSGI would merge are refused, and one address cannot hold all connections.

It is bound to a worker by gunicorn.conf.py, and knows nothing of what the application does.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn import util
from gunicorn.http import errors as gunicorn_errors

from bittrade import errors, metrics
from bittrade.api.errors import HTTP_CODES
from bittrade.api.front import cors_headers, refusal
from bittrade.services.audit import neighbourhood

# Of the 500 connections that gunicorn.conf.py leaves beside the sockets, one address may have half.
HTTP_PER_ADDRESS = 250
ONCE_ONLY = "IDEMPOTENCY-KEY"
CLOSE_S = 1.0

BAD_REQUEST = ("400 Bad Request", *HTTP_CODES[400])
REFUSALS: dict[type[BaseException], tuple[str, str, str]] = {
    gunicorn_errors.LimitRequestLine: ("414 URI Too Long", "uri_too_long", "The address is too long"),
    gunicorn_errors.LimitRequestHeaders: (
        "431 Request Header Fields Too Large",
        "headers_too_large",
        "The headers are too many or too large",
    ),
    gunicorn_errors.ExpectationFailed: (
        "417 Expectation Failed",
        "expectation_failed",
        "Only Expect: 100-continue is understood",
    ),
    gunicorn_errors.ConfigurationProblem: ("404 Not Found", *HTTP_CODES[404]),  # a path outside SCRIPT_NAME
    gunicorn_errors.InvalidResponseHeader: ("500 Internal Server Error", *HTTP_CODES[500]),
    gunicorn_errors.InvalidResponseHeaderName: ("500 Internal Server Error", *HTTP_CODES[500]),
    gunicorn_errors.ParseException: BAD_REQUEST,
    errors.InvalidIdempotencyKey: (
        "400 Bad Request",
        errors.InvalidIdempotencyKey.code,
        "Send one Idempotency-Key header, and spell it with a hyphen",
    ),
    BaseException: ("500 Internal Server Error", *HTTP_CODES[500]),
}
TOO_MANY = ("429 Too Many Requests", "too_many_connections", "Too many connections from your address")


def check_headers(_worker: Any, request: Any) -> None:
    """Drop headers with an underscore, which WSGI takes for those with a hyphen. Raises InvalidIdempotencyKey.

    To drop that one, or to join two of it, would be to trade twice with a client that believes it is safe.
    """
    keys = [name for name, _ in request.headers if name.replace("_", "-") == ONCE_ONLY]
    if keys and keys != [ONCE_ONLY]:
        raise errors.InvalidIdempotencyKey()
    request.headers = [(name, value) for name, value in request.headers if "_" not in name]


def guard(worker: Any) -> None:
    """Take over a gunicorn worker's refusals and its connections, when its application is loaded."""
    if isinstance(worker.wsgi, Flask):  # gunicorn serves other applications with these settings too
        worker.wsgi.extensions["bittrade_worker"] = worker  # health asks it whether it is about to end
        guarded = _Guard(worker, worker.wsgi)
        worker.handle, worker.handle_error = guarded.handle, guarded.handle_error
        worker.cfg.set("pre_request", check_headers)
        worker.cfg.set(
            "header_map", "dangerous"
        )  # all of them come as far as check_headers, and those no further


class _Guard:
    def __init__(self, worker: Any, app: Flask) -> None:
        self._log = worker.log
        self._handle: Callable[[Any, Any, Any], None] = worker.handle
        self._origins: list[str] = app.config["CORS_ORIGINS"]
        self._is_behind_proxy = app.config["TRUSTED_PROXY_HOPS"] > 0
        sockets = min(app.config["SOCKETS_PER_ADDRESS"], app.config["SOCKETS_PER_PROCESS"])
        self._per_address = sockets + HTTP_PER_ADDRESS
        self._open: Counter[str] = Counter()

    def handle(self, listener: Any, connection: Any, peer: Any) -> None:
        """Serve a connection, unless its address has its share of them. A proxy has all."""
        if self._is_behind_proxy or not isinstance(peer, tuple):
            return self._handle(listener, connection, peer)
        network = neighbourhood(peer[0])
        if self._open[network] >= self._per_address:
            metrics.CONNECTIONS_REFUSED.count()
            return self._answer(connection, TOO_MANY, None)
        self._open[network] += 1
        try:
            self._handle(listener, connection, peer)
        finally:
            self._open[network] -= 1
            if not self._open[network]:
                del self._open[network]

    def handle_error(self, request: Any, connection: Any, peer: Any, error: BaseException) -> None:
        """Answer what gunicorn could not read, or what nobody caught."""
        found = next(REFUSALS[kind] for kind in type(error).__mro__ if kind in REFUSALS)
        if found[0].startswith("5"):
            self._log.error("unexpected error", exc_info=error)
        else:
            self._log.warning("refused a request of %s: %s", peer[0] if peer else "", type(error).__name__)
        self._answer(connection, found, request)

    def _answer(self, connection: Any, found: tuple[str, str, str], request: Any) -> None:
        status, code, message = found
        if metrics.is_on:
            metrics.observe_request(0.0, getattr(request, "method", None) or "", metrics.UNREAD, status[:3])
        retry = [("Retry-After", "5")] if status.startswith("429") else []
        headers, body = refusal(message, code, [*retry, *self._cors(request)])
        lines = [
            f"HTTP/1.1 {status}",
            *(f"{name}: {value}" for name, value in headers),
            "Connection: close",
            "",
            "",
        ]
        try:
            connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        except OSError:
            pass
        # What the client still sends is read for a moment, or it would be told of a reset instead of the reason.
        util.close_graceful(connection, timeout=CLOSE_S)

    def _cors(self, request: Any) -> list[tuple[str, str]]:
        """Let a page read it. Where no header could be read that is every page: the text is the same for all."""
        if request is None or not getattr(request, "headers", None):
            return [("Access-Control-Allow-Origin", "*")] if self._origins else []
        origin = next((value for name, value in request.headers if name == "ORIGIN"), None)
        return cors_headers(self._origins, origin)
