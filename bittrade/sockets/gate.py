"""Who may open a socket, how long it may stay silent, and how all are sent away. It knows nothing of BitTrade's events.

Each socket holds one of gunicorn's connections, and when all of those are taken nobody is served at all: so there are
fewer sockets than connections (gunicorn.conf.py), fewer of one address, and none that never says what it came for.
"""

import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import gevent
from wsproto.frame_protocol import CloseReason

from bittrade import metrics
from bittrade.errors import RateLimited
from bittrade.sockets.transport import Door

log = logging.getLogger(__name__)
NAMESPACE = "/"
Query = dict[str, list[str]]
# Who has not sent CONNECT after so long is closed, and how often we look: together 5 s.
CONNECT_S, LOOK_EACH_S = 4.5, 0.5
# A stopping process closes its sockets over so long: all at once, they would all come back at once.
DISMISS_WITHIN_S = 3.0
LOOK_FOR_END_EACH_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """How many sockets there may be at a time, in this process."""

    per_process: int
    per_address: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer in the shape of all our errors."""

    status: str
    code: str
    error: str
    retry_after_s: int | None = None


IS_STOPPING = Refusal(
    "503 Service Unavailable", "restarting", "The server is restarting. Please try again", 1
)
IS_FULL = Refusal(
    "503 Service Unavailable", "too_many_sockets", "All connections are taken. Please try again", 5
)
NO_UPGRADE = Refusal("400 Bad Request", "bad_request", "Invalid websocket upgrade")
TOO_OFTEN = Refusal("429 Too Many Requests", RateLimited.code, RateLimited.message, 1)
NO_JSONP = Refusal(
    "400 Bad Request", "bad_request", "JSONP is not served: connect with socket.io-client 3 or 4"
)
TOO_MANY = Refusal("429 Too Many Requests", "too_many_sockets", "Too many connections from your address", 5)


class Gate:
    """Stands before a Socket.IO server."""

    def __init__(
        self,
        server: Any,
        limits: Limits,
        *,
        origins: list[str],
        neighbourhood: Callable[[str], str],
        is_allowed: Callable[[dict[str, Any]], bool] | None = None,
        headers: dict[str, str],
    ) -> None:
        self._server, self._limits, self._origins = server, limits, origins
        self._neighbourhood, self._is_allowed = neighbourhood, is_allowed
        self._headers = list(headers.items())
        self._is_gevent = server.eio.async_mode == "gevent"
        self._inside: dict[str, str] = {}  # an Engine.IO session and its address
        self._by_address: Counter[str] = Counter()
        self._silent_since: dict[str, float] = {}
        self._is_open, self._is_watching = True, False
        self._handle_request = server.handle_request
        server.handle_request = self._handle
        server.eio.on("connect", self._on_connect)
        server.eio.on("disconnect", self._on_disconnect)

    # --- coming -------------------------------------------------------------------------------------------------------

    def _handle(self, environ: dict[str, Any], start_response: Any) -> Any:
        query = parse_qs(environ.get("QUERY_STRING", ""))  # as Engine.IO reads it
        refusal = self._refuse_request(environ, query) or self._refuse_newcomer(environ, query)
        if refusal is not None:
            return self._answer(refusal, [], environ, start_response)
        refused: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if status.startswith("4"):
                refused.append((status, headers))
                return None
            return start_response(status, [*headers, *self._headers], *rest)

        body = self._handle_request(environ, start)
        if not refused:
            return body
        status, headers = refused[0]
        return self._answer(self._reword(status, b"".join(body)), headers, environ, start_response)

    def _refuse_request(self, environ: dict[str, Any], query: Query) -> Refusal | None:
        if "j" in query:
            return NO_JSONP
        is_poll = environ["REQUEST_METHOD"] == "GET" and query.get("sid", [""])[0] in self._server.eio.sockets
        if is_poll or self._is_allowed is None or self._is_allowed(environ):
            return None
        return TOO_OFTEN

    def _refuse_newcomer(self, environ: dict[str, Any], query: Query) -> Refusal | None:
        if environ["REQUEST_METHOD"] != "GET" or "sid" in query:
            return None
        if query.get("transport") == ["websocket"] and "upgrade" not in _tokens(environ, "HTTP_CONNECTION"):
            return NO_UPGRADE  # Engine.IO would open a session, and then have no answer for it
        if not self._is_open:
            return IS_STOPPING
        if self.count() >= self._limits.per_process:
            return IS_FULL
        if self._by_address[self._address(environ)] >= self._limits.per_address:
            return TOO_MANY
        return None

    def _reword(self, status: str, reason: bytes) -> Refusal:
        """Engine.IO's own refusal, with words that say what to do."""
        words = reason.decode(errors="replace").strip('"')
        if words == "Invalid transport" and self._server.eio.transports == ["websocket"]:
            advice = "This server takes WebSocket connections only: connect with {transports: ['websocket']}"
            return Refusal(status, "websocket_only", advice)
        return Refusal(status, "bad_request", words)

    def _answer(
        self, refusal: Refusal, headers: list[tuple[str, str]], environ: dict[str, Any], start_response: Any
    ) -> list[bytes]:
        metrics.SOCKETS_REFUSED.count(refusal.code)
        kept = [(name, value) for name, value in headers if name.startswith("Access-Control-")]
        origin = environ.get("HTTP_ORIGIN")
        if origin and not kept and (self._origins == ["*"] or origin in self._origins):
            kept.append(("Access-Control-Allow-Origin", origin))
        if refusal.retry_after_s is not None:
            kept.append(("Retry-After", str(refusal.retry_after_s)))
        body = json.dumps({"error": refusal.error, "code": refusal.code}).encode()
        own = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(refusal.status, [*own, *kept, *self._headers])
        return [body]

    def count(self) -> int:
        """Sockets that are open, or about to be, by either transport."""
        return max(len(self._inside), Door.held)

    def _address(self, environ: dict[str, Any]) -> str:
        return self._neighbourhood(environ.get("REMOTE_ADDR", ""))

    def _on_connect(self, session_id: str, environ: dict[str, Any]) -> None:
        if self._is_gevent and not self._is_watching:  # not before the first: the process may still fork
            self._is_watching = True
            gevent.spawn(self._watch)
        self._inside[session_id] = self._address(environ)
        self._by_address[self._inside[session_id]] += 1
        self._server._handle_eio_connect(session_id, environ)

    def _on_disconnect(self, session_id: str, reason: Any = None) -> None:
        self._silent_since.pop(session_id, None)
        address = self._inside.pop(session_id, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
        self._server._handle_eio_disconnect(session_id, reason)

    # --- saying nothing -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            gevent.sleep(LOOK_EACH_S)
            try:
                self.close_silent(time.monotonic())
            except Exception:
                log.exception("could not look for silent sockets")

    def close_silent(self, now: float) -> None:
        """Close every session that belongs to nobody (no CONNECT yet, or left again) for too long."""
        for session_id in list(self._inside):
            if self._server.manager.sid_from_eio_sid(session_id, NAMESPACE) is not None:
                self._silent_since.pop(session_id, None)
            elif now - self._silent_since.setdefault(session_id, now) >= CONNECT_S:
                metrics.SOCKETS_CUT.count("silent")
                self._close(session_id, CloseReason.POLICY_VIOLATION, "no CONNECT within 5 s")

    # --- leaving ------------------------------------------------------------------------------------------------------

    def dismiss_all_when(self, is_over: Callable[[], bool]) -> None:
        """Wait until the process is to end, then let nobody in and give every socket a close frame."""

        def wait() -> None:
            while not is_over():
                gevent.sleep(LOOK_FOR_END_EACH_S)
            self._dismiss_all()

        gevent.spawn(wait)

    def _dismiss_all(self) -> None:
        self._is_open = False
        began, leaving = time.monotonic(), list(self._inside)
        random.shuffle(leaving)
        log.info("stopping: %d sockets are asked to leave", len(leaving))
        for number, session_id in enumerate(leaving):
            turn = began + DISMISS_WITHIN_S * number / len(leaving)
            gevent.sleep(max(0.0, turn - time.monotonic()))
            self._close(session_id, CloseReason.GOING_AWAY, "the server is restarting")

    def _close(self, session_id: str, code: int, reason: str) -> None:
        session = self._server.eio.sockets.get(session_id)
        if session is not None:
            session.queue.farewell = (code, reason)
            session.close(wait=False)


def _tokens(environ: dict[str, Any], header: str) -> set[str]:
    return {token.strip().lower() for token in environ.get(header, "").split(",")}
