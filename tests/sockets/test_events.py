"""The contract's table of events: who gets what, in which order, in which shape."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade import broadcast
from bittrade.domain.ledger import BALANCE_ACCOUNTS
from bittrade.errors import DatabaseUnavailable
from bittrade.extensions import socketio
from bittrade.services import events, market, user_data
from bittrade.sockets import members
from bittrade.sockets.upkeep import Upkeep
from tests.sockets.conftest import (
    GREETING,
    REFUSAL,
    UPDATES,
    Connect,
    MakeUser,
    failing,
    member,
    names,
    trade,
)

# --- Connecting ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("price")
def test_a_new_socket_is_greeted_then_told_the_price(connect: Connect) -> None:
    (first, greeting), (second, price) = connect().got()
    assert first == "connection_established"
    assert set(greeting) == {"message", "timestamp"}
    assert greeting["message"] == "Connected to BitTrade WebSocket"
    assert second == "btc_price_update"
    assert {key: price[key] for key in ("btc_usd_price", "buy_rate_inr", "sell_rate_inr")} == {
        "btc_usd_price": 45_000,
        "buy_rate_inr": 4_095_000,
        "sell_rate_inr": 3_960_000,
    }
    for moment in (greeting["timestamp"], price["timestamp"], price["as_of"]):
        assert datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ")
        assert len(moment) == 24


def test_before_the_first_price_there_is_only_the_greeting(connect: Connect) -> None:
    assert connect().names() == ["connection_established"]


@pytest.mark.usefixtures("price")
def test_a_token_in_the_handshake_comes_after_the_price(connect: Connect, make_user: MakeUser) -> None:
    socket = connect(auth={"token": make_user().token})
    assert socket.names() == ["connection_established", "btc_price_update", *GREETING]


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize("credentials", ["text", 7, [1], {"token": ""}, {"other": "x"}])
def test_a_handshake_without_a_token_is_an_ordinary_one(connect: Connect, credentials: Any) -> None:
    assert connect(auth=credentials).names() == ["connection_established", "btc_price_update"]


@pytest.mark.usefixtures("price")
def test_a_database_that_is_away_keeps_nobody_from_connecting(
    connect: Connect, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(market, "read_news", failing(DatabaseUnavailable()))
        socket = connect()
        assert socket.names() == ["connection_established"]
        assert socket.is_connected()
    upkeep.reconcile()
    upkeep.reconcile()
    assert socket.names() == ["btc_price_update"]


@pytest.mark.usefixtures("price")
def test_a_newcomer_hears_what_everybody_else_heard_last(
    app: Flask, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks nobody for it: after a restart a thousand come at once."""
    ((_, price),) = connect().got()[1:]
    monkeypatch.setattr(market, "read_news", failing(DatabaseUnavailable()))
    (_, (_, again)) = connect().got()
    assert again["age_ms"] >= price["age_ms"]
    with app.app_context():
        broadcast.price_changed({**price, "btc_usd_price": 46_000})
    assert connect().got()[1][1]["btc_usd_price"] == 46_000


# --- Authenticating -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [lambda token: token, lambda token: {"token": token}], ids=["bare", "object"]
)
def test_authenticate_answers_with_a_snapshot_then_success(
    connect: Connect, make_user: MakeUser, shape: Callable[[str], Any]
) -> None:
    person = make_user(inr=5000, btc=70)
    socket = connect()
    socket.got()
    events = socket.authenticate(shape(person.token))
    assert names(events) == GREETING
    balance, transactions, success = (payload for _, payload in events)
    assert set(balance) == {*BALANCE_ACCOUNTS, "seq", "timestamp"}
    assert (balance["available_inr"], balance["available_btc"]) == (5000, 70)
    assert all(type(balance[account]) is int for account in BALANCE_ACCOUNTS)
    assert set(transactions) == {"transactions", "seq", "timestamp"}
    assert transactions["seq"] == balance["seq"]
    assert success == {
        "message": "WebSocket authenticated successfully",
        "userId": person.id,
        "email": person.email,
    }


