"""The private names that bittrade.sockets uses of its pinned libraries are there, and take what it gives them."""

import inspect
from typing import Any

import engineio
import engineio.socket
import pytest
import socketio
from engineio.async_drivers import gevent as gevent_driver
from gevent import socket as gevent_socket

PRIVATE = {
    socketio.Server: {
        "_handle_event": ["self", "eio_sid", "namespace", "id", "data"],
        "_handle_eio_message": ["self", "eio_sid", "data"],
        "_handle_connect": ["self", "eio_sid", "namespace", "data"],
        "_send_packet": ["self", "eio_sid", "pkt"],
        "_handle_eio_connect": ["self", "eio_sid", "environ"],
        "_handle_eio_disconnect": ["self", "eio_sid", "reason"],
        "_send_eio_packet": ["self", "eio_sid", "eio_pkt"],
    },
    engineio.Server: {
        "_bad_request": ["self", "message"],
        "generate_id": ["self"],
        "handle_request": ["self", "environ", "start_response"],
    },
    engineio.socket.Socket: {
        "_websocket_handler": ["self", "ws"],
        "receive": ["self", "pkt"],
        "close": ["self", "wait", "abort", "reason"],
        "schedule_ping": ["self"],
    },
    socketio.RedisManager: {
        "_publish": ["self", "data"],
        "_redis_listen_with_retries": ["self"],
    },
    gevent_socket.socket: {"send": ["self", "data", "flags", "timeout"]},
}


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in PRIVATE.items() for name in names]
)
def test_a_private_name_is_still_there(owner: Any, name: str) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == PRIVATE[owner][name]


def test_engineio_takes_its_queue_and_its_websocket_from_the_driver() -> None:
    assert {"queue", "queue_empty", "websocket"} <= set(gevent_driver._async)
    server = engineio.Server(async_mode="gevent")
    made: list[object] = []
    server._async = {**server._async, "queue": lambda: made.append(object()) or made[-1]}  # type: ignore[func-returns-value]
    session = engineio.socket.Socket(server, "sid")
    assert session.queue is made[0]
    assert not any((session.connected, session.upgrading, session.upgraded, session.closing, session.closed))
    assert session.last_ping
    assert session.sid == "sid"
    assert server.sockets == {}
