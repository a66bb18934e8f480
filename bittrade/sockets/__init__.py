"""Socket.IO: what clients send, and who belongs to which user's room.

A socket belongs to at most one user at a time. When its token ends it leaves the room and is told. Rooms are named
from the token alone, never by a client.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from flask import Flask, current_app, request
from flask_socketio import join_room, leave_room

from bittrade import wire
from bittrade.broadcast import stamped, transaction_update, user_room
from bittrade.errors import BitTradeError, TokenInvalid
from bittrade.extensions import is_gevent, socketio
from bittrade.services import audit, auth, events, market, user_data
from bittrade.services.audit import Origin
from bittrade.services.auth import Identity
from bittrade.sockets import transport
from bittrade.sockets.delivery import PatientRedisManager
from bittrade.sockets.gate import NAMESPACE, Gate, Limits

log = logging.getLogger(__name__)
T = TypeVar("T")
Told = list[tuple[str, dict[str, Any]]]  # events in order; each payload has a `seq`
# What a client may send. `connect` and `disconnect` are the transport's to raise, never a client's.
CLIENT_EVENTS = frozenset({"authenticate", "resume"})
# How long a revoked token may still receive; expiry is looked at as often.
SWEEP_S = 1.0
# Clocks of several hosts differ, and a commit takes a moment to be seen: look back further than one sweep.
SWEEP_OVERLAP = timedelta(seconds=30)
HEARTBEAT_S = 15.0
# How long a price that was read for one new socket serves others too.
PRICE_GOOD_FOR_S = 0.25
# A snapshot that was overtaken while it was read is read again, this many times.
MAX_READS = 10


@dataclass(frozen=True, slots=True)
class Member:
    """An authenticated socket of this process."""

    identity: Identity
    token: str


_members: dict[str, Member] = {}  # by socket id
_sweeping: set[int] = set()  # id() of the apps whose sweeper runs: one in a server, several in a test run


def init_sockets(app: Flask) -> None:
    """Bind the sockets, their limits, and the events of the one namespace."""
    origins = app.config["CORS_ORIGINS"]
    socketio.init_app(
        app,
        async_mode="gevent" if is_gevent() else "threading",
        transports=app.config["SOCKET_TRANSPORTS"],
        client_manager=PatientRedisManager(app.config["QUEUE_REDIS_URL"]),
        always_connect=True,  # a client's CONNECT is answered before it gets any event, as Node's server does
        cors_allowed_origins="*" if origins == ["*"] else origins or None,  # an empty list would be everybody
        cors_credentials=False,
        ping_interval=10,
        ping_timeout=10,
        max_http_buffer_size=16_384,
        manage_session=False,
        async_handlers=False,  # one client's events in the order in which it sent them
    )
    socketio.on_event("connect", _on_connect)
    socketio.on_event("disconnect", _on_disconnect)
    socketio.on_event("authenticate", _on_authenticate)
    socketio.on_event("resume", _on_resume)
    socketio.default_exception_handler = _on_error
    transport.allow_only(socketio.server, CLIENT_EVENTS)
    limits = Limits(
        per_process=app.config["SOCKETS_PER_PROCESS"], per_address=app.config["SOCKETS_PER_ADDRESS"]
    )
    app.extensions["bittrade_gate"] = Gate(
        socketio.server, limits, origins=origins, neighbourhood=audit.neighbourhood
    )
    # A thousand clients that come at once (after a restart) ask for the same price.
    app.extensions["bittrade_price_of_now"] = ReadOnce(
        lambda: _find_price(),
        lambda: int(socketio.server.manager.broadcasts("btc_price_update")),
        for_s=PRICE_GOOD_FOR_S if is_gevent() else 0.0,
    )
    if node := app.config["SOCKET_NODE"]:
        name_sessions(socketio.server.eio, node)
    if is_gevent():
        transport.harden(socketio.server)


def name_sessions(engineio_server: Any, node: str) -> None:
    """Begin every session's id with this process' name: a proxy then knows whose it is (deploy/nginx.conf)."""
    generate_id = engineio_server.generate_id
    engineio_server.generate_id = lambda: f"{node}.{generate_id()}"


def dismiss_all_with(worker: Any) -> None:
    """Watch a gunicorn worker's end: each of its sockets then gets a close frame (gunicorn.conf.py)."""
    gate = getattr(worker.wsgi, "extensions", {}).get("bittrade_gate")
    if gate is not None:  # gunicorn serves other applications with these settings too
        gate.dismiss_all_when(lambda: not worker.alive)


