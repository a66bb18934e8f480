"""Who may open a socket, and how long it may say nothing."""

import runpy
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade.sockets.gate import CONNECT_S, LOOK_EACH_S, Gate
from tests.fixtures import ROOT

POLLING = "/socket.io/?EIO=4&transport=polling"
ORIGIN = {"Origin": "https://shop.example"}


def enter(client: FlaskClient, address: str = "192.0.2.1") -> Any:
    return client.get(POLLING, headers=ORIGIN, environ_overrides={"REMOTE_ADDR": address})


def session_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.text.split('"sid":"')[1].split('"')[0])


def leave(client: FlaskClient, session: str) -> None:
    assert client.post(f"{POLLING}&sid={session}", data="1").status_code == 200


def gate_of(client: FlaskClient) -> Gate:
    gate: Gate = client.application.extensions["bittrade_gate"]
    return gate


@pytest.mark.parametrize(
    ("settings", "addresses", "status"),
    [
        ({"SOCKETS_PER_PROCESS": 2}, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], 503),
        ({"SOCKETS_PER_ADDRESS": 2}, ["192.0.2.1", "192.0.2.1", "192.0.2.1"], 429),
        ({"SOCKETS_PER_ADDRESS": 2}, ["2001:db8::1", "2001:db8::2", "2001:db8::3"], 429),
    ],
    ids=["process", "address", "network"],
)
def test_who_comes_to_a_full_house_is_told_so(
    new_app: Callable[..., Flask], settings: dict[str, int], addresses: list[str], status: int
) -> None:
    client = new_app(**settings).test_client()
    first, second = (session_of(enter(client, address)) for address in addresses[:2])
    answer = enter(client, addresses[2])
    assert (answer.status_code, answer.json["code"]) == (status, "too_many_sockets")
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert client.post(f"{POLLING}&sid={first}", data="40").status_code == 200  # who is inside stays
    leave(client, second)
    session_of(enter(client, addresses[2]))


def test_no_page_is_told_that_it_may_send_cookies(new_app: Callable[..., Flask]) -> None:
    """What a page may ask for with its user's token, it may not ask for with whatever the browser adds by itself."""
    client = new_app(CORS_ORIGINS="https://shop.example").test_client()
    for answer in (enter(client), client.options(POLLING, headers=ORIGIN)):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_one_address_does_not_count_for_another(new_app: Callable[..., Flask]) -> None:
    client = new_app(SOCKETS_PER_ADDRESS=1).test_client()
    session_of(enter(client, "192.0.2.1"))
    session_of(enter(client, "192.0.2.2"))
    assert enter(client, "192.0.2.1").status_code == 429


def test_who_never_says_connect_is_closed(client: FlaskClient) -> None:
    silent, talking = session_of(enter(client)), session_of(enter(client))
    assert client.post(f"{POLLING}&sid={talking}", data="40").status_code == 200
    gate, began = gate_of(client), time.monotonic()
    gate.close_silent(began)
    gate.close_silent(began + CONNECT_S - 0.1)
    assert {silent, talking} <= set(gate._inside)
    gate.close_silent(began + CONNECT_S)
    assert silent not in gate._inside
    assert talking in gate._inside
    assert CONNECT_S + LOOK_EACH_S <= 5


def test_who_takes_its_connect_back_is_closed_too(client: FlaskClient) -> None:
    session = session_of(enter(client))
    assert client.post(f"{POLLING}&sid={session}", data="40").status_code == 200
    gate, began = gate_of(client), time.monotonic()
    gate.close_silent(began)
    assert client.post(f"{POLLING}&sid={session}", data="41").status_code == 200
    gate.close_silent(began + 60)
    assert session in gate._inside  # the time begins with its silence
    gate.close_silent(began + 60 + CONNECT_S)
    assert session not in gate._inside


def test_a_process_that_stops_lets_nobody_in(client: FlaskClient) -> None:
    gate_of(client)._is_open = False
    try:
        answer = enter(client)
        assert (answer.status_code, answer.json["code"]) == (503, "restarting")
    finally:
        gate_of(client)._is_open = True


def test_gunicorn_has_connections_left_for_http_when_all_sockets_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for text, sockets in (("", 2500), ("100", 100), ("9000", 9000)):
        monkeypatch.setenv("SOCKETS_PER_PROCESS", text)
        monkeypatch.setattr("gevent.monkey.patch_all", lambda: None)
        assert runpy.run_path(str(ROOT / "gunicorn.conf.py"))["worker_connections"] == sockets + 500


def test_a_named_process_names_its_sessions(new_app: Callable[..., Flask]) -> None:
    assert session_of(enter(new_app(SOCKET_NODE="n2").test_client())).startswith("n2.")
