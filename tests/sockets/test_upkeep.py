"""What is put right each second: tokens that ended, events that got lost. And the heartbeat."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade import broadcast, metrics, wire
from bittrade.errors import DatabaseUnavailable
from bittrade.extensions import socketio
from bittrade.services import auth, events, halt, market, user_data
from bittrade.sockets import delivery, members
from bittrade.sockets.upkeep import OVERLAP, Upkeep
from tests.fixtures import PASSWORD, set_price
from tests.sockets.conftest import (
    REFUSAL,
    UPDATES,
    Connect,
    MakeUser,
    failing,
    member,
    names,
    trade,
)

# --- The end of a token -------------------------------------------------------------------------------------------


def test_an_expired_token_is_put_out(
    app: Flask, connect: Connect, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch, upkeep: Upkeep
) -> None:
    person = make_user()
    socket = member(connect, person.token)
    with app.app_context():
        upkeep.sweep()
        assert socket.got() == []
        monkeypatch.setattr(wire, "now", lambda: datetime.now(UTC) + timedelta(hours=24))
        upkeep.sweep()
    assert socket.got() == REFUSAL
    assert socket.is_connected()
    assert not members.list_all()


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize("how", ["logout", "logout-all", "password", "disabled"])
def test_a_revoked_token_is_put_out_and_a_good_one_stays(
    app: Flask, client: FlaskClient, connect: Connect, make_user: MakeUser, how: str, upkeep: Upkeep
) -> None:
    person = make_user(inr=5000)
    with app.app_context():
        other, _ = auth.login(email=person.email, password=PASSWORD)
    mine, others = member(connect, person.token), member(connect, other)
    if how == "disabled":
        with app.app_context():
            auth.disable_user(person.email)
    else:
        body = {"currentPassword": PASSWORD, "newPassword": "quite another pass phrase"}
        token = other if how == "password" else person.token
        answer = client.post(f"/api/auth/{how}", json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.json
    with app.app_context():
        upkeep.sweep()
    assert mine.got() == REFUSAL
    assert others.got() == ([] if how in ("logout", "password") else REFUSAL)
    with app.app_context():
        broadcast.balance_changed(person.id, {"available_inr": 1, "seq": 9})
    assert mine.got() == []


def test_a_revocation_is_found_after_the_database_was_away_for_long(
    app: Flask, connect: Connect, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch, upkeep: Upkeep
) -> None:
    person = make_user()
    socket = member(connect, person.token)
    with app.app_context():
        auth.logout(auth.authenticate(person.token))
        swept_at = wire.now()
        monkeypatch.setattr(wire, "now", lambda: datetime.now(UTC) + timedelta(minutes=10))
        upkeep.sweep(since=swept_at - OVERLAP)
    assert socket.got() == REFUSAL


# --- What got lost on the way -------------------------------------------------------------------------------------


@contextmanager
def deaf() -> Iterator[None]:
    """What is told meanwhile reaches no socket of this process: Redis is away, or who should tell it was killed."""
    with pytest.MonkeyPatch.context() as lost:
        lost.setattr(socketio, "emit", lambda *_args, **_kwargs: None)
        yield


def test_what_got_lost_is_told_at_the_second_look(
    app: Flask, client: FlaskClient, connect: Connect, make_user: MakeUser, upkeep: Upkeep
) -> None:
    set_price(app)
    person, other = make_user(inr=5000), make_user(inr=5000)
    mine, others, nobodys = member(connect, person.token), member(connect, other.token), connect()
    upkeep.reconcile()
    nobodys.got()
    with deaf():
        trade(client, person)
        set_price(app, usd=46_000)
        market.publish_rates()
    upkeep.reconcile()
    assert [socket.got() for socket in (mine, others, nobodys)] == [[], [], []]  # it may be on its way
    upkeep.reconcile()
    told = mine.got()
    assert names(told) == ["btc_price_update", *UPDATES]
    assert (told[0][1]["btc_usd_price"], told[1][1]["seq"], told[2][1]["seq"]) == (46_000, 2, 2)
    assert [others.names(), nobodys.names()] == [["btc_price_update"]] * 2
    for _ in range(3):
        upkeep.reconcile()
    assert [socket.got() for socket in (mine, others, nobodys)] == [[], [], []]


@pytest.mark.usefixtures("price")
def test_what_arrives_late_is_not_told_twice(
    client: FlaskClient, connect: Connect, make_user: MakeUser, upkeep: Upkeep
) -> None:
    """A busy user is behind at every look, by another trade each time."""
    person = make_user(inr=50_000)
    socket = member(connect, person.token)
    for seq in range(2, 6):
        with deaf():
            trade(client, person)
        upkeep.reconcile()
        snapshot = user_data.snapshot(person.id)
        broadcast.balance_changed(person.id, snapshot.balance)
        broadcast.transactions_changed(
            person.id, lambda held=snapshot: (held.transactions, held.balance["seq"])
        )
        assert [payload["seq"] for _, payload in socket.got()] == [seq, seq]


@pytest.mark.usefixtures("price")
def test_who_missed_more_than_an_update_holds_gets_all_of_it(
    client: FlaskClient, connect: Connect, make_user: MakeUser, upkeep: Upkeep
) -> None:
    person = make_user(inr=50_000)
    socket = member(connect, person.token)
    with deaf():
        for _ in range(20):
            trade(client, person, "100")
    upkeep.reconcile()
    upkeep.reconcile()
    events = [event for event in socket.got() if event[0] != "btc_price_update"]
    assert names(events) == [*UPDATES, "user_missed_transactions"]
    assert [row["seq"] for row in events[2][1]["transactions"]] == list(range(2, 22))


@pytest.mark.usefixtures("price")
def test_what_an_update_jumped_over_is_told_too(
    client: FlaskClient, connect: Connect, make_user: MakeUser, upkeep: Upkeep
) -> None:
    """Redis is away, and the user's trades come to the other process, but for the last."""
    person = make_user(inr=50_000)
    socket = member(connect, person.token)
    with deaf():
        for _ in range(20):
            trade(client, person, "100")
    trade(client, person, "100")
    assert min(row["seq"] for row in socket.got()[-1][1]["transactions"]) == 8
    upkeep.reconcile()
    ((event, missed),) = [event for event in socket.got() if event[0] != "btc_price_update"]
    assert event == "user_missed_transactions"
    assert [row["seq"] for row in missed["transactions"]] == list(range(2, 23))
    upkeep.reconcile()
    assert socket.got() == []


