"""Sockets in this process: flask-socketio's test client, on the delivery that a server uses, without Redis' part of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade.extensions import socketio
from bittrade.sockets import members
from bittrade.sockets.delivery import LocalDelivery
from bittrade.sockets.upkeep import Upkeep
from tests.fixtures import Person
from tests.sockets.documented import validator_of


class Client:
    """A connected socket, and what it has got since it was last asked."""

    def __init__(self, app: Flask, **options: Any) -> None:
        self._client = socketio.test_client(app, **options)

    @property
    def sid(self) -> str:
        sid: str = socketio.server.manager.sid_from_eio_sid(self._client.eio_sid, "/")
        return sid

    @property
    def eio_sid(self) -> str:
        return str(self._client.eio_sid)

    def got(self) -> list[tuple[str, Any]]:
        """Events and payloads, each as /api/asyncapi.json describes it."""
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


Connect = Callable[..., Client]
MakeUser = Callable[..., Person]
GREETING = ["user_balance_update", "user_transaction_update", "authentication_success"]
UPDATES = GREETING[:2]
REFUSAL = [
    ("authentication_error", {"message": "Authentication failed", "error": "Invalid or expired token"})
]


def names(events: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in events]


def trade(client: FlaskClient, person: Person, amount: str = "1000") -> None:
    body = {"action": "buy", "type": "market", "amount": amount, "currency": "inr"}
    answer = client.post("/api/trade", json=body, headers=person.headers)
    assert answer.status_code == 201, answer.json


def member(connect: Connect, token: str) -> Client:
    socket = connect()
    socket.got()
    assert names(socket.authenticate(token)) == GREETING
    return socket


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.fixture
def upkeep(app: Flask, connect: Callable[..., Client]) -> Iterator[Upkeep]:
    """What a server does each second: upkeep.sweep(), upkeep.reconcile(), upkeep.beat()."""
    with app.app_context():
        yield app.extensions["bittrade_upkeep"]


@pytest.fixture
def connect(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Client]]:
    """Open a socket: connect(), connect(auth={"token": ...})."""
    server, made = socketio.server, []
    delivery = LocalDelivery()
    delivery.set_server(server)
    monkeypatch.setattr(server, "manager", delivery)  # the test client refuses to work with a message queue
    monkeypatch.setitem(app.extensions, "bittrade_upkeep", Upkeep(app))
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
    assert not members.list_all()
