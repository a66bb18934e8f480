"""From an event to its sockets: in this process, and through Redis in all of them. It knows nothing of BitTrade."""

import logging
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import redis
import socketio
from engineio.packet import MESSAGE, Packet
from redis.backoff import NoBackoff
from redis.retry import Retry
from socketio.packet import EVENT

from bittrade.extensions import FAST_LIMITS

log = logging.getLogger(__name__)

# What Flask-SocketIO listens on; python-socketio's own default differs, and a writer that used it would be unheard.
SOCKET_CHANNEL = "flask-socketio"
# What a process says that could not publish for a while; the library ignores it.
MISSED = b'"missed"'
# How long nothing is published after a failure, and how long a silent connection is believed to be alive.
WRITER_PAUSE_S = 0.5
SILENCE_S = 5.0


class LocalDelivery(socketio.Manager):
    """Delivers to this process' own sockets; a room never gets an event that is older than what it already got.

    Two processes may publish one user's trades in the other order than they committed them. Such events carry the
    user's `seq`: what came later says more than what it overtook.
    """

    has_missed = False  # events of other processes may have been lost; who repairs it sets it back

    def __init__(self) -> None:
        super().__init__()
        self._newest: dict[str, dict[str, int]] = {}  # room → event → seq
        self._broadcasts: Counter[str] = Counter()
        self._deliveries = [0] * 1024  # by the room's hash: nearly as good as one a room, and never more

    def broadcasts(self, event: str) -> int:
        """How often this event went to everyone."""
        return self._broadcasts[event]

    def deliveries(self, room: str) -> int:
        """A number that grows whenever something went to this room, and now and then with another's."""
        return self._deliveries[hash(room) % len(self._deliveries)]

    def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: str | None = None,
        skip_sid: Any = None,
        callback: Any = None,
        to: str | None = None,
        **kwargs: Any,
    ) -> None:
        room = to or room
        if self._is_overtaken(event, data, namespace, room):
            return
        if room is None:
            self._broadcasts[event] += 1
        elif not self.is_sid_room(namespace, room):
            self._deliveries[hash(room) % len(self._deliveries)] += 1
        if callback or skip_sid or namespace not in self.rooms:
            super().emit(event, data, namespace, room=room, skip_sid=skip_sid, callback=callback, **kwargs)
        else:
            self._send(event, data, namespace, room)

    def _send(self, event: str, data: Any, namespace: str, room: str | None) -> None:
        """As the base class does it, one packet for all; what goes to everyone is marked as news."""
        arguments = list(data) if isinstance(data, tuple) else [] if data is None else [data]
        encoded = self.server.packet_class(EVENT, namespace=namespace, data=[event, *arguments]).encode()
        packets = [Packet(MESSAGE, part) for part in (encoded if isinstance(encoded, list) else [encoded])]
        if room is None and len(packets) == 1:
            packets[0].news = event  # transport.Outbox looks for it
        send = self.server._send_eio_packet
        for _sid, eio_sid in self.get_participants(namespace, room):
            for packet in packets:
                send(eio_sid, packet)

    def _is_overtaken(self, event: str, data: Any, namespace: str, room: str | None) -> bool:
        seq = data.get("seq") if isinstance(data, dict) else None
        if seq is None or room not in self.rooms.get(namespace, {}) or self.is_sid_room(namespace, room):
            return False
        return not self.note_sent(str(room), event, seq)

    def note_sent(self, room: str, event: str, seq: int) -> bool:
        """Remember that the room has got this; False when it already got something newer."""
        newest = self._newest.setdefault(room, {})
        if seq < newest.get(event, 0):
            return False
        newest[event] = seq
        return True

    def basic_leave_room(self, sid: str, namespace: str, room: str | None) -> None:
        super().basic_leave_room(sid, namespace, room)
        if room in self._newest and room not in self.rooms.get(namespace, {}):
            del self._newest[room]


class PatientRedisManager(socketio.RedisManager, LocalDelivery):
    """Carries events between processes, and takes Redis as it comes.

    It listens again within a second of Redis' return (the library's own back-off grows to a minute), notices a
    connection that has died without a word, and waits for a Redis that hangs once, not once an event.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, channel=SOCKET_CHANNEL, redis_options=FAST_LIMITS)  # type: ignore[call-arg]
        self._writer: redis.Redis | None = None
        self._silent_until = 0.0
        self._unsent = 0
        self._is_owning_up = False

    def _publish(self, data: Any) -> None:
        """Tell the other processes; our own sockets have been told already."""
        if time.monotonic() < self._silent_until:
            self._unsent += 1
            return
        try:
            self._publish_now(self.json.dumps(data))
        except redis.RedisError as error:
            log.warning("could not publish a socket event: %s", error)
            self._unsent += 1
            if not self._is_owning_up and hasattr(self, "thread"):  # a server; a job or command ends soon
                self._is_owning_up = True
                self.server.start_background_task(self._own_up)

    def _own_up(self) -> None:
        """Tell the other processes, as soon as they can hear it, that they have missed something."""
        while self._is_owning_up:
            self.server.sleep(WRITER_PAUSE_S)
            try:
                self._publish_now(MISSED)
                self._is_owning_up = False
            except redis.RedisError:
                continue
        log.warning("Redis is back; %d socket events were not published", self._unsent)
        self._unsent = 0

    def _publish_now(self, message: str | bytes) -> None:
        if self._writer is None:
            # Once more where a pooled connection has died, but not where Redis hangs.
            retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
            self._writer = redis.Redis.from_url(self.redis_url, retry=retry, **FAST_LIMITS)
        try:
            self._writer.publish(self.channel, message)
        except redis.RedisError:
            self._silent_until = time.monotonic() + WRITER_PAUSE_S
            raise

    def _listener(self) -> redis.Redis:
        # It must not reconnect by itself: nobody would know that something may have been missed.
        return redis.Redis.from_url(self.redis_url, retry=Retry(NoBackoff(), 0), **FAST_LIMITS)

    def _redis_listen_with_retries(self) -> Iterator[dict[str, Any]]:
        was_lost = False
        while True:
            try:
                with redis.Redis.from_url(
                    self.redis_url, retry=Retry(NoBackoff(), 0), **FAST_LIMITS
                ) as client:
                    pubsub = client.pubsub(ignore_subscribe_messages=True)
                    pubsub.subscribe(self.channel)
                    if was_lost:
                        log.warning("listening to socket events again")
                        was_lost, self.has_missed = False, True
                    for message in _messages(pubsub):
                        if message["data"] == MISSED:
                            self.has_missed = True
                        else:
                            yield message
            except (redis.RedisError, OSError) as error:
                if not was_lost:
                    log.warning("cannot listen to socket events: %s; trying again each second", error)
                was_lost = True
                time.sleep(0.5 + random.random() / 2)  # noqa: S311 - spreads reconnects, no secret


def _messages(pubsub: Any) -> Iterator[dict[str, Any]]:
    """What arrives on a subscription. Raises redis.ConnectionError when it answers no more."""
    is_asked = False
    while True:
        message = pubsub.get_message(timeout=SILENCE_S)
        if message is not None:
            is_asked = False
            if message["type"] == "message":
                yield message
        elif is_asked:
            raise redis.ConnectionError("no answer to a ping")
        else:
            pubsub.ping()
            is_asked = True