@pytest.mark.usefixtures("price")
def test_a_newcomer_who_knows_all_does_not_hide_that_the_others_do_not(
    client: FlaskClient, connect: Connect, make_user: MakeUser, upkeep: Upkeep
) -> None:
    person = make_user(inr=5000)
    first = member(connect, person.token)
    with deaf():
        trade(client, person)
    second = member(connect, person.token)
    upkeep.reconcile()
    upkeep.reconcile()
    assert first.names() == UPDATES
    second.got()  # once more what it knows: no harm


@pytest.mark.usefixtures("price")
def test_what_one_jumps_over_is_told_also_after_a_failure(
    client: FlaskClient,
    connect: Connect,
    make_user: MakeUser,
    upkeep: Upkeep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person = make_user(inr=50_000)
    socket = member(connect, person.token)
    with deaf():
        for _ in range(20):
            trade(client, person, "100")
    trade(client, person, "100")
    with monkeypatch.context() as away:
        away.setattr(events, "list_missed", failing(DatabaseUnavailable()))
        with pytest.raises(DatabaseUnavailable):
            upkeep.reconcile()
    socket.got()
    upkeep.reconcile()
    assert socket.names() == ["user_missed_transactions"]


@pytest.mark.usefixtures("price")
def test_one_user_who_cannot_be_told_keeps_nobody_else_waiting(
    client: FlaskClient,
    connect: Connect,
    make_user: MakeUser,
    upkeep: Upkeep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, other = make_user(inr=5000), make_user(inr=5000)
    sockets = [member(connect, person.token) for person in (broken, other)]
    with deaf():
        trade(client, broken)
        trade(client, other)
    read = user_data.snapshot
    monkeypatch.setattr(
        user_data,
        "snapshot",
        lambda user_id: failing(KeyError("a bug"))() if user_id == broken.id else read(user_id),
    )
    upkeep.reconcile()
    upkeep.reconcile()
    assert [socket.names() for socket in sockets] == [[], UPDATES]


@pytest.mark.usefixtures("price")
def test_a_newcomer_who_knows_less_than_the_others_is_told(
    connect: Connect, make_user: MakeUser, upkeep: Upkeep
) -> None:
    """Ten reads of a very busy user's snapshot may all have been overtaken."""
    person = make_user(inr=5000)
    member(connect, person.token)
    socketio.server.manager.note_one_told(f"user:{person.id}", UPDATES[0], 0)
    late = member(connect, person.token)
    upkeep.reconcile()
    upkeep.reconcile()
    assert late.names() == UPDATES


def test_while_the_database_is_away_newcomers_wait_for_it_once(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def away() -> Any:
        asked.append(1)
        raise DatabaseUnavailable()

    monkeypatch.setattr(market, "read_news", away)
    for _ in range(3):
        assert connect().names() == ["connection_established"]
    assert len(asked) == 1


def test_a_jump_is_what_an_update_does_not_hold() -> None:
    assert delivery.MAX_SKIPPED == user_data.LATEST


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize(("missed", "is_told"), [(14, False), (15, True)])
def test_an_update_holds_fifteen_transactions_and_the_sixteenth_is_told(
    client: FlaskClient, connect: Connect, make_user: MakeUser, upkeep: Upkeep, missed: int, is_told: bool
) -> None:
    person = make_user(inr=50_000)
    socket = member(connect, person.token)
    with deaf():
        for _ in range(missed):
            trade(client, person, "100")
    trade(client, person, "100")
    held = {row["seq"] for row in socket.got()[-1][1]["transactions"]}
    upkeep.reconcile()
    told = [event for event in socket.got() if event[0] == "user_missed_transactions"]
    assert bool(told) is is_told
    held |= {row["seq"] for _, payload in told for row in payload["transactions"]}
    assert held >= set(range(2, missed + 3))


def test_what_could_not_be_read_is_told_when_it_can_be(
    client: FlaskClient,
    connect: Connect,
    make_user: MakeUser,
    upkeep: Upkeep,
    monkeypatch: pytest.MonkeyPatch,
    price: None,
) -> None:
    person = make_user(inr=5000)
    socket = member(connect, person.token)
    failed = metrics.EVENTS.values["failed",]
    with monkeypatch.context() as away:
        away.setattr(user_data, "_latest", failing(DatabaseUnavailable()))
        trade(client, person)
    assert socket.names() == UPDATES[:1]
    assert metrics.EVENTS.values["failed",] == failed + 1
    upkeep.reconcile()
    with monkeypatch.context() as away:
        away.setattr(user_data, "snapshot", failing(DatabaseUnavailable()))
        with pytest.raises(DatabaseUnavailable):
            upkeep.reconcile()
    upkeep.reconcile()
    assert socket.names() == UPDATES


@pytest.mark.usefixtures("price")
def test_a_lost_change_of_the_market_s_state_is_told_too(
    app: Flask, connect: Connect, upkeep: Upkeep
) -> None:
    socket = connect()
    upkeep.reconcile()
    socket.got()
    halt.halt_trading("a test")
    upkeep.reconcile()
    assert socket.got() == []
    upkeep.reconcile()
    ((event, payload),) = socket.got()
    assert (event, payload["trading"]) == ("market_status", "halted")


@pytest.mark.usefixtures("price")
def test_when_nobody_is_here_the_database_is_left_alone(
    connect: Connect, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever comes next is told the price of now, not of when the last one left."""
    connect().leave()
    with monkeypatch.context() as away:
        away.setattr(market, "read_news", failing(DatabaseUnavailable()))
        upkeep.reconcile()
    with deaf():
        set_price(upkeep._app, usd=46_000)
    assert connect().got()[1][1]["btc_usd_price"] == 46_000


# --- The heartbeat ----------------------------------------------------------------------------


@pytest.mark.usefixtures("price")
def test_the_heartbeat_tells_the_time_and_the_price_s_age(
    app: Flask, connect: Connect, upkeep: Upkeep
) -> None:
    socket = connect()
    socket.got()
    with app.app_context():
        upkeep.beat()
    ((name, payload),) = socket.got()
    assert name == "heartbeat"
    assert 0 <= payload["price_age_ms"] < 60_000
    assert payload["timestamp"].endswith("Z")


def test_the_heartbeat_needs_no_price(app: Flask, connect: Connect, upkeep: Upkeep) -> None:
    socket = connect()
    socket.got()
    with app.app_context():
        upkeep.beat()
    assert socket.got()[0][1]["price_age_ms"] is None


# --- What operators see -------------------------------------------------------------------------------------------


def test_operators_see_each_process_and_what_it_counted(
    app: Flask, connect: Connect, make_user: MakeUser, upkeep: Upkeep
) -> None:
    command = app.test_cli_runner().invoke
    assert "no web process" in command(args=["sockets"]).output
    member(connect, make_user().token)
    broadcast.price_changed({"btc_usd_price": float("nan")})
    upkeep._report()
    (line,) = command(args=["sockets"]).output.splitlines()
    assert f":{os.getpid()} at " in line
    assert "members: 1" in line
    assert "events failed: " in line


def test_a_look_that_fails_is_logged_and_the_next_one_comes(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Over(BaseException):
        """The process ends."""

    turns: list[Exception | None] = [DatabaseUnavailable(), ValueError("a bug"), None]
    looks: list[int] = []

    def sleep(_seconds: float) -> None:
        if not turns:
            raise Over

    def look() -> None:
        looks.append(1)
        if error := turns.pop(0):
            raise error

    monkeypatch.setattr(socketio, "sleep", sleep)
    with caplog.at_level(logging.WARNING), pytest.raises(Over):
        upkeep._repeat(1, (look,))
    assert len(looks) == 3
    levels = [record.levelname for record in caplog.records if "looking after" in record.message]
    assert levels == ["WARNING", "ERROR"]
