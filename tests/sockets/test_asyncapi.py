"""docs/asyncapi.json says what the code does. Every event of every test here is held to it (conftest.py)."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import ValidationError

from bittrade import broadcast, sockets
from tests.sockets.documented import DOCUMENT, names_of, validator_of
from tests.sockets.test_events import Connect, MakeUser, trade


def test_it_is_asyncapi_3_and_every_message_is_somebodys() -> None:
    assert DOCUMENT["asyncapi"].startswith("3.")
    channel, messages = DOCUMENT["channels"]["root"], DOCUMENT["components"]["messages"]
    assert set(channel["messages"]) == set(messages) == names_of("send") | names_of("receive")
    assert not names_of("send") & names_of("receive")
    for name, message in messages.items():
        assert message["name"] == name
        assert channel["messages"][name] == {"$ref": f"#/components/messages/{name}"}


def test_what_it_receives_is_what_is_heard() -> None:
    assert names_of("receive") == sockets.CLIENT_EVENTS


@pytest.mark.usefixtures("price")
def test_what_it_sends_is_what_is_sent(
    app: Flask, client: FlaskClient, connect: Connect, make_user: MakeUser
) -> None:
    person = make_user(inr=10_000)
    socket = connect()
    events = socket.got() + socket.authenticate("nonsense") + socket.authenticate(person.token)
    trade(client, person)
    events += socket.got() + socket.send("resume", {"token": person.token, "last_seq": 0})
    with app.app_context():
        sockets.beat()
        status: dict[str, Any] = {"feed": "none", "trading": "no_price", "source": None, "as_of": None}
        broadcast.market_status({**status, "age_ms": None})
    events += socket.got()
    assert {name for name, _ in events} == names_of("send")


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("heartbeat", {"price_age_ms": None, "timestamp": "2024-07-20T10:30:00Z"}),
        ("heartbeat", {"price_age_ms": None}),
        ("heartbeat", {"price_age_ms": 1, "timestamp": "2024-07-20T10:30:00.000Z", "more": 1}),
        ("authentication_success", {"message": "x", "userId": 1, "email": "a@example.com"}),
    ],
)
def test_it_refuses_what_is_not_so(event: str, payload: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validator_of(event).validate(payload)
