"""Socket.IO: what clients send, and who belongs to which user's room.

A socket belongs to at most one user at a time. When its token ends it leaves the room and is told. Rooms are named
from the token alone, never by a client.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from flask import Flask, current_app, request
from flask_socketio import join_room, leave_room

from bittrade import wire
from bittrade.broadcast import stamped, transaction_update, user_room
from bittrade.errors import BitTradeError, TokenInvalid
from bittrade.extensions import socketio
from bittrade.services import auth, market, user_data
from bittrade.services.auth import Identity

log = logging.getLogger(__name__)
T = TypeVar("T")
NAMESPACE = "/"
# What a client may send. `connect` and `disconnect` are the transport's to raise, never a client's.
CLIENT_EVENTS = frozenset({"authenticate"})
# How long a revoked token may still receive; expiry is looked at as often.
SWEEP_S = 1.0
# Clocks of several hosts differ, and a commit takes a moment to be seen: look back further than one sweep.
SWEEP_OVERLAP = timedelta(seconds=30)
# A snapshot that was overtaken while it was read is read again, this many times.
MAX_READS = 10


@dataclass(frozen=True, slots=True)
class Member:
    """An authenticated socket of this process."""

    identity: Identity
    token: str


_members: dict[str, Member] = {}  # by socket id
_sweeping: set[int] = set()  # id() of the apps whose sweeper runs: one in a server, several in a test run


def init_sockets() -> None:
    """Register the events of the one namespace."""
    socketio.on_event("connect", _on_connect)
    socketio.on_event("disconnect", _on_disconnect)
    socketio.on_event("authenticate", _on_authenticate)
    socketio.default_exception_handler = _on_error
    _drop_unknown_events(socketio.server)


def _drop_unknown_events(server: Any) -> None:
    """python-socketio would run our own `disconnect` handler for a client that sends an event of that name."""
    handle_event = server._handle_event

    def handle_known(eio_sid: str, namespace: str | None, ack_id: int | None, data: Any) -> None:
        if isinstance(data, list) and data and isinstance(data[0], str) and data[0] in CLIENT_EVENTS:
            handle_event(eio_sid, namespace, ack_id, data)

    server._handle_event = handle_known


def _on_connect(credentials: Any = None) -> None:
    sid = _sid()
    _start_sweeping(current_app._get_current_object())  # type: ignore[attr-defined]
    _tell(sid, "connection_established", stamped({"message": "Connected to BitTrade WebSocket"}))
    before = _deliveries(None)
    price = _find_price()
    # A change that came while the price was read has reached this socket too, and is newer.
    if price is not None and _deliveries(None) == before:
        _tell(sid, "btc_price_update", price)
    if isinstance(credentials, dict) and credentials.get("token"):
        _on_authenticate(credentials)


def _on_disconnect(*_reason: Any) -> None:
    _members.pop(_sid(), None)


def _on_authenticate(credentials: Any = None, *_others: Any) -> None:
    """Make the socket its token's owner's; a bad token leaves it nobody's."""
    sid = _sid()
    _leave(sid)
    token = credentials.get("token") if isinstance(credentials, dict) else credentials
    try:
        if not isinstance(token, str):
            raise TokenInvalid()
        identity = _identify(token)
        room = user_room(identity.user_id)
        held = _read_undisturbed(room, lambda: user_data.snapshot(identity.user_id))
    except BitTradeError as error:
        _refuse(sid, error.message)
        return
    # Nothing from here on waits for anything: no event can get between the snapshot and the room.
    if not socketio.server.manager.is_connected(sid, NAMESPACE):
        return
    _leave(sid)  # another `authenticate` of this socket may have run meanwhile
    join_room(room)
    _members[sid] = Member(identity, token)
    for event, payload in _snapshot_events(held):
        _tell(sid, event, payload)
        socketio.server.manager.note_sent(room, event, payload["seq"])
    success = {
        "message": "WebSocket authenticated successfully",
        "userId": identity.user_id,
        "email": identity.email,
    }
    _tell(sid, "authentication_success", success)


def _identify(token: str) -> Identity:
    """Raises TokenInvalid, also within the leeway that REST gives a token after its end."""
    identity = auth.authenticate(token)
    if identity.expires_at <= wire.now():
        raise TokenInvalid()
    return identity


def _on_error(error: Exception) -> None:
    """A bug: the log gets everything, the client that it did not work. The socket stays."""
    log.error("a socket event failed", exc_info=error)
    if request.event["message"] == "authenticate":  # type: ignore[attr-defined]
        _leave(_sid())
        _refuse(_sid(), BitTradeError.message)


def _find_price() -> dict[str, Any] | None:
    try:
        return market.find_price_event()
    except BitTradeError as error:
        log.warning("no price for the sockets: %s", error.message)
        return None


def _read_undisturbed(room: str, read: Callable[[], T]) -> T:
    """What `read` returns, if nothing was sent to the room meanwhile; else read again: it might be older than that."""
    for _ in range(MAX_READS):
        before = _deliveries(room)
        value = read()
        if _deliveries(room) == before:
            break
    return value


def _deliveries(room: str | None) -> int:
    count: int = socketio.server.manager.deliveries(room)
    return count


def _sid() -> str:
    sid: str = request.sid  # type: ignore[attr-defined]
    return sid


def _tell(to: str, event: str, payload: dict[str, Any]) -> None:
    """To sockets of this process: no other one needs to hear of it."""
    socketio.emit(event, payload, to=to, ignore_queue=True)


def _snapshot_events(held: user_data.Snapshot) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("user_balance_update", stamped(held.balance)),
        ("user_transaction_update", transaction_update(held.transactions)),
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
    swept_at = wire.now()
    while True:
        socketio.sleep(SWEEP_S)
        started_at = wire.now()
        try:
            with app.app_context():
                sweep(since=swept_at - SWEEP_OVERLAP)
                swept_at = started_at  # not before: while the database is away, revocations pile up
                repair()
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


def repair() -> None:
    """After Redis was away: send this process' sockets what they may have missed, the price and their balances."""
    manager = socketio.server.manager
    if not manager.has_missed:
        return
    manager.has_missed = False
    try:
        _repeat_price()
        for user_id in {member.identity.user_id for member in _members.values()}:
            _repeat_snapshot(user_id)
    except BaseException:
        manager.has_missed = True
        raise


def _repeat_price() -> None:
    before, price = _deliveries(None), _find_price()
    if price is not None and _deliveries(None) == before:
        socketio.emit("btc_price_update", price, ignore_queue=True)


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
