"""What clients send: they come, go, say who they are, and ask for what they missed."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from flask import Flask, current_app, request
from flask_socketio import SocketIO

from bittrade.broadcast import stamped
from bittrade.errors import BitTradeError, RateLimited, TokenInvalid
from bittrade.extensions import socketio
from bittrade.services import audit, counting, user_data
from bittrade.services.audit import Origin
from bittrade.services.identity import bearer_of
from bittrade.sockets import members
from bittrade.sockets.gate import NAMESPACE
from bittrade.sockets.members import Member, Told
from bittrade.sockets.upkeep import Upkeep

log = logging.getLogger(__name__)
# What a client may send. `connect` and `disconnect` are the transport's to raise, never a client's.
EVENTS = frozenset({"authenticate", "resume"})


def listen(sockets: SocketIO) -> None:
    sockets.on_event("connect", _on_connect)
    sockets.on_event("disconnect", _on_disconnect)
    sockets.on_event("authenticate", _on_authenticate)
    sockets.on_event("resume", _on_resume)
    sockets.default_exception_handler = _on_error


def counter(app: Flask) -> Callable[[dict[str, Any]], bool]:
    """Return what counts a client's event or request as a read of its address, as REST's are, and whether it may be."""

    def is_allowed(environ: dict[str, Any]) -> bool:
        address = environ.get("REMOTE_ADDR", "")
        who = audit.neighbourhood(address)
        standing = counting.count(app, "RATELIMIT_READ", who, is_local=True)
        if standing.remaining >= 0:
            return True
        with app.app_context(), suppress(RateLimited):
            audit.origin.set(Origin(address=address, device=environ.get("HTTP_USER_AGENT")))
            counting.refuse("RATELIMIT_READ", who, standing)
        return False

    return is_allowed


def refuse_as_too_many(sid: str) -> None:
    """Answer an event that is not looked at any more: the socket is nobody's now."""
    members.leave(sid)
    members.refuse(sid, RateLimited.message)


def _on_connect(credentials: Any = None) -> None:
    sid = _sid()
    upkeep: Upkeep = current_app.extensions["bittrade_upkeep"]
    upkeep.start()
    members.tell(sid, "connection_established", stamped({"message": "Connected to BitTrade WebSocket"}))
    if (price := upkeep.find_price()) is not None:
        members.tell(sid, "btc_price_update", price)
    if isinstance(credentials, dict) and credentials.get("token"):
        _on_authenticate(credentials)
    elif (token := bearer_of(request.headers.get("Authorization", ""))) is not None:
        _on_authenticate(token)


def _on_disconnect(*_reason: Any) -> None:
    members.forget(_sid())


def _on_authenticate(credentials: Any = None, *_others: Any) -> None:
    """Make the socket its token's owner's and tell it what they hold; a bad token leaves it nobody's."""
    token = credentials.get("token") if isinstance(credentials, dict) else credentials
    _admit(token, members.snapshot)


def _on_resume(request_: Any = None, *_others: Any) -> None:
    """`authenticate` for who was here before: instead of the latest transactions, those since `last_seq`."""
    asked = request_ if isinstance(request_, dict) else {}
    last_seq = asked.get("last_seq")
    if type(last_seq) is not int or not 0 <= last_seq <= user_data.MAX_SEQ:
        members.leave(_sid())
        members.refuse(_sid(), "last_seq must be a whole number")
        return
    _admit(asked.get("token"), lambda user_id: members.missed(user_id, last_seq))


def _admit(token: Any, read: Callable[[int], Told]) -> None:
    """Put the socket into its user's room, and tell it what `read` finds for this user; or refuse it."""
    sid = _sid()
    members.leave(sid)
    # Clients hold what they send in a header: "Bearer " before the token is no part of it.
    token = bearer_of(token) if isinstance(token, str) and " " in token.strip() else token
    audit.origin.set(Origin(address=request.remote_addr or "", device=request.headers.get("User-Agent")))
    try:
        if not isinstance(token, str):
            raise TokenInvalid()
        identity = members.identify(token)
        if identity.key_id is not None:
            counting.take("RATELIMIT_KEY", f"key {identity.key_id}", user_id=identity.user_id)
        user_data.note_listeners(
            [identity.user_id]
        )  # before what is read: nothing that comes after it goes unsaid
        told = members.read_undisturbed(identity.user_id, read)
    except BitTradeError as error:
        members.refuse(sid, error.message)
        return
    if not socketio.server.manager.is_connected(sid, NAMESPACE):
        return
    members.leave(sid)  # another `authenticate` of this socket may have run meanwhile
    if not members.join(sid, Member(identity, token), told):
        members.refuse(sid, "Too many connections of this user")
        return
    success = {
        "message": "WebSocket authenticated successfully",
        "userId": identity.user_id,
        "email": identity.email,
    }
    members.tell(sid, "authentication_success", success)


def _on_error(error: Exception) -> None:
    """A bug: the log gets everything, the client that it did not work. The socket stays."""
    log.error("a socket event failed", exc_info=error)
    if request.event["message"] in EVENTS:  # type: ignore[attr-defined]
        members.leave(_sid())
        members.refuse(_sid(), BitTradeError.message)


def _sid() -> str:
    sid: str = request.sid  # type: ignore[attr-defined]
    return sid
