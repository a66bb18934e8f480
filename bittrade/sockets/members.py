"""Whose a socket is. It belongs to at most one user at a time, and rooms are named from the token alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import current_app

from bittrade import wire
from bittrade.broadcast import stamped, transaction_update, user_room
from bittrade.domain.roles import ADMINS as ROLES_TOLD
from bittrade.errors import TokenInvalid
from bittrade.extensions import socketio
from bittrade.services import auth, events, user_data
from bittrade.services.auth import Identity
from bittrade.sockets.gate import NAMESPACE

T = TypeVar("T")
Told = list[tuple[str, dict[str, Any]]]  # events in order; each payload has a `seq`
USER_EVENTS = ("user_balance_update", "user_transaction_update")
# A snapshot that was overtaken while it was read is read again, this many times.
MAX_READS = 10
ADMINS = "admins"  # the room of all sockets of admins; its name never comes from a client


@dataclass(frozen=True, slots=True)
class Member:
    """An authenticated socket of this process."""

    identity: Identity
    token: str


_members: dict[str, Member] = {}  # by socket id


def list_all() -> list[tuple[str, Member]]:
    return list(_members.items())


def has_admins() -> bool:
    """Return whether one of this process' sockets is an admin's."""
    return bool(socketio.server.manager.rooms.get(NAMESPACE, {}).get(ADMINS))


def tell(to: str | None, event: str, payload: dict[str, Any]) -> None:
    """To a socket, a room, or (None) all sockets of this process: no other process needs to hear of it."""
    socketio.emit(event, payload, to=to, ignore_queue=True)


def refuse(sid: str, reason: str) -> None:
    tell(sid, "authentication_error", {"message": "Authentication failed", "error": reason})


def identify(token: str) -> Identity:
    """Raises TokenInvalid, also within the leeway that REST gives a token after its end."""
    identity = auth.authenticate(token)
    if identity.expires_at <= wire.now():
        raise TokenInvalid()
    return identity


def join(sid: str, member: Member, told: Told) -> bool:
    """Make the socket this user's and tell it what was read for it; False where the user has too many sockets.

    Nothing in here waits for anything: no event can get between what was read and the room.
    """
    manager, room = socketio.server.manager, user_room(member.identity.user_id)
    if len(manager.rooms.get(NAMESPACE, {}).get(room, ())) >= current_app.config["SOCKETS_PER_USER"]:
        return False
    socketio.server.enter_room(sid, room, namespace=NAMESPACE)
    if member.identity.role in ROLES_TOLD:
        socketio.server.enter_room(sid, ADMINS, namespace=NAMESPACE)
    _members[sid] = member
    for event, payload in told:
        tell(sid, event, payload)
    for event in USER_EVENTS:
        manager.note_one_told(room, event, told[0][1]["seq"])
    return True


def forget(sid: str) -> None:
    """The socket is gone, and with it its rooms."""
    _members.pop(sid, None)


def leave(sid: str) -> bool:
    """Make the socket nobody's; whether it was somebody's."""
    member = _members.pop(sid, None)
    if member is not None:
        for room in (user_room(member.identity.user_id), ADMINS):
            socketio.server.leave_room(sid, room, namespace=NAMESPACE)
    return member is not None


def put_out(sid: str, seen: Member) -> None:
    """Make the socket nobody's and tell it; not if it has authenticated anew since it was `seen`."""
    if _members.get(sid) is seen and leave(sid):
        refuse(sid, TokenInvalid.message)


# --- What a user's socket is told ---------------------------------------------------------------------------------


def snapshot(user_id: int) -> Told:
    """Balance and latest transactions."""
    held = user_data.snapshot(user_id)
    return [
        ("user_balance_update", stamped(held.balance)),
        ("user_transaction_update", transaction_update(held.transactions, held.balance["seq"])),
    ]


def missed(user_id: int, after: int) -> Told:
    """Balance, and the transactions since `after`."""
    found = events.list_missed(user_id, after=after)
    since = {"after": found.after, "seq": found.seq, "complete": found.complete}
    return [
        ("user_balance_update", stamped(found.balance)),
        (
            "user_missed_transactions",
            stamped(
                {**since, "transactions": found.transactions, "orders": found.orders, "loans": found.loans}
            ),
        ),
    ]


def read_undisturbed(user_id: int, read: Callable[[int], T]) -> T:
    """What `read` returns, if the user was told nothing meanwhile; else read again: it might be older than that."""
    manager, room = socketio.server.manager, user_room(user_id)
    for _ in range(MAX_READS):
        before = manager.deliveries(room)
        value = read(user_id)
        if manager.deliveries(room) == before:
            break
    return value
