"""What is taken of a socket's events: so many, of the root namespace; and what each answer under the path carries."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from socketio.packet import CONNECT, CONNECT_ERROR, Packet

from bittrade.extensions import socketio
from bittrade.services import api_keys
from bittrade.services.counting import Counters
from bittrade.sockets import clients, members
from bittrade.sockets.inbound import EVENTS_AT_ONCE, EVENTS_PER_S, KEPT_AS, Inbound
from tests.sockets.conftest import GREETING, REFUSAL, Client, Connect, MakeUser, names

from .test_gate import POLLING, enter, session_of

TOO_MANY = [
    (
        "authentication_error",
        {"message": "Authentication failed", "error": "Too many requests. Please try again later"},
    )
]


@pytest.fixture
def limited(app: Flask, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sockets whose events are counted."""
    server = socketio.server
    for name in ("_handle_event", "_handle_connect"):
        monkeypatch.setattr(server, name, getattr(server, name))
    monkeypatch.setitem(server.eio.handlers, "message", server.eio.handlers["message"])
    monkeypatch.setitem(app.config, "RATELIMIT_ENABLED", True)
    monkeypatch.setitem(app.extensions, "bittrade_limits", Counters())
    Inbound(server, clients.EVENTS, is_allowed=clients.counter(app), refuse=clients.refuse_as_too_many)
    return connect


def test_a_socket_s_events_are_few_and_the_first_too_many_is_answered(limited: Connect) -> None:
    socket = limited()
    socket.got()
    left = EVENTS_AT_ONCE - 1  # its CONNECT was one
    answers = [socket.authenticate("nobody") for _ in range(left + 20)]
    assert answers[:left] == [REFUSAL] * left
    assert answers[left] == TOO_MANY
    assert answers[left + 1 :] == [[]] * 19
    assert socket.is_connected()


def test_who_asks_too_often_is_nobody_and_gets_in_again_when_it_is_time(
    limited: Connect, make_user: MakeUser
) -> None:
    person, socket = make_user(), limited()
    socket.got()
    assert names(socket.authenticate(person.token)) == GREETING
    while socket.authenticate("nobody") != TOO_MANY:
        pass
    assert not members.list_all()
    kept = socketio.server.environ[socket.eio_sid][KEPT_AS]
    kept.allowance._seen_at -= 1 / EVENTS_PER_S  # so much time has passed
    assert names(socket.authenticate(person.token)) == GREETING


def test_all_sockets_of_an_address_share_its_limit_with_rest(
    limited: Connect, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "RATELIMIT_READ", "6 per hour")
    first, second, third = limited(), limited(), limited()  # three, with their CONNECTs
    for socket in (first, second, third):
        socket.got()
    assert [socket.authenticate("nobody") for socket in (first, second, third)] == [REFUSAL] * 3
    assert [socket.authenticate("nobody") for socket in (first, second, third)] == [TOO_MANY] * 3
    same = {"REMOTE_ADDR": ""}  # as these sockets have it
    assert app.test_client().get("/api/market-rates", environ_overrides=same).status_code == 429