@pytest.mark.parametrize(
    "token", [None, "", "x", "a.b.c", 7, True, [], {}, {"token": None}, {"token": {}}, "é" * 9]
)
def test_a_bad_token_is_refused_and_the_socket_stays(connect: Connect, token: Any) -> None:
    socket = connect()
    socket.got()
    assert socket.authenticate(token) == REFUSAL
    assert socket.is_connected()


def test_authenticate_without_anything_is_refused(connect: Connect) -> None:
    socket = connect()
    socket.got()
    assert socket.send("authenticate") == REFUSAL


def test_a_token_in_its_last_leeway_opens_rest_and_no_socket(
    app: Flask, client: FlaskClient, connect: Connect, make_user: MakeUser
) -> None:
    person = make_user()
    claims = {"id": person.id, "email": person.email, "exp": int(time.time()) - 1}
    token = jwt.encode(claims, app.config["JWT_SECRET"], algorithm="HS256")
    assert client.get("/api/auth/verify", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    socket = connect()
    socket.got()
    assert socket.authenticate(token) == REFUSAL


def test_a_database_that_is_away_is_said_and_can_be_tried_again(
    connect: Connect, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = make_user()
    socket = connect()
    socket.got()
    with monkeypatch.context() as away:
        away.setattr(user_data, "snapshot", failing(DatabaseUnavailable()))
        ((name, payload),) = socket.authenticate(person.token)
    assert (name, payload["error"]) == ("authentication_error", DatabaseUnavailable.message)
    assert names(socket.authenticate(person.token)) == GREETING


def test_a_bug_is_told_in_general_words_and_leaves_the_socket_alive(
    connect: Connect, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = make_user()
    socket = connect()
    socket.got()
    with monkeypatch.context() as broken:
        broken.setattr(user_data, "snapshot", failing(ZeroDivisionError("secret")))
        assert socket.authenticate(person.token) == [
            ("authentication_error", {"message": "Authentication failed", "error": "Something went wrong!"})
        ]
    assert names(socket.authenticate(person.token)) == GREETING


# --- What a user's sockets get ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("price")
def test_a_trade_tells_all_of_the_users_sockets_and_nobody_else(
    client: FlaskClient, connect: Connect, make_user: MakeUser
) -> None:
    person, other = make_user(inr=5000), make_user(inr=5000)
    mine = [member(connect, person.token), member(connect, person.token)]
    others = [member(connect, other.token), connect()]
    for socket in others:
        socket.got()
    trade(client, person)
    for socket in mine:
        events = socket.got()
        assert names(events) == UPDATES
        (_, balance), (_, transactions) = events
        assert balance["available_inr"] == 4000
        assert balance["available_btc"] == 24_420
        assert (balance["seq"], transactions["seq"]) == (2, 2)
        assert [row["type"] for row in transactions["transactions"]] == ["MARKET_BUY", "DEPOSIT_INR"]
    assert [socket.got() for socket in others] == [[], []]


@pytest.mark.usefixtures("price")
def test_an_update_holds_the_latest_fifteen(
    client: FlaskClient, connect: Connect, make_user: MakeUser
) -> None:
    person = make_user(inr=50_000)
    for _ in range(15):
        trade(client, person, "100")
    socket = member(connect, person.token)
    trade(client, person, "100")
    (_, _), (_, transactions) = socket.got()
    assert [row["seq"] for row in transactions["transactions"]] == list(range(17, 2, -1))


@pytest.mark.usefixtures("price")
def test_another_users_token_ends_the_first_users_events(
    client: FlaskClient, connect: Connect, make_user: MakeUser
) -> None:
    first, second = make_user(inr=5000), make_user(inr=5000)
    socket = member(connect, first.token)
    assert names(socket.authenticate(second.token)) == GREETING
    trade(client, first)
    assert socket.got() == []
    trade(client, second)
    assert socket.names() == UPDATES


@pytest.mark.usefixtures("price")
def test_a_bad_token_ends_the_first_users_events_too(
    client: FlaskClient, connect: Connect, make_user: MakeUser
) -> None:
    person = make_user(inr=5000)
    socket = member(connect, person.token)
    assert socket.authenticate("nobody") == REFUSAL
    trade(client, person)
    assert socket.got() == []


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize("event", ["connect", "disconnect", "join", "user:1", "message", "json", "*", ""])
def test_no_other_event_of_a_client_does_anything(
    client: FlaskClient, connect: Connect, make_user: MakeUser, event: str
) -> None:
    """python-socketio would run the server's own `disconnect` handler: the token's end would go unnoticed."""
    person = make_user(inr=5000)
    socket = member(connect, person.token)
    assert socket.send(event, {"token": make_user().token}) == []
    trade(client, person)
    assert socket.names() == UPDATES
    assert dict(members.list_all())[socket.sid].identity.user_id == person.id


@pytest.mark.usefixtures("price")
def test_two_authentications_at_once_make_it_one_users(
    client: FlaskClient, connect: Connect, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long polling can deliver two messages of one socket at the same time."""
    first, second = make_user(inr=5000), make_user(inr=5000)
    socket = connect()
    socket.got()
    read = user_data.snapshot

    def slow(user_id: int) -> user_data.Snapshot:
        if user_id == first.id:
            socket.send("authenticate", second.token)
        return read(user_id)

    monkeypatch.setattr(user_data, "snapshot", slow)
    socket.authenticate(first.token)
    trade(client, second)
    assert socket.got() == []
    trade(client, first)
    assert socket.names() == UPDATES


def test_who_leaves_while_authenticating_belongs_to_nobody(
    connect: Connect, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = make_user()
    socket = connect()
    read = user_data.snapshot

    def leave_first(user_id: int) -> user_data.Snapshot:
        socket.leave()
        return read(user_id)

    monkeypatch.setattr(user_data, "snapshot", leave_first)
    socket.emit("authenticate", person.token)
    assert not members.list_all()


@pytest.mark.usefixtures("price")
def test_a_trade_while_the_snapshot_is_read_makes_it_read_again(
    client: FlaskClient, connect: Connect, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = make_user(inr=5000)
    read, reads = user_data.snapshot, []

    def overtaken(user_id: int) -> user_data.Snapshot:
        before = read(user_id)
        if not reads:
            trade(client, person)
        reads.append(before.balance["seq"])
        return before

    monkeypatch.setattr(user_data, "snapshot", overtaken)
    socket = connect()
    socket.got()
    events = socket.authenticate(person.token)
    assert names(events) == GREETING
    assert (reads, events[0][1]["seq"]) == ([1, 2], 2)


def test_an_event_that_was_overtaken_is_not_delivered(
    connect: Connect, make_user: MakeUser, app: Flask
) -> None:
    """Two processes may publish one user's trades in the other order than they committed them."""
    person = make_user(inr=5000)
    socket = member(connect, person.token)
    with app.app_context():
        balance = user_data.snapshot(person.id).balance
        for seq in (3, 2, 3, 1, 4):
            broadcast.balance_changed(person.id, {**balance, "seq": seq})
    assert [payload["seq"] for _, payload in socket.got()] == [3, 3, 4]
    socket.leave()
    assert not socketio.server.manager._newest


def test_a_payload_that_is_not_json_is_a_log_line(
    app: Flask, connect: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would publish NaN, which no browser reads, and drop a Decimal without a word."""
    socket = connect()
    socket.got()
    with app.app_context():
        broadcast.price_changed({"btc_usd_price": float("nan")})
    assert socket.got() == []
    assert "could not broadcast btc_price_update" in caplog.text


# --- What was missed ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("price")
def test_who_resumes_gets_exactly_what_they_missed(
    client: FlaskClient, connect: Connect, make_user: MakeUser
) -> None:
    person = make_user(inr=100_000)
    member(connect, person.token).leave()
    for _ in range(20):  # more than a snapshot holds
        trade(client, person)
    socket = connect()
    socket.got()
    (first, balance), (second, missed), (third, _) = socket.send(
        "resume", {"token": person.token, "last_seq": 3}
    )
    assert (first, second, third) == (UPDATES[0], "user_missed_transactions", GREETING[2])
    assert (balance["available_inr"], balance["seq"]) == (80_000, 21)
    assert (missed["after"], missed["seq"], missed["complete"]) == (3, 21, True)
    assert [row["seq"] for row in missed["transactions"]] == list(range(4, 22))
    trade(client, person)
    assert [payload["seq"] for _, payload in socket.got()] == [22, 22]


@pytest.mark.usefixtures("price")
@pytest.mark.parametrize("last_seq", [0, 10_000])
def test_who_missed_too_much_is_told_so_and_gets_the_latest(
    client: FlaskClient,
    connect: Connect,
    make_user: MakeUser,
    monkeypatch: pytest.MonkeyPatch,
    last_seq: int,
) -> None:
    monkeypatch.setattr(events, "MAX_MISSED", 5)
    person = make_user(inr=100_000)
    for _ in range(20):
        trade(client, person)
    told = connect()
    told.got()
    missed = told.send("resume", {"token": person.token, "last_seq": last_seq})[1][1]
    assert (missed["complete"], missed["seq"]) == (False, 21)
    assert [row["seq"] for row in missed["transactions"]] == list(range(7, 22))


def test_who_missed_nothing_gets_the_balance_alone(connect: Connect, make_user: MakeUser) -> None:
    person = make_user(inr=1000)
    socket = connect()
    socket.got()
    missed = socket.send("resume", {"token": person.token, "last_seq": 1})[1][1]
    assert (missed["transactions"], missed["complete"]) == ([], True)


@pytest.mark.parametrize("last_seq", [None, -1, True, 1.0, "1", 2**63, []])
def test_a_last_seq_that_is_none_is_refused(connect: Connect, make_user: MakeUser, last_seq: Any) -> None:
    person = make_user()
    socket = member(connect, person.token)
    (refusal,) = socket.send("resume", {"token": person.token, "last_seq": last_seq})
    assert refusal[1]["error"] == "last_seq must be a whole number"
    assert not members.list_all()  # it asked to be somebody, and is nobody


@pytest.mark.parametrize("asked", [None, "x", {}, {"last_seq": 1}, {"last_seq": 1, "token": "nonsense"}])
def test_who_resumes_without_a_good_token_is_nobody(connect: Connect, asked: Any) -> None:
    socket = connect()
    socket.got()
    assert names(socket.send("resume", asked)) == ["authentication_error"]


@pytest.mark.usefixtures("price")
def test_rest_tells_what_was_missed_too(client: FlaskClient, make_user: MakeUser) -> None:
    person, stranger = make_user(inr=10_000), make_user(inr=500)
    for _ in range(3):
        trade(client, person)
    answer = client.get("/api/events?after=2", headers=person.headers).json
    assert (answer["after"], answer["seq"], answer["complete"]) == (2, 4, True)
    assert [row["seq"] for row in answer["transactions"]] == [3, 4]
    assert (answer["balance"]["available_inr"], answer["balance"]["seq"]) == (7_000, 4)
    everything = client.get("/api/events", headers=stranger.headers).json
    assert [(row["type"], row["inr_amount"]) for row in everything["transactions"]] == [("DEPOSIT_INR", 500)]
    for wrong in ("-1", "x", "1.5", str(2**63)):
        assert client.get(f"/api/events?after={wrong}", headers=person.headers).status_code == 400


# --- So many, and no more ----------------------------------------------------------------------------------------


def test_a_user_has_so_many_sockets_in_a_process(
    app: Flask, connect: Connect, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "SOCKETS_PER_USER", 2)
    person, other = make_user(), make_user()
    first, _second, third = (connect() for _ in range(3))
    for each in (first, _second):
        each.got()
        assert names(each.authenticate(person.token)) == GREETING
    third.got()
    ((_, refusal),) = third.authenticate(person.token)
    assert refusal["error"] == "Too many connections of this user"
    assert names(third.authenticate(other.token)) == GREETING
    assert names(first.authenticate(person.token)) == GREETING  # its own place is free
