"""From an event to its sockets: in this process, and through Redis in all of them. It knows nothing of BitTrade's events."""

import hashlib
import hmac
import logging
import random
import time
from collections.abc import Iterator
from typing import Any

import redis
import socketio
from engineio.packet import MESSAGE, Packet
from redis.backoff import NoBackoff
from redis.retry import Retry
from socketio.packet import EVENT

import redis_address
from bittrade import metrics
from bittrade.extensions import FAST_LIMITS
from bittrade.logs import warn_seldom

log = logging.getLogger(__name__)

# How long nothing is published after a failure, and how long a silent connection is believed to be alive.
WRITER_PAUSE_S = 0.5
MARK_BYTES = 32  # 128 bits in hexadecimal, before each message
SILENCE_S = 5.0
# An event of a room says what the last so many before it said; what it jumps over beyond that was told to nobody.
MAX_SKIPPED = 15


class LocalDelivery(socketio.Manager):
    """Delivers to this process' own sockets, and remembers what they have heard.

    Two processes may publish one user's trades in the other order than they committed them. Such events carry the
    user's `seq`, and what came later says more than what it overtook: a room never gets an event that is older than what
    any of its sockets already got.
    """

    def __init__(self) -> None:
        super().__init__()
        # Room → event → the highest seq that any socket in it has got.
        self._newest: dict[str, dict[str, int]] = {}
        self._heard: dict[str, dict[str, int]] = {}  # the same, of what all of them have got
        self._skipped: dict[str, int] = {}  # room → the seq before a jump over more than any event tells of
        self._news: dict[str, dict[str, Any]] = {}  # event → what everyone has heard last
        self._deliveries = [0] * 1024  # by the room's hash: nearly as good as one a room, and never more

    def is_anybody_here(self, namespace: str) -> bool:
        return bool(self.rooms.get(namespace, {}).get(None))

    def forget_news(self) -> None:
        """Whoever comes next has heard nothing."""
        self._news.clear()

    def news(self, event: str) -> dict[str, Any] | None:
        """What everyone in this process has heard last under this name."""
        return self._news.get(event)

    def note_news(self, event: str, payload: dict[str, Any]) -> None:
        """A newcomer was told this: where nothing else was told to everyone, it is what all have heard."""
        self._news.setdefault(event, payload)

    def heard(self, room: str, event: str) -> int:
        """The `seq` up to which all sockets of this room have heard this event."""
        return self._heard.get(room, {}).get(event, 0)

    def has_skipped(self, room: str) -> bool:
        return room in self._skipped

    def take_skipped(self, room: str) -> int | None:
        """The `seq` after which this room was not told everything: the caller tells it, or notes it again."""
        return self._skipped.pop(room, None)

    def note_skipped(self, room: str, since: int) -> None:
        if room in self._heard:
            self._skipped[room] = min(since, self._skipped.get(room, since))

    def note_one_told(self, room: str, event: str, seq: int) -> None:
        """One socket has just joined the room and knows everything up to `seq`."""
        self._note_newest(room, event, seq)
        heard = self._heard.setdefault(room, {})
        heard[event] = min(seq, heard.get(event, seq))

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
            if isinstance(data, dict):
                self._news[event] = data
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
        if not self._note_newest(str(room), event, seq):
            return True
        heard = self._heard.setdefault(str(room), {})
        if seq - heard.get(event, seq) > MAX_SKIPPED:
            self.note_skipped(str(room), heard[event])
        heard[event] = seq
        return False

    def _note_newest(self, room: str, event: str, seq: int) -> bool:
        """False when somebody in the room has already got something newer."""
        newest = self._newest.setdefault(room, {})
        if seq < newest.get(event, 0):
            return False
        newest[event] = seq
        return True

    def basic_leave_room(self, sid: str, namespace: str, room: str | None) -> None:
        super().basic_leave_room(sid, namespace, room)
        if room is not None and room not in self.rooms.get(namespace, {}):
            self._newest.pop(room, None)
            self._heard.pop(room, None)
            self._skipped.pop(room, None)


class Seal:
    """Marks messages as an installation's own. Whoever can write to Redis, but has no secret, cannot."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"bittrade socket events\0" + secret.encode()).digest()

    def close(self, message: str) -> bytes:
        body = message.encode()
        return self._mark(body) + body

    def open(self, message: bytes) -> bytes | None:
        """Return the message without its mark; None where the mark is not ours."""
        mark, body = message[:MARK_BYTES], message[MARK_BYTES:]
        return body if hmac.compare_digest(mark, self._mark(body)) else None

    def _mark(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256").hex()[:MARK_BYTES].encode()


class PatientRedisManager(socketio.RedisManager, LocalDelivery):
    """Carries events between processes, and takes Redis as it comes.

    It listens again within a second of Redis' return (the library's own back-off grows to a minute), notices a
    connection that has died without a word, and waits for a Redis that hangs once, not once an event.
    """

    def __init__(self, url: str, *, channel: str, seal: Seal) -> None:
        super().__init__(url, channel=channel, redis_options=FAST_LIMITS)  # type: ignore[call-arg]
        self._seal = seal
        self._writer: redis.Redis | None = None
        self._silent_until = 0.0

    def _publish(self, data: Any) -> None:
        """Tell the other processes; our own sockets have been told already."""
        if time.monotonic() < self._silent_until:
            metrics.EVENTS.count("unpublished")
            return
        try:
            self._publish_now(self._seal.close(self.json.dumps(data)))
            metrics.EVENTS.count("published")
        except redis.RedisError as error:
            metrics.EVENTS.count("unpublished")
            warn_seldom(log, "could not publish a socket event: %s", error)

    def _publish_now(self, message: bytes) -> None:
        if self._writer is None:
            # Once more where a pooled connection has died, but not where Redis hangs.
            retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
            self._writer = redis_address.connect(self.redis_url, retry=retry, **FAST_LIMITS)
        try:
            self._writer.publish(self.channel, message)
        except redis.RedisError:
            self._silent_until = time.monotonic() + WRITER_PAUSE_S
            raise

    def _listen(self) -> Iterator[bytes]:
        """Yield what our own processes published; whatever another wrote is counted and dropped."""
        for message in self._redis_listen_with_retries():
            opened = self._seal.open(message["data"])
            if opened is None:
                metrics.EVENTS.count("foreign")
                warn_seldom(log, "dropped a socket event that no process of this installation published")
            else:
                yield opened

    def _listener(self) -> redis.Redis:
        # It must not reconnect by itself: each time it is lost and found belongs in the log.
        return redis_address.connect(self.redis_url, retry=Retry(NoBackoff(), 0), **FAST_LIMITS)

    def _redis_listen_with_retries(self) -> Iterator[dict[str, Any]]:
        was_lost = False
        while True:
            try:
                with self._listener() as client:
                    pubsub = client.pubsub(ignore_subscribe_messages=True)
                    pubsub.subscribe(self.channel)
                    if was_lost:
                        log.warning("listening to socket events again")
                        was_lost = False
                    yield from _messages(pubsub)
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