def test_a_key_has_one_limit_over_all_sockets_and_rest(
    limited: Connect, app: Flask, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "RATELIMIT_KEY", "3 per hour")
    person = make_user()
    key = new_key(app, person.id)
    sockets = [limited() for _ in range(4)]
    for socket in sockets:
        socket.got()
    resumed = [socket.send("resume", {"token": key, "last_seq": 0}) for socket in sockets]
    assert [names(events)[-1] for events in resumed] == ["authentication_success"] * 3 + [
        "authentication_error"
    ]
    assert resumed[3] == TOO_MANY
    answer = app.test_client().get("/api/balance", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 429


def new_key(app: Flask, user_id: int) -> str:
    with app.app_context():
        return str(api_keys.create_key(user_id, name="test", scopes=["read"])["key"])


# --- namespaces and schemes ---------------------------------------------------------------------------------------


def test_another_namespace_is_refused_as_node_s_server_does(connect: Connect) -> None:
    socket = connect()
    socket.got()
    sent = sent_to(socket, Packet(CONNECT, namespace="/admin"))
    assert [(packet.packet_type, packet.namespace, packet.data) for packet in sent] == [
        (CONNECT_ERROR, "/admin", {"message": "Invalid namespace", "data": {"code": "invalid_namespace"}})
    ]


def sent_to(socket: Client, packet: Packet) -> list[Packet]:
    """Hand the server a packet; what it sends."""
    server, sent = socketio.server, []
    keep, server._send_packet = server._send_packet, lambda _sid, answer: sent.append(answer)
    try:
        server._handle_eio_message(socket.eio_sid, packet.encode())
    finally:
        server._send_packet = keep
    return sent


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  ", " Bearer "])
@pytest.mark.parametrize("shape", [str, lambda token: {"token": token}], ids=["bare", "object"])
def test_a_scheme_before_the_token_is_taken(
    connect: Connect, make_user: MakeUser, scheme: str, shape: Callable[[str], Any]
) -> None:
    socket = connect()
    socket.got()
    assert names(socket.authenticate(shape(scheme + make_user().token))) == GREETING


@pytest.mark.parametrize(
    "options",
    [
        lambda token: {"auth": {"token": f"bearer {token}"}},
        lambda token: {"headers": {"Authorization": f"Bearer {token}"}},
        lambda token: {"headers": {"Authorization": f"bearer {token}"}, "auth": {}},
    ],
    ids=["auth", "header", "header in lower case"],
)
def test_the_handshake_may_carry_it(
    connect: Connect, make_user: MakeUser, options: Callable[[str], dict[str, Any]]
) -> None:
    socket = connect(**options(make_user().token))
    assert socket.names()[-3:] == GREETING


@pytest.mark.parametrize("prefix", ["Basic ", "Token ", "Bearer Bearer ", "x "])
def test_another_scheme_is_no_bearer(connect: Connect, make_user: MakeUser, prefix: str) -> None:
    socket = connect()
    socket.got()
    assert socket.authenticate(prefix + make_user().token) == REFUSAL


def test_a_proxy_s_own_authorization_is_nobody_s_token(connect: Connect) -> None:
    socket = connect(headers={"Authorization": "Basic dXNlcjpwYXNz"})
    assert socket.names() == ["connection_established"]


# --- every answer under the path ----------------------------------------------------------------------------------

SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


def test_every_answer_carries_the_safe_headers(new_app: Callable[..., Flask]) -> None:
    client = new_app(SOCKETS_PER_ADDRESS=1).test_client()
    opened = enter(client)
    session = f"{POLLING}&sid={session_of(opened)}"
    answers = [
        opened,
        client.post(session, data="40"),
        client.get(session),
        enter(client),  # one too many
        client.get("/socket.io/?EIO=3&transport=polling"),
        client.get(f"{POLLING}&sid=unknown"),
        client.options(POLLING),
        client.put(POLLING),
        client.get(f"{POLLING}&j=0"),
    ]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in SAFE} == SAFE, answer.request.url
        assert answer.headers.getlist("Cache-Control") == ["no-store"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("query", ["&j=0", "&j=alert(1)"])
def test_jsonp_is_refused(new_app: Callable[..., Flask], query: str) -> None:
    client = new_app().test_client()
    answer = client.get(POLLING + query)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    session = session_of(enter(client))
    assert client.post(f"{POLLING}&sid={session}{query}", data="d=40").status_code == 400


def test_opening_sockets_and_sending_is_counted_and_waiting_is_not(new_app: Callable[..., Flask]) -> None:
    client = new_app(RATELIMIT_ENABLED=True, RATELIMIT_READ="4 per hour").test_client()
    address = {"environ_overrides": {"REMOTE_ADDR": "192.0.2.1"}}
    session = f"{POLLING}&sid={session_of(enter(client))}"  # 1
    assert client.post(session, data="40", **address).status_code == 200  # 2, and 3 for the CONNECT in it
    assert client.get(session, **address).status_code == 200
    assert client.get(session + "x", **address).status_code == 400  # 4: no session that there is
    refused = enter(client)
    assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
    assert refused.headers["Retry-After"] == "1"
    assert client.post(session, data="1", **address).status_code == 429
    assert enter(client, "192.0.2.2").status_code == 200
