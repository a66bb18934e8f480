"""What lies under the events: a WebSocket layer for python-engineio's gevent driver. It knows nothing of BitTrade.

engineio takes its queue and its WebSocket from a table of the driver. Both are ours, for reasons that were measured
(docs/adr/0005): simple-websocket, which it brings, writes half frames to slow readers and lets two greenlets write into
one another's; it looks at a message's size when all of it is in memory, offers compression bombs, keeps three greenlets
for a client, and frames each packet once for each of them. Here one greenlet reads; what is to be sent is framed once,
whoever gets it, and goes straight into the connection by who sends it. Only where a client does not keep up does a queue
begin, of a bounded length. What is used of these libraries by a private name is pinned in requirements.in and held by
tests/sockets/test_pins.py.
"""

import base64
import binascii
import hashlib
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gevent
from engineio.exceptions import SocketIsClosedError, UnknownPacketError
from engineio.packet import PING, PONG, UPGRADE, Packet
from gevent.event import Event
from gevent.queue import Empty
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

from bittrade import metrics

log = logging.getLogger(__name__)

# A client has next to nothing to say. Who sends more than this is cut.
BYTES_PER_S, BYTES_AT_ONCE = 16_384, 65_536
MESSAGES_PER_S, MESSAGES_AT_ONCE = 50, 100
# A kilobyte may hold 170 empty frames, which take 10 ms: so often the others get their turn.
READ_BYTES = 1024
# Who does not read is cut when so much waits for them, in packets and in bytes; the system keeps this much besides.
MAX_WAITING, MAX_WAITING_BYTES = 256, 512 * 1024
SYSTEM_BUFFER_BYTES = 64 * 1024
# How long we wait for the answer to a close frame, and for a polling client to change over.
CLOSE_S, UPGRADE_S = 2.0, 5.0
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


def harden(server: Any) -> None:
    """Make a Socket.IO server on Engine.IO's gevent driver use this module's queue and WebSocket."""
    engineio_server = server.eio

    def deliver(session_id: str, packet: Packet) -> None:
        """The straight way to an Outbox. Whether the session still answers pings, engineio looks at by itself."""
        session = engineio_server.sockets.get(session_id)
        if session is not None and not session.closed:
            session.queue.put(packet)

    server._send_eio_packet = deliver
    engineio_server.pinger = Pinger(engineio_server.ping_interval)
    engineio_server._async = {
        **engineio_server._async,
        "queue": Outbox,
        "queue_empty": Empty,
        "websocket": Door,
    }


class Pinger:
    """Sends a server's pings. engineio would keep a greenlet for each client only to wait for its next one."""

    _PING = Packet(PING)

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due: deque[tuple[float, Any]] = deque()  # the interval is the same for all: a queue is in order
        self._is_running = False

    def expect_next(self, session: Any) -> None:
        """The client has answered: ping it again when it is time."""
        session.last_ping = None
        self._due.append((time.monotonic() + self._interval_s, session))
        if not self._is_running:
            self._is_running = True
            gevent.spawn(self._run)

    def _run(self) -> None:
        while self._due:
            due_at, session = self._due.popleft()
            gevent.sleep(max(0.0, due_at - time.monotonic()))
            if not session.closing and not session.closed:
                session.last_ping = time.time()
                with suppress(SocketIsClosedError):
                    session.send(self._PING)
        self._is_running = False


class Allowance:
    """So many a second, and so many at once."""

    __slots__ = ("_at_once", "_left", "_per_s", "_seen_at")

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s, self._at_once = per_s, at_once
        self._left, self._seen_at = at_once, time.monotonic()

    def has(self, count: float) -> bool:
        """Take so many where there are so many; whether there were."""
        now = time.monotonic()
        self._left = min(self._at_once, self._left + (now - self._seen_at) * self._per_s)
        self._seen_at = now
        if self._left < count:
            return False
        self._left -= count
        return True

    def take(self, count: float) -> None:
        """Raises ConnectionAbortedError where it is spent."""
        if not self.has(count):
            metrics.SOCKETS_CUT.count("flood")
            raise ConnectionAbortedError("more than a client may send")


# --- What goes out ------------------------------------------------------------------------------------------------

_FRAMER = Connection(
    ConnectionType.SERVER
)  # a server's frames are not masked: the same bytes for every client


def frame_of(packet: Any) -> bytes:
    """A packet as a WebSocket frame, made once however many clients get it."""
    frame: bytes | None = getattr(packet, "frame", None)
    if frame is None:
        data = packet.encode()
        message = BytesMessage(data=data) if isinstance(data, bytes) else TextMessage(data=data)
        frame = packet.frame = _FRAMER.send(message)
    return frame


class ControlFrame:
    """What WebSocket itself has to say, in line with the packets."""

    __slots__ = ("frame",)

    def __init__(self, frame: bytes) -> None:
        self.frame = frame


