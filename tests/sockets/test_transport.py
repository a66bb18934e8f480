"""What lies under the events: frames, limits, refusals, and Redis between processes."""

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from types import SimpleNamespace

import gevent
import pytest
import redis
from engineio.packet import MESSAGE, Packet
from flask import Flask
from flask.testing import FlaskClient
from gevent import socket as gevent_socket
from gevent.queue import Empty
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from bittrade.sockets import delivery, transport
from bittrade.sockets.delivery import PatientRedisManager, Seal
from bittrade.sockets.transport import (
    BYTES_AT_ONCE,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    MESSAGES_AT_ONCE,
    Allowance,
    Outbox,
    WebSocket,
)
from dev.services import PrivateRedis
from tests.fixtures import wait_until

CHANNEL, SECRET = "bittrade:one:socket-events", "a secret of this installation"
FRAMES = 15_000
Pair = tuple[gevent_socket.socket, gevent_socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of a connection that holds little, so that writes are cut in pieces."""
    ours, theirs = gevent_socket.socketpair()
    ours.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_SNDBUF, 2048)
    yield ours, theirs
    ours.close()
    theirs.close()


def opened(connection: gevent_socket.socket, *, timeout_s: float = 20) -> Outbox:
    """An Outbox that writes to this connection."""
    outbox = Outbox()
    outbox.attach(WebSocket(connection, outbox, max_bytes=1000, timeout_s=timeout_s))
    connection.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_SNDBUF, 2048)
    return outbox


def said(text: str, *, news: str | None = None) -> Packet:
    packet = Packet(MESSAGE, text)
    if news:
        packet.news = news
    return packet


def heard(connection: gevent_socket.socket, count: int) -> Iterator[str]:
    """The texts of so many frames, as a WebSocket client understands them."""
    protocol, text = Connection(ConnectionType.CLIENT), ""
    while count:
        protocol.receive_data(connection.recv(4096))
        for event in protocol.events():
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                yield text[1:]
                text, count = "", count - 1


def test_a_slow_reader_gets_whole_frames_in_order(pair: Pair) -> None:
    """From two senders, in bursts that are larger than what the system takes."""
    ours, theirs = pair
    outbox = opened(ours)

    def write(letter: str) -> None:
        for number in range(FRAMES):
            while len(outbox) > MAX_WAITING // 2:
                gevent.sleep(0.001)
            outbox.put(said(letter * (number % 700 + 1)))

    writers = [gevent.spawn(write, letter) for letter in "ab"]
    with gevent.Timeout(30):  # a lost half of a frame is waited for in vain
        frames = list(heard(theirs, 2 * FRAMES))
    gevent.joinall(writers, raise_error=True)
    assert all(len(set(frame)) == 1 for frame in frames)
    for letter in "ab":
        assert [len(frame) for frame in frames if frame[0] == letter] == [n % 700 + 1 for n in range(FRAMES)]


@pytest.mark.parametrize(("size", "most"), [(100, MAX_WAITING), (4000, MAX_WAITING_BYTES // 4000)])
def test_who_does_not_read_is_cut_and_costs_nothing(pair: Pair, size: int, most: int) -> None:
    ours, theirs = pair
    outbox = opened(ours)
    packets = [said(f"{number:{size}}") for number in range(3 * MAX_WAITING)]
    kept = []
    for packet in packets:
        outbox.put(packet)
        kept.append(len(outbox))
    assert 0.9 * most <= max(kept) <= most
    assert kept[-1] == 0
    references = [weakref.ref(packet) for packet in packets]
    del packets, packet
    wait_until(lambda: gevent.sleep(0.01) is None and not any(reference() for reference in references))
    assert ours.recv(1) == b""  # the reader of the other direction wakes and leaves
    with gevent.Timeout(5), suppress(ConnectionResetError):
        while theirs.recv(65536):
            pass


def test_of_news_to_everyone_the_latest_waits(pair: Pair) -> None:
    ours, theirs = pair
    outbox = opened(ours)
    outbox.put(said("x" * 100_000))  # more than the system takes: the rest waits for the reader
    for number in range(10 * MAX_WAITING):
        outbox.put(said(f"price {number}", news="btc_price_update"))
        if number < 3:
            outbox.put(said(f"balance {number}"))
    with gevent.Timeout(5):
        assert list(heard(theirs, 5))[1:] == [
            f"price {10 * MAX_WAITING - 1}",
            "balance 0",
            "balance 1",
            "balance 2",
        ]


def test_a_packet_is_framed_once_for_all(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    packet = said("to everyone")
    frame = transport.frame_of(packet)
    monkeypatch.setattr(packet, "encode", lambda: pytest.fail("it was encoded again"))
    outboxes = [opened(ours) for ours in (pair[0], gevent_socket.socketpair()[0])]
    for outbox in outboxes:
        outbox.put(packet)
    assert pair[1].recv(100) == frame


def test_polls_fetch_what_waits_and_a_second_one_at_a_time_is_refused() -> None:
    outbox = Outbox()
    polls = [gevent.spawn(outbox.get, timeout=60) for _ in range(2)]
    gevent.sleep(0)
    outbox.put(said("one"))
    outbox.put(None)
    gevent.joinall(polls, timeout=60)
    assert polls[0].value.data == "one"
    assert isinstance(polls[1].exception, Empty)
    assert outbox.get(block=False) is None
    with pytest.raises(Empty):
        outbox.get(timeout=0.01)


def test_a_polling_client_that_never_comes_back_is_cut_too() -> None:
    outbox = Outbox()
    for number in range(3 * MAX_WAITING):
        outbox.put(said(str(number)))
    assert len(outbox) == 0
    with pytest.raises(Empty):  # engineio then ends the session
        outbox.get(timeout=60)


@pytest.mark.parametrize(("messages", "is_cut"), [(MESSAGES_AT_ONCE, False), (MESSAGES_AT_ONCE * 3, True)])
def test_a_client_may_send_so_many_messages_at_once_and_no_more(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, messages: int, is_cut: bool
) -> None:
    """They are small: the limit of bytes would let them all through."""
    monkeypatch.setattr(transport, "time", SimpleNamespace(monotonic=lambda: 1000.0))  # no second passes
    ours, theirs = pair
    websocket = WebSocket(ours, Outbox(), max_bytes=1000, timeout_s=60)
    client = Connection(ConnectionType.CLIENT)
    frames = b"".join(client.send(TextMessage("2")) for _ in range(messages))
    assert len(frames) < BYTES_AT_ONCE
    sending = gevent.spawn(theirs.sendall, frames)
    read = 0
    with pytest.raises(ConnectionAbortedError) if is_cut else nullcontext():
        for _ in websocket.messages():
            read += 1
            if read == messages:
                break
    sending.kill()
    assert read == min(messages, MESSAGES_AT_ONCE)


def test_an_allowance_is_spent_and_grows_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(transport, "time", SimpleNamespace(monotonic=lambda: now))
    allowance = Allowance(per_s=10, at_once=3)
    for _ in range(3):
        allowance.take(1)
    with pytest.raises(ConnectionAbortedError):
        allowance.take(1)
    now += 0.5  # half a second: five more, one of which is owed, and never more than three
    allowance.take(2)
    now += 60  # never more than what is allowed at once
    with pytest.raises(ConnectionAbortedError):
        allowance.take(4)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("transport=carrier-pigeon", "Invalid transport"),
        ("EIO=4&transport=polling&sid=nobody", "Invalid session nobody"),
        ("EIO=3&transport=polling", "unsupported version"),
        ("EIO=4&transport=websocket", "Invalid websocket upgrade"),
    ],
)
def test_refusals_have_the_shape_of_all_errors(client: FlaskClient, query: str, reason: str) -> None:
    answer = client.get(f"/socket.io/?{query}", headers={"Origin": "https://shop.example"})
    assert answer.status_code == 400
    assert answer.mimetype == "application/json"
    assert answer.json["code"] == "bad_request"
    assert reason in answer.json["error"]
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"


def test_several_processes_refuse_polling_and_say_what_to_do(new_app: Callable[..., Flask]) -> None:
    polling = "/socket.io/?EIO=4&transport=polling"
    one, several = new_app(WEB_CONCURRENCY=1), new_app(WEB_CONCURRENCY=2)
    assert one.test_client().get(polling).status_code == 200
    answer = several.test_client().get(polling)
    assert (answer.status_code, answer.json["code"]) == (400, "websocket_only")
    assert "transports: ['websocket']" in answer.json["error"]


# --- Redis between processes --------------------------------------------------------------------------------------


def test_an_unsent_event_costs_one_time_out_and_no_error(
    private_redis: PrivateRedis, caplog: pytest.LogCaptureFixture
) -> None:
    writer = PatientRedisManager(private_redis.url, channel=CHANNEL, seal=Seal(SECRET))
    with redis.Redis.from_url(private_redis.url).pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANNEL)
        writer._publish({"method": "first"})
        assert Seal(SECRET).open(_next(listener)) == b'{"method": "first"}'
        private_redis.hang()
        began = time.monotonic()
        for _ in range(50):
            writer._publish({"method": "lost"})
        assert 0.4 < time.monotonic() - began < 20  # not the 25 s that fifty take one after another
        private_redis.resume()
        assert "could not publish a socket event" in caplog.text


def _next(listener: "redis.client.PubSub") -> bytes:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        message = listener.get_message(timeout=1)
        if message:
            data: bytes = message["data"]
            return data
    pytest.fail("nothing was published")


def test_a_listener_notices_a_redis_that_hangs(
    private_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection stays open, and listening to it for ever would be deafness."""
    monkeypatch.setattr(delivery, "SILENCE_S", 0.1)
    manager = PatientRedisManager(private_redis.url, channel=CHANNEL, seal=Seal(SECRET))
    with manager._listener() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANNEL)
        messages = delivery._messages(listener)
        client.publish(CHANNEL, b"one")
        assert next(messages)["data"] == b"one"
        private_redis.hang()
        with pytest.raises(redis.ConnectionError):
            next(messages)


def test_a_quiet_channel_is_asked_and_believed(
    private_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SILENCE_S", 0.02)
    manager = PatientRedisManager(private_redis.url, channel=CHANNEL, seal=Seal(SECRET))
    with manager._listener() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANNEL)
        later = threading.Timer(0.3, client.publish, [CHANNEL, b"late"])  # fifteen silences long
        later.start()
        assert next(delivery._messages(listener))["data"] == b"late"
        later.join()
