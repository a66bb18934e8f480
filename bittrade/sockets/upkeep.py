"""Each second, in each process with sockets: whose token has ended is put out, and what they were not told is told.

An event can get lost in many ways: Redis is away, or restarts; a process is killed between its commit and its word;
the rows of a message cannot be read. None of them has to be noticed. What the database holds is compared with what this
process' sockets have heard, and who is behind at two looks, having heard nothing in between, is told. So nobody stays out
of step for longer than two looks take, also while Redis is still away.
"""

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from flask import Flask

from bittrade import metrics, wire
from bittrade.broadcast import stamped, user_room
from bittrade.errors import BitTradeError, TokenInvalid
from bittrade.extensions import socketio
from bittrade.services import audit, auth, market, traffic, user_data
from bittrade.services.audit import Origin
from bittrade.sockets import members
from bittrade.sockets.gate import NAMESPACE
from bittrade.sockets.members import USER_EVENTS
from bittrade.sockets.staff import StaffNews

log = logging.getLogger(__name__)
T = TypeVar("T", bound=Hashable)
LOOK_EACH_S = 1.0
HEARTBEAT_S = 15.0
NOTE_EACH_S = 10.0  # who listens here; far below cache.USER_LISTENS_TTL_S
# Clocks of several hosts differ, and a commit takes a moment to be seen: look back further than one look.
OVERLAP = timedelta(seconds=30)
PRICE, STATUS = "btc_price_update", "market_status"
# What of the news counts as a change; their times change always.
GIST = {PRICE: ("btc_usd_price", "buy_rate_inr", "sell_rate_inr"), STATUS: ("feed", "trading")}
Payload = dict[str, Any]
COUNTED = {
    "events": metrics.EVENTS,
    "sockets refused,": metrics.SOCKETS_REFUSED,
    "sockets cut,": metrics.SOCKETS_CUT,
    "socket events refused": metrics.SOCKET_EVENTS_REFUSED,
    "connections refused": metrics.CONNECTIONS_REFUSED,
}


class Overdue(Generic[T]):
    """Tells what is behind for good from what is on its way."""

    def __init__(self) -> None:
        self._behind: dict[T, Any] = {}

    def among(self, behind: dict[T, Any]) -> list[T]:
        """Of those that are behind, with what each has heard last: who was behind before, and has heard nothing since."""
        overdue = [who for who, heard in behind.items() if who in self._behind and self._behind[who] == heard]
        self._behind = behind
        return overdue


