"""/api/asyncapi.json says what the code does. Every event of every test here is held to it (conftest.py)."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import ValidationError

from bittrade import broadcast
from bittrade.domain.roles import Role
from bittrade.services.auth import staff
from bittrade.sockets import clients
from bittrade.sockets.upkeep import Upkeep
from tests.sockets.conftest import Connect, MakeUser, names, trade
from tests.sockets.documented import DOCUMENT, answers_to, names_of, validator_of


def test_it_is_asyncapi_3_and_every_message_is_somebodys() -> None:
    assert DOCUMENT["asyncapi"].startswith("3.")
    channel, messages = DOCUMENT["channels"]["root"], DOCUMENT["components"]["messages"]
    assert set(channel["messages"]) == set(messages) == names_of("send") | names_of("receive")
    assert not names_of("send") & names_of("receive")
    for name, message in messages.items():
        assert message["name"] == name
        assert channel["messages"][name] == {"$ref": f"#/components/messages/{name}"}


def test_what_it_receives_is_what_is_heard() -> None:
    assert names_of("receive") == clients.EVENTS


@pytest.mark.usefixtures("price")
def test_what_it_sends_is_what_is_sent(
    app: Flask, client: FlaskClient, connect: Connect, make_user: MakeUser, upkeep: Upkeep
) -> None:
    person = make_user(inr=10_000, btc=10_000)
    with app.app_context():
        staff.set_role(person.id, Role.ADMIN, why="a test")
    socket = connect()
    events = socket.got() + socket.authenticate("nonsense") + socket.authenticate(person.token)
    trade(client, person)
    order = {"side": "buy", "type": "limit", "limit_price": 4_000_000, "amount": "100", "currency": "inr"}
    client.post("/api/orders", json=order, headers=person.headers)
    plan = {"plan_type": "DCA_BUY", "frequency": "DAILY", "amount_per_execution_inr": 100}
    client.post("/api/dca-plans", json=plan, headers=person.headers)
    loan = {"collateral_btc": 10_000, "borrow_inr": 1}
    client.post("/api/loans", json=loan, headers=person.headers)
    events += socket.got() + socket.send("resume", {"token": person.token, "last_seq": 0})
    with app.app_context():
        upkeep.beat()
        upkeep.staff_news.look()
        status: dict[str, Any] = {"feed": "none", "trading": "no_price", "source": None, "as_of": None}
        broadcast.market_status({**status, "age_ms": None})
    events += socket.got()
    assert {name for name, _ in events} == names_of("send")


@pytest.mark.usefixtures("price")
def test_what_it_receives_is_answered_as_it_says(connect: Connect, make_user: MakeUser) -> None:
    token = make_user(inr=10_000).token
    for event in names_of("receive"):
        socket = connect()
        socket.got()
        *answers, refusal = answers_to(event)
        assert names(socket.send(event, {"token": token, "last_seq": 0})) == answers
        assert names(socket.send(event, {"token": "nonsense", "last_seq": 0})) == [refusal]


@pytest.mark.parametrize("event", sorted(DOCUMENT["components"]["messages"]))
def test_every_event_has_examples_that_are_as_it_says(event: str) -> None:
    examples = DOCUMENT["components"]["messages"][event]["examples"]
    assert examples
    for example in examples:
        validator_of(event).validate(example["payload"])


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