class Outbox:
    """What a socket is still to be sent: Engine.IO's queue. Polls fetch it; a WebSocket is written to at once.

    It belongs to one event loop: between two lines that do not wait, nobody else runs.
    """

    __slots__ = ("_is_cut", "_is_draining", "_poll", "_waiting", "_websocket", "farewell")

    def __init__(self) -> None:
        self._waiting: deque[Any] | None = None  # packets, control frames, or None: the end
        self._websocket: WebSocket | None = None
        self._poll: Event | None = None
        self._is_draining = self._is_cut = False
        self.farewell: tuple[int, str] = (CloseReason.NORMAL_CLOSURE, "")  # what a close frame is to say

    def __len__(self) -> int:
        return len(self._waiting or ())

    def put(self, packet: Any) -> None:
        """Send it, or keep it for when the client is ready; None is the end. Never waits."""
        if self._is_cut:
            return
        if self._websocket is None or self._is_draining:
            self._keep(packet)
        else:
            self._write(packet)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next packet, for a poll. Raises Empty."""
        if not self._waiting and block and not self._is_cut and self._poll is None:
            self._poll = Event()
            try:
                self._poll.wait(timeout)
            finally:
                self._poll = None
        if not self._waiting:
            raise Empty  # a second poll beside the first, too: engineio then ends the session, as Node's server does
        return self._waiting.popleft()

    def task_done(self) -> None:
        """Part of a queue's interface; nobody counts."""

    def join(self) -> None:
        """Part of a queue's interface: nobody waits for a client to read."""

    def attach(self, websocket: "WebSocket") -> None:
        """From now on write to this WebSocket, beginning with what waits."""
        self._websocket = websocket
        while self._waiting and not self._is_draining:
            self._write(self._waiting.popleft())

    def cut(self) -> None:
        """Send no more, keep nothing, and end the connection."""
        self._is_cut, self._waiting = True, None
        if self._websocket is not None:
            self._websocket.cut()
        if self._poll is not None:
            self._poll.set()

    def _keep(self, packet: Any) -> None:
        if self._waiting is None:
            self._waiting = deque()
        if not self._replace_older(packet):
            self._waiting.append(packet)
        if len(self._waiting) > MAX_WAITING or self._waiting_bytes() > MAX_WAITING_BYTES:
            metrics.SOCKETS_CUT.count("slow")
            log.info("cut a socket that does not read: %d packets wait for it", len(self._waiting))
            self.cut()
        elif self._poll is not None:
            self._poll.set()

    def _replace_older(self, packet: Any) -> bool:
        """News to everyone takes the place of older news of its name that nobody has read yet: the latest wins."""
        name = getattr(packet, "news", None)
        if name is None or not self._waiting:
            return False
        for index, waiting in enumerate(self._waiting):
            if getattr(waiting, "news", None) == name:
                self._waiting[index] = packet
                return True
        return False

    def _waiting_bytes(self) -> int:
        return sum(len(frame_of(packet)) for packet in self._waiting or () if packet is not None)

    def _write(self, packet: Any) -> None:
        """Give the system as much of it as it takes; a greenlet sees to the rest."""
        websocket = self._websocket
        if packet is None or websocket is None:
            if websocket is not None:
                websocket.begin_close()
            return
        frame = frame_of(packet)
        try:
            sent = websocket.connection.send(frame, 0, 0.0)  # gevent's third argument: how long it may wait
        except BlockingIOError:
            sent = 0
        except OSError:
            self.cut()
            return
        if sent < len(frame):
            self._is_draining = True
            gevent.spawn(self._drain, websocket, frame[sent:])

    def _drain(self, websocket: "WebSocket", rest: bytes) -> None:
        """Write a frame's rest and what waits behind it, as fast as the client reads."""
        try:
            websocket.connection.sendall(rest)
            while self._waiting:
                packet = self._waiting.popleft()
                if packet is None:
                    websocket.begin_close()  # its frame joins the queue
                else:
                    websocket.connection.sendall(frame_of(packet))
        except OSError:
            self.cut()
        finally:
            self._is_draining = False


# --- What comes in ------------------------------------------------------------------------------------------------