class Upkeep:
    """Looks after the sockets of one application."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._is_started = False
        self._swept_at = wire.now()
        self._news: dict[str, Payload] | None = None  # as the database had them at the last look
        self._reading = threading.Lock()
        self._news_behind: Overdue[str] = Overdue()
        self._users_behind: Overdue[int] = Overdue()
        self._noted_at = -math.inf
        self.staff_news = StaffNews()

    def start(self) -> None:
        """Begin, unless it has begun; not before the first socket, because the process may still fork."""
        if not self._is_started:
            self._is_started = True
            self._swept_at = wire.now()
            socketio.start_background_task(
                self._repeat, LOOK_EACH_S, (self._sweep_since_last, self.reconcile, self.staff_news.look)
            )
            # Apart from what may wait for the database: who hears no heartbeat believes that the server is dead.
            socketio.start_background_task(self._repeat, HEARTBEAT_S, (self.beat, self._report))

    def _repeat(self, each_s: float, steps: tuple[Callable[[], None], ...]) -> None:
        audit.origin.set(Origin())  # of nobody: a thread may have begun with what its starter was about
        while True:
            socketio.sleep(each_s)
            for step in steps:
                try:
                    with self._app.app_context():
                        step()
                except BitTradeError as error:
                    log.warning("looking after the sockets: %s", error.message)
                except Exception:
                    log.exception("looking after the sockets")

    # --- tokens that ended --------------------------------------------------------------------------------------------

    def _sweep_since_last(self) -> None:
        started_at = wire.now()
        self.sweep(since=self._swept_at - OVERLAP)
        self._swept_at = started_at  # not before: while the database is away, revocations pile up

    def sweep(self, since: datetime | None = None) -> None:
        """Put out every socket of this process whose token has expired, or was revoked after `since`."""
        now = wire.now()
        for sid, member in members.list_all():
            if member.identity.expires_at <= now:
                members.put_out(sid, member)
        left = members.list_all()
        if not left:
            return
        ended = auth.list_ended_users(since=since or now - OVERLAP)
        for sid, member in left:
            if member.identity.user_id in ended and not _is_good(member.token):
                members.put_out(sid, member)

    # --- what was not heard -------------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Tell these sockets what the database holds and they have not heard. Raises DatabaseUnavailable."""
        self._reconcile_news()
        self._reconcile_users()

    def _reconcile_news(self) -> None:
        manager = socketio.server.manager
        if not manager.is_anybody_here(NAMESPACE):
            self._news = None
            manager.forget_news()
            return
        self._news = news = market.read_news()
        behind = {}
        for event, payload in news.items():
            heard = manager.news(event)
            if heard is None and event == STATUS:
                manager.note_news(event, payload)  # only a change of it is told, and this is none
            elif heard is None or _gist(event, heard) != _gist(event, payload):
                behind[event] = heard and heard.get("timestamp")
        for event in self._news_behind.among(behind):
            metrics.EVENTS.count("repaired")
            members.tell(None, event, news[event])

    def _reconcile_users(self) -> None:
        manager = socketio.server.manager
        users = {member.identity.user_id for _, member in members.list_all()}
        self._note_listeners(users)
        behind = {}
        for user_id, seq in user_data.find_seqs(users).items():
            heard = min(manager.heard(user_room(user_id), event) for event in USER_EVENTS)
            if heard < seq:
                behind[user_id] = heard
        _for_each(self._users_behind.among(behind), _tell_again)
        skipped = [user_id for user_id in users if manager.has_skipped(user_room(user_id))]
        _for_each(skipped, _tell_missed)

    def _note_listeners(self, users: set[int]) -> None:
        if users and time.monotonic() - self._noted_at >= NOTE_EACH_S:
            self._noted_at = time.monotonic()
            user_data.note_listeners(users)

    # --- what a newcomer hears, and the heartbeat ---------------------------------------------------------------------

    def find_price(self) -> Payload | None:
        """`btc_price_update` for a new socket: what all others have heard, with its age of now. None before the first.

        It asks nobody, but for a process' first socket: after a restart a thousand come at once.
        """
        manager = socketio.server.manager
        read, heard = self._read_once().get(PRICE), manager.news(PRICE)
        is_known = heard is None or (read is not None and _gist(PRICE, read) == _gist(PRICE, heard))
        price = read if is_known else heard
        if price is None:
            return None
        manager.note_news(PRICE, price)
        return market.with_age_of_now(price)

    def _read_once(self) -> dict[str, Payload]:
        with self._reading:
            if self._news is None:
                try:
                    self._news = market.read_news()
                except BitTradeError as error:
                    # The others that come now need not wait for the database one after the other: the next look tells all.
                    log.warning("no price for a new socket: %s", error.message)
                    self._news = {}
            return self._news

    def beat(self) -> None:
        """Tell the time, and how old the price is: a client that hears nothing knows that it is deaf."""
        price = (self._news or {}).get(PRICE)
        age_ms = market.with_age_of_now(price)["age_ms"] if price else None
        members.tell(None, "heartbeat", stamped({"price_age_ms": age_ms}))

    def _report(self) -> None:
        audit.refusals.write_due()
        gate = self._app.extensions["bittrade_gate"]
        sizes = {"sockets": gate.count(), "members": len(members.list_all())}
        traffic.report(f"{socket.gethostname()}:{os.getpid()}", sizes | _counts())


def _counts() -> dict[str, int]:
    """Return what this process has counted of its sockets, in words."""
    return {
        " ".join((words, *labels)): int(count)
        for words, counter in COUNTED.items()
        for labels, count in counter.values.items()
    }


def _gist(event: str, payload: Payload) -> tuple[Any, ...]:
    return tuple(payload.get(name) for name in GIST[event])


def _for_each(user_ids: Iterable[int], tell: Callable[[int], None]) -> None:
    """One user's rows that cannot be shown keep nobody else waiting. Raises DatabaseUnavailable."""
    for user_id in user_ids:
        try:
            tell(user_id)
            metrics.EVENTS.count("repaired")
        except BitTradeError:
            raise
        except Exception:
            metrics.EVENTS.count("failed")
            log.exception("could not tell user %d what they have not heard", user_id)


def _tell_again(user_id: int) -> None:
    """Tell all of a user's sockets here the snapshot of now."""
    for event, payload in members.read_undisturbed(user_id, members.snapshot):
        members.tell(user_room(user_id), event, payload)


def _tell_missed(user_id: int) -> None:
    """Tell all of a user's sockets here every transaction since their latest word of it jumped over some."""
    manager, room = socketio.server.manager, user_room(user_id)
    since = manager.take_skipped(room)
    if since is None:
        return  # the last of them has left meanwhile
    try:
        event, payload = members.read_undisturbed(user_id, lambda user_id: members.missed(user_id, since)[1])
    except BitTradeError:
        manager.note_skipped(room, since)
        raise
    members.tell(room, event, payload)


def _is_good(token: str) -> bool:
    try:
        auth.authenticate(token)
    except TokenInvalid:
        return False
    return True
