"""One gunicorn worker, an RQ worker, a scheduler and a price source; socket.io-client by its default transports too."""

import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from tests.e2e.conftest import (
    JavaScriptSockets,
    Socket,
    System,
    crowd_gets_all_once,
    running_system,
    wait_until,
)

DEFAULT: dict[str, Any] = {}
EXPLICIT = {"transports": ["websocket", "polling"]}
USER_EVENTS = ("user_balance_update", "user_transaction_update")
GREETING = ["user_balance_update", "user_transaction_update", "authentication_success"]
SEVEN = {
    "available_inr",
    "available_btc",
    "reserved_inr",
    "reserved_btc",
    "collateral_btc",
    "borrowed_inr",
    "interest_accrued",
}


@pytest.fixture(scope="module")
def system(scratch_database: str, redis_url: str) -> Iterator[System]:
    with running_system(scratch_database, redis_url) as system:
        system.start_simulator()
        system.set_source_price(95_000)
        system.start_web()
        system.start("worker", "worker.py")
        system.start("scheduler", "worker.py", "scheduler")
        wait_until(lambda: system.rates().get("btc_usd_price") == 95_000, "the worker has fetched a price")
        yield system


@pytest.fixture(params=[DEFAULT, EXPLICIT], ids=["default transports", "websocket first"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


LIFE_S = 8  # of a token that is to expire, and to be good before on a busy machine


def names(events: list[tuple[str, Any]]) -> list[str]:
    return [event for event, _ in events]


def logged_in(system: System, javascript: JavaScriptSockets, token: str) -> Socket:
    socket = javascript.open(system.url, transports=["websocket"])
    socket.wait_for("connection_established")
    assert names(socket.authenticate(token)) == GREETING
    return socket


def test_a_socket_is_greeted_then_told_the_price(
    system: System, javascript: JavaScriptSockets, options: dict[str, Any]
) -> None:
    socket = javascript.open(system.url, **options)
    (connect, _), (first, greeting), (second, price) = (socket.next_of_ours() for _ in range(3))
    assert connect == "(connect)"  # before any event, as with Node's server
    assert (first, greeting["message"]) == ("connection_established", "Connected to BitTrade WebSocket")
    assert greeting["timestamp"].endswith("Z")
    assert second == "btc_price_update"
    assert price["btc_usd_price"] == 95_000
    assert (price["buy_rate_inr"], price["sell_rate_inr"]) == (95_000 * 91, 95_000 * 88)
    assert price["source"] == "simulator"
    if options is DEFAULT:  # it began by polling
        wait_until(
            lambda: "(upgrade)" in socket.drain() or "(upgrade)" in names(socket.events), "the upgrade"
        )


def test_a_change_that_a_worker_fetched_reaches_everyone_and_a_trade_its_user(
    system: System, javascript: JavaScriptSockets, options: dict[str, Any]
) -> None:
    person = system.new_person(inr=100_000)
    socket = javascript.open(system.url, **options)
    stranger = javascript.open(system.url, **options)
    stranger.wait_for("btc_price_update")
    socket.wait_for("btc_price_update")

    greeting = socket.authenticate(person.token)
    assert names(greeting) == GREETING
    balance, transactions, success = (payload for _, payload in greeting)
    assert set(balance) >= {*SEVEN, "timestamp", "seq"}
    assert (balance["available_inr"], balance["seq"]) == (100_000, 1)
    assert [row["type"] for row in transactions["transactions"]] == ["DEPOSIT_INR"]
    assert success == {
        "message": "WebSocket authenticated successfully",
        "userId": person.id,
        "email": person.email,
    }

    usd = 96_000 if system.rates()["btc_usd_price"] != 96_000 else 95_500
    system.set_source_price(usd)
    for each in (socket, stranger):
        price = each.wait_for("btc_price_update")
        assert (price["btc_usd_price"], price["buy_rate_inr"]) == (usd, usd * 91)

    answer = person.trade("buy", "1000")
    (first, balance), (second, transactions) = socket.user_events(2)
    assert (first, second) == USER_EVENTS
    assert balance["available_inr"] == 99_000
    assert balance["available_btc"] == 1000 * 100_000_000 // (usd * 91)
    assert balance["seq"] == transactions["seq"] == answer["seq"] == 2
    assert [row["type"] for row in transactions["transactions"]] == ["MARKET_BUY", "DEPOSIT_INR"]
    assert not set(stranger.drain()) & set(USER_EVENTS)
    system.set_source_price(95_000)
    socket.wait_for("btc_price_update")


@pytest.mark.parametrize("shape", ["bare string", "object", "handshake"])
def test_three_ways_to_show_a_token(system: System, javascript: JavaScriptSockets, shape: str) -> None:
    person = system.new_person()
    handshake = {"auth": {"token": person.token}} if shape == "handshake" else {}
    socket = javascript.open(system.url, **handshake)
    socket.wait_for("btc_price_update", without=GREETING)
    if shape == "handshake":
        assert names(socket.user_events(3)) == GREETING
    else:
        token = person.token if shape == "bare string" else {"token": person.token}
        assert names(socket.authenticate(token)) == GREETING


def test_a_bad_token_leaves_the_socket_open_and_nobodys(
    system: System, javascript: JavaScriptSockets
) -> None:
    person = system.new_person(inr=1000)
    socket = javascript.open(system.url, auth={"token": "nonsense"})
    refusal = (
        "authentication_error",
        {"message": "Authentication failed", "error": "Invalid or expired token"},
    )
    assert socket.wait_for(refusal[0]) == refusal[1]
    for token in ("", None, 7, {}, {"token": ["x"]}, person.token + "x"):
        assert socket.authenticate(token) == [refusal]
    # Reserved and unknown names are heard by nobody, and break nothing.
    for event in ("connect_", "disconnecting_", "unknown", "message"):
        socket.emit(event, {"token": person.token})
    assert names(socket.authenticate(person.token)) == GREETING
    assert "(disconnect)" not in names(socket.events)


def test_another_users_token_ends_the_first_users_events(
    system: System, javascript: JavaScriptSockets
) -> None:
    first, second = system.new_person(inr=1000), system.new_person(inr=1000)
    socket = logged_in(system, javascript, first.token)
    witness = logged_in(system, javascript, first.token)
    assert socket.authenticate(second.token)[2][1]["userId"] == second.id
    first.trade("buy", "100")
    assert names(witness.user_events(2)) == list(USER_EVENTS)
    second.trade("buy", "200")
    events = socket.user_events(2)
    assert names(events) == list(USER_EVENTS)
    assert events[0][1]["available_inr"] == 800
    assert not set(socket.drain()) & set(USER_EVENTS)


@pytest.mark.parametrize("how", ["logout", "logout-all", "password", "disabled", "expired"])
def test_a_token_that_ends_ends_its_sockets_events(
    system: System, javascript: JavaScriptSockets, how: str
) -> None:
    person = system.new_person(inr=1000)
    other = person.login()
    token = person.token if how != "expired" else short_token(system, person.id, person.email, life_s=LIFE_S)
    socket = logged_in(system, javascript, token)
    witness = logged_in(system, javascript, other)

    began = time.monotonic()
    ended_at = (
        end_token(system, how, person.token, other, person.email) if how != "expired" else began + LIFE_S
    )
    error = socket.wait_for("authentication_error", without=USER_EVENTS)
    took = socket.arrived_at - max(ended_at, began)
    assert error == {"message": "Authentication failed", "error": "Invalid or expired token"}
    print(f"{how}: told {took:.2f} s after the token ended")

    if how == "disabled":  # nobody can trade any more; an operator still can
        system.flask("balance", "withdraw", person.email, "--inr", "100")
    else:
        person.token = other if how in ("logout", "password", "expired") else person.login()
        person.trade("buy", "100")
    if person.token == other:  # it is still good
        assert witness.user_events(2)[0][1]["available_inr"] == 900
    else:
        witness.wait_for("authentication_error")
    assert not set(socket.drain()) & set(USER_EVENTS)
    assert "(disconnect)" not in names(socket.events)


def end_token(system: System, how: str, token: str, other: str, email: str) -> float:
    """When it was asked for (the command line starts slowly: when it was done)."""
    began = time.monotonic()
    if how == "disabled":
        system.flask("user", "disable", email)
        return time.monotonic()
    if how == "password":
        body = {"currentPassword": "a long enough pass phrase", "newPassword": "quite another pass phrase"}
        answer = system.post("/api/auth/password", body, other)
    else:
        answer = system.post(f"/api/auth/{how}", token=token)
    assert answer.status_code == 200, answer.text
    return began


def short_token(system: System, user_id: int, email: str, *, life_s: int) -> str:
    """As another program makes it that has our secret."""
    claims = {"id": user_id, "email": email, "exp": int(time.time()) + life_s}
    return jwt.encode(claims, system.environment["JWT_SECRET"], algorithm="HS256")


def test_two_hundred_clients_by_any_transport_lose_nothing(
    system: System, javascript: JavaScriptSockets
) -> None:
    crowd_gets_all_once(system, javascript, DEFAULT, EXPLICIT, {"transports": ["polling"]})


def test_gevent_patches_the_web_server_once_and_nothing_else(system: System) -> None:
    for process in system.processes:
        assert "MonkeyPatchWarning" not in process.output, process.name
        assert "Traceback" not in process.output, process.output[-3000:]
    probe = "import worker, gevent.monkey as m; print(m.is_anything_patched())"
    assert system.start("probe", "-c", probe).popen.wait(90) == 0
    assert system.process("probe").output.split() == ["False"]


def test_another_namespace_is_refused_with_a_reason_that_the_client_shows(
    system: System, javascript: JavaScriptSockets
) -> None:
    socket = javascript.open(f"{system.url}/admin", transports=["websocket"])
    assert socket.next() == ("(connect_error)", "Invalid namespace")


@pytest.mark.parametrize("carried", ["argument", "auth", "header"])
def test_a_token_may_follow_its_scheme(system: System, javascript: JavaScriptSockets, carried: str) -> None:
    token = f"bearer {system.new_person().token}"
    how = {"auth": {"auth": {"token": token}}, "header": {"extraHeaders": {"Authorization": token}}}
    socket = javascript.open(system.url, transports=["websocket"], **how.get(carried, {}))
    socket.wait_for("connection_established")
    if carried == "argument":
        socket.emit("authenticate", token)
    socket.wait_for("authentication_success", without=("authentication_error",))
