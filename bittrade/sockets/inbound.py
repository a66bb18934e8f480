"""What a Socket.IO server takes from its clients: which events, of which namespace, and how many of them.

Everything else is dropped before it costs anything. It knows no event's meaning, and not who is counted as whom.
"""

import logging
from collections.abc import Callable
from typing import Any

from socketio.packet import CONNECT_ERROR

from bittrade import metrics
from bittrade.errors import RateLimited
from bittrade.sockets.gate import NAMESPACE
from bittrade.sockets.transport import Allowance

log = logging.getLogger(__name__)
# A client says who it is now and then. What answers that reads the database: it may have far fewer of these than messages.
EVENTS_PER_S, EVENTS_AT_ONCE = 0.2, 10
KEPT_AS = "bittrade.inbound"  # in a session's environ, which ends with it


def connect_error(code: str, message: str) -> dict[str, Any]:
    """Return a refusal as socket.io-client shows it: `connect_error` with the message, and `data` beside it."""
    return {"message": message, "data": {"code": code}}


NO_NAMESPACE = connect_error("invalid_namespace", "Invalid namespace")
TOO_MANY = connect_error(RateLimited.code, RateLimited.message)


class _Session:
    """What one Engine.IO session may still send."""

    def __init__(self) -> None:
        self.allowance = Allowance(EVENTS_PER_S, EVENTS_AT_ONCE)
        self.is_refused = False


class Inbound:
    """Stands between a Socket.IO server's packets and its handlers.

    `is_allowed` counts an event for whoever its session's environ says it is of; `refuse` answers a socket's first event
    that was too much. Those that follow it are dropped: answers would cost what the events do.
    """

    def __init__(
        self,
        server: Any,
        events: frozenset[str],
        *,
        is_allowed: Callable[[dict[str, Any]], bool] | None,
        refuse: Callable[[str], None],
    ) -> None:
        self._server, self._events, self._is_allowed, self._refuse = server, events, is_allowed, refuse
        self._handle_event, self._handle_message = server._handle_event, server._handle_eio_message
        self._handle_connect = server._handle_connect
        server._handle_event, server._handle_connect = self._on_event, self._on_connect
        server.eio.on("message", self._on_message)

    def _on_message(self, eio_sid: str, data: Any) -> None:
        try:
            self._handle_message(eio_sid, data)
        except Exception as error:  # the handlers' own errors never come this far
            log.info("dropped what is not Socket.IO: %s", type(error).__name__)

    def _on_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        is_first, is_counted = self._count(eio_sid)
        if is_counted and (namespace or NAMESPACE) == NAMESPACE:
            self._handle_connect(eio_sid, namespace, data)
        elif is_counted or is_first:
            reason = NO_NAMESPACE if is_counted else TOO_MANY
            packet = self._server.packet_class(CONNECT_ERROR, data=reason, namespace=namespace)
            self._server._send_packet(eio_sid, packet)

    def _on_event(self, eio_sid: str, namespace: str | None, ack_id: int | None, data: Any) -> None:
        if not (isinstance(data, list) and data and isinstance(data[0], str) and data[0] in self._events):
            return
        is_first, is_counted = self._count(eio_sid)
        sid = self._server.manager.sid_from_eio_sid(eio_sid, NAMESPACE)
        if is_counted:
            self._handle_event(eio_sid, namespace, ack_id, data)
        elif is_first and sid is not None:
            self._refuse(sid)

    def _count(self, eio_sid: str) -> tuple[bool, bool]:
        """Count what costs; return whether it is the first that is too much, and whether it is not too much."""
        environ = self._server.environ.get(eio_sid)
        if self._is_allowed is None or environ is None:
            return False, True
        session: _Session = environ.setdefault(KEPT_AS, _Session())
        if session.allowance.has(1) and self._is_allowed(environ):
            session.is_refused = False
            return False, True
        metrics.SOCKET_EVENTS_REFUSED.count()
        is_first, session.is_refused = not session.is_refused, True
        return is_first, False