class WebSocket:
    """One connection after its handshake: whole messages of a bounded size, no compression, no flood."""

    __slots__ = (
        "_allowance",
        "_is_closing",
        "_max_bytes",
        "_messages_left",
        "_outbox",
        "_protocol",
        "connection",
        "farewell",
    )

    def __init__(self, connection: Any, outbox: Outbox, *, max_bytes: int, timeout_s: float) -> None:
        connection.settimeout(timeout_s)  # of a client that reads nothing, or says nothing
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SYSTEM_BUFFER_BYTES)
        self.connection = connection
        self._outbox = outbox
        self._max_bytes = max_bytes
        self._protocol = Connection(ConnectionType.SERVER)
        self._allowance = Allowance(BYTES_PER_S, BYTES_AT_ONCE)
        self._messages_left = Allowance(MESSAGES_PER_S, MESSAGES_AT_ONCE)
        self._is_closing = False

    def messages(self) -> Iterator[str | bytes]:
        """What the client says, until the connection is over. Raises OSError."""
        parts: list[Any] = []
        size = 0
        while data := self._read():
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                if isinstance(event, Message):
                    size += max(1, len(event.data))  # a fragment of nothing costs memory too
                    if size > self._max_bytes:
                        metrics.SOCKETS_CUT.count("too_big")
                        self._close(CloseReason.MESSAGE_TOO_BIG, "Message is too big")
                        return
                    parts.append(event.data)
                    if event.message_finished:
                        self._messages_left.take(1)
                        yield ("" if isinstance(event.data, str) else b"").join(parts)
                        parts, size = [], 0
                elif isinstance(event, Ping):
                    if self._protocol.state is ConnectionState.OPEN:
                        self._outbox.put(ControlFrame(self._protocol.send(event.response())))
                elif isinstance(event, CloseConnection):
                    self._close(event.code, "")
                    return

    def begin_close(self) -> None:
        """Send a close frame, and wait a while for the client's."""
        self._close(*self._outbox.farewell)
        gevent.spawn_later(CLOSE_S, self.cut)

    def cut(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _read(self) -> bytes:
        data: bytes = self.connection.recv(READ_BYTES)
        self._allowance.take(len(data))
        # Bytes that are already here are read without waiting: a flood would keep the loop to itself.
        gevent.sleep(0)
        return data

    def _close(self, code: int, reason: str) -> None:
        if not self._is_closing and self._protocol.state in (
            ConnectionState.OPEN,
            ConnectionState.REMOTE_CLOSING,
        ):
            self._is_closing = True
            self._outbox.put(ControlFrame(self._protocol.send(CloseConnection(code, reason))))


class Door:
    """engineio's view of a WebSocket: made for each upgrade, then called as a WSGI application."""

    held = 0  # connections that are WebSockets, or about to be, in this process

    def __init__(self, handler: Callable[..., Any], server: Any) -> None:
        self._socket = handler.__self__  # type: ignore[attr-defined]
        self._server = server
        self._pinger = server.pinger

    def __call__(self, environ: dict[str, Any], _start_response: Any) -> Any:
        session, connection = self._socket, environ.get("gunicorn.socket")
        accept = accept_key(environ)
        if accept is None or connection is None or session.upgrading:
            if not session.connected:
                self._end()
            return self._server._bad_request("Invalid websocket upgrade")
        Door.held += 1
        try:
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            timeout_s = self._server.ping_interval + self._server.ping_timeout
            limits = {"max_bytes": self._server.max_http_buffer_size, "timeout_s": timeout_s}
            self._serve(WebSocket(connection, session.queue, **limits))
        except OSError as error:
            log.info("a socket ended: %s", error)
        except Exception as error:
            log.info("cut a socket that sent what is not Engine.IO: %s", error)
        finally:
            Door.held -= 1
        session.upgrading = False
        if session.upgraded or not session.connected:
            self._end()
        raise StopIteration  # gunicorn: the connection is ours, and over

    def _serve(self, websocket: WebSocket) -> None:
        """Hear the client out, from the first message on. Raises OSError, and ValueError for what is no packet."""
        messages = websocket.messages()
        session = self._socket
        if session.connected and not self._take_over(websocket, messages):
            return
        session.connected = session.upgraded = True
        session.queue.attach(websocket)
        for message in messages:
            packet = Packet(encoded_packet=message)
            if packet.packet_type == PONG and session.last_ping:
                self._pinger.expect_next(session)
                continue
            try:
                session.receive(packet)
            except UnknownPacketError:
                pass
            except SocketIsClosedError:
                return

    def _take_over(self, websocket: WebSocket, messages: Iterator[str | bytes]) -> bool:
        """The change from polling: a probe and its answer, the open poll ends, then the client says that it is here."""
        self._socket.upgrading = True
        with gevent.Timeout(UPGRADE_S, OSError("the upgrade took too long")):
            if not _is(next(messages, ""), PING, "probe"):
                return False
            websocket.connection.sendall(frame_of(Packet(PONG, data="probe")))
            self._socket.queue.put(Packet())  # a NOOP
            if not _is(next(messages, ""), UPGRADE):
                return False
        self._socket.upgrading = False
        return True

    def _end(self) -> None:
        """Nothing of the session stays, neither here nor in engineio's table."""
        self._socket.queue.cut()
        self._socket.close(wait=False, abort=True, reason=self._server.reason.TRANSPORT_CLOSE)
        self._server.sockets.pop(self._socket.sid, None)


def accept_key(environ: dict[str, Any]) -> bytes | None:
    """The answer to a client's handshake (RFC 6455, 4.2); None where it is none."""
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "").strip().encode("latin-1")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        is_key = False
    if not is_key or environ.get("HTTP_SEC_WEBSOCKET_VERSION", "").strip() != "13":
        return None
    return base64.b64encode(hashlib.sha1(key + MAGIC, usedforsecurity=False).digest())


def _is(message: str | bytes, packet_type: int, data: str | None = None) -> bool:
    if not isinstance(message, str) or not message:
        return False
    packet = Packet(encoded_packet=message)
    return packet.packet_type == packet_type and (data is None or packet.data == data)