def _on_connect(credentials: Any = None) -> None:
    sid = _sid()
    _start_sweeping(current_app._get_current_object())  # type: ignore[attr-defined]
    _tell(sid, "connection_established", stamped({"message": "Connected to BitTrade WebSocket"}))
    _repeat_price(to=sid)
    if isinstance(credentials, dict) and credentials.get("token"):
        _on_authenticate(credentials)


def _on_disconnect(*_reason: Any) -> None:
    _members.pop(_sid(), None)


def _on_authenticate(credentials: Any = None, *_others: Any) -> None:
    """Make the socket its token's owner's and tell it what they hold; a bad token leaves it nobody's."""
    token = credentials.get("token") if isinstance(credentials, dict) else credentials
    _admit(token, lambda user_id: _snapshot_events(user_data.snapshot(user_id)))


def _on_resume(request_: Any = None, *_others: Any) -> None:
    """`authenticate` for who was here before: instead of the latest transactions, those since `last_seq`."""
    asked = request_ if isinstance(request_, dict) else {}
    last_seq = asked.get("last_seq")
    if type(last_seq) is not int or not 0 <= last_seq <= user_data.MAX_SEQ:
        _leave(_sid())
        _refuse(_sid(), "last_seq must be a whole number")
        return
    _admit(asked.get("token"), lambda user_id: _missed_events(events.list_missed(user_id, after=last_seq)))


def _admit(token: Any, read: Callable[[int], Told]) -> None:
    """Put the socket into its user's room, and tell it what `read` finds for this user; or refuse it."""
    sid = _sid()
    _leave(sid)
    audit.origin.set(Origin(address=request.remote_addr or "", device=request.headers.get("User-Agent")))
    try:
        if not isinstance(token, str):
            raise TokenInvalid()
        identity = _identify(token)
        room = user_room(identity.user_id)
        told = _read_undisturbed(room, lambda: read(identity.user_id))
    except BitTradeError as error:
        _refuse(sid, error.message)
        return
    # Nothing from here on waits for anything: no event can get between what was read and the room.
    if not socketio.server.manager.is_connected(sid, NAMESPACE):
        return
    _leave(sid)  # another `authenticate` of this socket may have run meanwhile
    if _count_of(identity.user_id) >= current_app.config["SOCKETS_PER_USER"]:
        _refuse(sid, "Too many connections of this user")
        return
    join_room(room)
    _members[sid] = Member(identity, token)
    for event, payload in told:
        _tell(sid, event, payload)
    for event in ("user_balance_update", "user_transaction_update"):
        socketio.server.manager.note_sent(room, event, told[0][1]["seq"])
    success = {
        "message": "WebSocket authenticated successfully",
        "userId": identity.user_id,
        "email": identity.email,
    }
    _tell(sid, "authentication_success", success)


def _count_of(user_id: int) -> int:
    """How many sockets of this process are this user's."""
    manager = socketio.server.manager
    return len(manager.rooms.get(NAMESPACE, {}).get(user_room(user_id), ()))


def _identify(token: str) -> Identity:
    """Raises TokenInvalid, also within the leeway that REST gives a token after its end."""
    identity = auth.authenticate(token)
    if identity.expires_at <= wire.now():
        raise TokenInvalid()
    return identity


def _on_error(error: Exception) -> None:
    """A bug: the log gets everything, the client that it did not work. The socket stays."""
    log.error("a socket event failed", exc_info=error)
    if request.event["message"] in CLIENT_EVENTS:  # type: ignore[attr-defined]
        _leave(_sid())
        _refuse(_sid(), BitTradeError.message)


def _find_price() -> dict[str, Any] | None:
    try:
        return market.find_price_event()
    except BitTradeError as error:
        log.warning("no price for the sockets: %s", error.message)
        return None


class ReadOnce(Generic[T]):
    """What was read serves all who ask at the same time, and for a moment after; not after a change was told."""

    def __init__(self, read: Callable[[], T], version: Callable[[], int], *, for_s: float) -> None:
        self._read, self._version, self._for_s = read, version, for_s
        self._reading = threading.Lock()
        self._good_until, self._version_read = 0.0, -1
        self._value: T

    def get(self) -> T:
        with self._reading:
            version = self._version()
            if time.monotonic() >= self._good_until or version != self._version_read:
                self._value = self._read()
                self._good_until, self._version_read = time.monotonic() + self._for_s, version
            return self._value


def _read_undisturbed(room: str, read: Callable[[], T]) -> T:
    """What `read` returns, if nothing was sent to the room meanwhile; else read again: it might be older than that."""
    manager = socketio.server.manager
    for _ in range(MAX_READS):
        before = manager.deliveries(room)
        value = read()
        if manager.deliveries(room) == before:
            break
    return value


