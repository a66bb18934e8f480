"""Sockets in this process: flask-socketio's test client, on the delivery that a server uses, without Redis' part of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from bittrade import sockets
from bittrade.extensions import socketio
from bittrade.sockets.delivery import LocalDelivery
from tests.sockets.documented import validator_of


class Client:
    """A connected socket, and what it has got since it was last asked."""

    def __init__(self, app: Flask, **options: Any) -> None:
        self._client = socketio.test_client(app, **options)

    @property
    def sid(self) -> str:
        sid: str = socketio.server.manager.sid_from_eio_sid(self._client.eio_sid, "/")
        return sid

    def got(self) -> list[tuple[str, Any]]:
        """Events and payloads, each as docs/asyncapi.json describes it."""
        events = [(event["name"], event["args"][0]) for event in self._client.get_received()]
        for name, payload in events:
            validator_of(name).validate(payload)
        return events

    def names(self) -> list[str]:
        return [name for name, _ in self.got()]

    def emit(self, event: str, *args: Any) -> None:
        self._client.emit(event, *args)

    def send(self, event: str, *args: Any) -> list[tuple[str, Any]]:
        self.emit(event, *args)
        return self.got()

    def authenticate(self, token: Any) -> list[tuple[str, Any]]:
        return self.send("authenticate", token)

    def is_connected(self) -> bool:
        return bool(self._client.is_connected())

    def leave(self) -> None:
        self._client.disconnect()


@pytest.fixture
def connect(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Client]]:
    """Open a socket: connect(), connect(auth={"token": ...})."""
    server, made = socketio.server, []
    delivery = LocalDelivery()
    delivery.set_server(server)
    monkeypatch.setattr(server, "manager", delivery)  # the test client refuses to work with a message queue
    monkeypatch.setattr(sockets, "_start_sweeping", lambda app: None)  # the tests sweep when they want to
    for name in (
        "_send_packet",
        "_send_eio_packet",
        "async_handlers",
    ):  # what the test client replaces for good
        monkeypatch.setattr(server, name, getattr(server, name))

    def make(**options: Any) -> Client:
        made.append(Client(app, **options))
        return made[-1]

    yield make
    for client in made:
        if client.is_connected():
            client.leave()
    assert not sockets._members
