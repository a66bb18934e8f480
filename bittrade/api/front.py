"""What stands before Flask and Socket.IO alike: who the client is, which hosts and paths are ours, a body that is all there.

A body is read whole before anybody looks at the request, 64 KiB of it at most and for ten seconds at most: gunicorn's
own time limit watches the worker, not a request, so a client that sends a byte a second would be waited for for ever.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import gevent
from flask import Flask
from gunicorn.http.errors import ParseException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.sansio.utils import host_is_trusted

from bittrade.api.observed import Observed
from bittrade.api.paths import Paths
from bittrade.api.requests import MAX_BODY_BYTES
from bittrade.domain.addresses import forwarded_address, read_address
from bittrade.errors import BitTradeError, BodyTooSlow, BrokenBody, InvalidInput
from bittrade.extensions import is_gevent
from bittrade.wire import SAFE_HEADERS

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
T = TypeVar("T")
MAX_DRAINED_BYTES = 2 * 1024 * 1024


class UntrustedHost(InvalidInput):
    code = "untrusted_host"
    message = "This server has another name"


STATUS = {BodyTooSlow: "408 Request Timeout", BrokenBody: "400 Bad Request", UntrustedHost: "400 Bad Request"}


class Front:
    """WSGI around the whole application."""

    def __init__(self, app: Flask) -> None:
        self._inner = app.wsgi_app
        self.engineio_app = getattr(app.wsgi_app, "engineio_app", None)  # where Socket.IO's server is found
        self._paths = Paths(app.url_map)
        self._origins = app.config["CORS_ORIGINS"]
        self._hosts = app.config["TRUSTED_HOSTS"]
        self._timeout_s = app.config["BODY_TIMEOUT_S"]
        hops = app.config["TRUSTED_PROXY_HOPS"]
        self._hops = hops
        door = ProxyFix(self._serve, x_for=0, x_proto=hops, x_host=hops) if hops else self._serve
        self._door = Observed(door, has_lines=app.config["LOG_REQUESTS"])

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return self._door(environ, start_response)

    def _serve(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["REMOTE_ADDR"] = self._client_address(environ)
        environ["PATH_INFO"] = self._paths.canonical(environ.get("PATH_INFO", ""))
        if "HTTP_HOST" in environ:
            environ["HTTP_HOST"] = environ["HTTP_HOST"].lower()
        try:
            if self._hosts and not host_is_trusted(environ.get("HTTP_HOST"), self._hosts):
                raise UntrustedHost()
            is_whole = self._take_body(environ)
        except BitTradeError as error:
            return _refuse(error, cors_headers(self._origins, environ.get("HTTP_ORIGIN")), start_response)
        return self._inner(environ, start_response if is_whole else _closing(start_response))

    def _client_address(self, environ: Environ) -> str:
        forwarded = forwarded_address(environ.get("HTTP_X_FORWARDED_FOR", ""), self._hops)
        return read_address(environ.get("REMOTE_ADDR", "")) if forwarded is None else forwarded

    def _take_body(self, environ: Environ) -> bool:
        """Put the body into memory; False where the connection must end, because there is more than we read."""
        length = _announced(environ)
        if length == 0:
            return True
        source = environ["wsgi.input"]
        is_all, body = self._within_time(lambda: _read(source, length))
        environ["wsgi.input"] = io.BytesIO(body)
        if length is None:  # from here on a body like any other
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            environ["CONTENT_LENGTH"] = str(len(body))
        return is_all

    def _within_time(self, read: Callable[[], T]) -> T:
        if not is_gevent():
            return read()
        try:
            with gevent.Timeout(self._timeout_s, TooSlow):
                return read()
        except TooSlow as error:
            raise BodyTooSlow() from error


class TooSlow(Exception):
    """The time for a body is over."""


def _announced(environ: Environ) -> int | None:
    """How long the body says it is; None where only its end will tell, 0 where there is none that we can read."""
    text = environ.get("CONTENT_LENGTH") or ""
    if text:
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
    if "HTTP_TRANSFER_ENCODING" in environ or environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS"):
        return None if environ.get("wsgi.input_terminated") else 0
    return 0


def _read(source: Any, length: int | None) -> tuple[bool, bytes]:
    """Whether that was all, and the body; of one that is too large what shows that it is. Raises BrokenBody."""
    limit = MAX_BODY_BYTES + 1
    pieces = list(_pieces(source, limit if length is None else min(length, limit)))
    body = b"".join(pieces)
    if len(body) < limit:
        if length is not None and len(body) < length:
            raise BrokenBody()
        return True, body
    # The rest of what is a little too large is taken in, or the client would never read that it is.
    rest = MAX_DRAINED_BYTES if length is None else min(length - limit, MAX_DRAINED_BYTES)
    drained = sum(len(piece) for piece in _pieces(source, rest))
    is_all = drained < rest if length is None else drained == length - limit
    return is_all, body


def _pieces(source: Any, wanted: int) -> Iterator[bytes]:
    try:
        while wanted > 0 and (piece := source.read(min(wanted, MAX_BODY_BYTES))):
            yield piece
            wanted -= len(piece)
    except (ParseException, OSError, ValueError) as error:
        raise BrokenBody() from error


def _closing(start_response: StartResponse) -> StartResponse:
    """The connection ends with this answer: the rest of the body is still on its way, and nobody will read it."""

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        response: Any = getattr(start_response, "__self__", None)
        if hasattr(response, "force_close"):  # gunicorn's; a header of ours would be dropped
            response.force_close()
        return start_response(status, headers, *rest)

    return start


def cors_headers(allowed: list[str], origin: str | None) -> list[tuple[str, str]]:
    """Return what lets a page of this origin read an answer that Flask does not make."""
    if not origin or not (allowed == ["*"] or origin.lower() in allowed):
        return []
    return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]


def refusal(error: str, code: str, more: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], bytes]:
    """Return the headers and the body of an answer in the shape of all our errors."""
    body = json.dumps({"error": error, "code": code}).encode()
    own = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return [*own, *SAFE_HEADERS.items(), *more], body


def _refuse(
    error: BitTradeError, cors: list[tuple[str, str]], start_response: StartResponse
) -> Iterable[bytes]:
    headers, body = refusal(error.message, error.code, cors)
    _closing(start_response)(STATUS[type(error)], headers)
    return [body]


def init_front(app: Flask) -> None:
    """Last of all: what is put around it later would not be seen by it."""
    app.config["TRUSTED_HOSTS"] = app.config["TRUSTED_HOSTS"] or None  # for Flask an empty list trusts nobody
    app.wsgi_app = Front(app)  # type: ignore[method-assign]