def _sid() -> str:
    sid: str = request.sid  # type: ignore[attr-defined]
    return sid


def _tell(to: str | None, event: str, payload: dict[str, Any]) -> None:
    """To a socket, a room, or (None) all sockets of this process: no other process needs to hear of it."""
    socketio.emit(event, payload, to=to, ignore_queue=True)


def _snapshot_events(held: user_data.Snapshot) -> Told:
    return [
        ("user_balance_update", stamped(held.balance)),
        ("user_transaction_update", transaction_update(held.transactions)),
    ]


def _missed_events(missed: events.Missed) -> Told:
    since = {"after": missed.after, "seq": missed.seq, "complete": missed.complete}
    return [
        ("user_balance_update", stamped(missed.balance)),
        ("user_missed_transactions", stamped({**since, "transactions": missed.transactions})),
    ]


def _refuse(sid: str, reason: str) -> None:
    _tell(sid, "authentication_error", {"message": "Authentication failed", "error": reason})


def _leave(sid: str) -> None:
    member = _members.pop(sid, None)
    if member is not None:
        leave_room(user_room(member.identity.user_id), sid=sid, namespace=NAMESPACE)


# --- once a second: tokens that ended, events that were missed ----------------------------------------------------


def _start_sweeping(app: Flask) -> None:
    if id(app) not in _sweeping:
        _sweeping.add(id(app))
        socketio.start_background_task(_sweep_forever, app)


def _sweep_forever(app: Flask) -> None:
    audit.origin.set(Origin())  # of nobody: a thread may have begun with what its starter was about
    swept_at = wire.now()
    beat_at = time.monotonic()
    while True:
        socketio.sleep(SWEEP_S)
        started_at = wire.now()
        try:
            with app.app_context():
                sweep(since=swept_at - SWEEP_OVERLAP)
                swept_at = started_at  # not before: while the database is away, revocations pile up
                repair()
                if time.monotonic() >= beat_at:
                    beat_at += HEARTBEAT_S
                    beat()
        except BitTradeError as error:
            log.warning("could not look for ended tokens: %s", error.message)
        except Exception:
            log.exception("could not look for ended tokens")


def sweep(since: datetime | None = None) -> None:
    """Put out every socket of this process whose token has expired, or was revoked after `since`."""
    now = wire.now()
    for sid, member in list(_members.items()):
        if member.identity.expires_at <= now:
            _put_out(sid)
    if not _members:
        return
    ended = auth.list_ended_users(since=since or now - SWEEP_OVERLAP)
    for sid, member in list(_members.items()):
        if member.identity.user_id in ended and not _is_good(member.token):
            _put_out(sid, member)


def beat() -> None:
    """Tell this process' sockets the time, and how old the price is: a client that hears nothing knows that it is deaf."""
    price = _price_of_now()
    _tell(None, "heartbeat", stamped({"price_age_ms": price["age_ms"] if price else None}))


def repair() -> None:
    """After Redis was away: send this process' sockets what they may have missed, the price and their balances."""
    manager = socketio.server.manager
    if not manager.has_missed:
        return
    manager.has_missed = False
    try:
        _repeat_price(to=None)
        for user_id in {member.identity.user_id for member in _members.values()}:
            _repeat_snapshot(user_id)
    except BaseException:
        manager.has_missed = True
        raise


def _price_of_now() -> dict[str, Any] | None:
    price: ReadOnce[dict[str, Any] | None] = current_app.extensions["bittrade_price_of_now"]
    return price.get()


def _repeat_price(*, to: str | None) -> None:
    """Tell one socket, or all of this process', the price of now."""
    manager = socketio.server.manager
    before, price = manager.broadcasts("btc_price_update"), _price_of_now()
    # A change that came while the price was read has reached these sockets too, and is newer.
    if price is not None and manager.broadcasts("btc_price_update") == before:
        _tell(to, "btc_price_update", price)


def _repeat_snapshot(user_id: int) -> None:
    room = user_room(user_id)
    for event, payload in _snapshot_events(_read_undisturbed(room, lambda: user_data.snapshot(user_id))):
        _tell(room, event, payload)


def _is_good(token: str) -> bool:
    try:
        auth.authenticate(token)
    except TokenInvalid:
        return False
    return True


def _put_out(sid: str, seen: Member | None = None) -> None:
    """Make the socket nobody's and tell it; not if it has authenticated anew since it was `seen`."""
    if seen is not None and _members.get(sid) is not seen:
        return
    member = _members.pop(sid, None)
    if member is not None:
        socketio.server.leave_room(sid, user_room(member.identity.user_id), namespace=NAMESPACE)
        _refuse(sid, TokenInvalid.message)
