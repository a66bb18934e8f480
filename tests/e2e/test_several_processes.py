"""gunicorn with two workers: websocket only, and Redis carries the events from one to the other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.e2e.conftest import JavaScriptSockets, Person, Socket, System, crowd_gets_all_once, running_system

WEBSOCKET = {"transports": ["websocket"]}
SOCKETS = 12


@pytest.fixture(scope="module")
def system(scratch_database: str, redis_url: str) -> Iterator[System]:
    if scratch_database.startswith("sqlite"):
        pytest.skip("needs MariaDB")  # SQLite is for one web process
    with running_system(scratch_database, redis_url, MAX_PRICE_AGE_S="600") as system:
        system.start_simulator()
        system.start_web(workers=2)
        system.flask("market", "fetch")
        yield system


def open_on_both(system: System, javascript: JavaScriptSockets) -> list[Socket]:
    """Enough sockets that each worker has some; the kernel chooses which."""
    sockets: list[Socket] = []
    for _ in range(5):
        sockets += [javascript.open(system.url, **WEBSOCKET) for _ in range(SOCKETS)]
        for socket in sockets[-SOCKETS:]:
            socket.wait_for("btc_price_update")
        if min(system.sockets_by_worker().values()) >= 2:
            return sockets
    pytest.fail(f"all sockets are on one worker: {system.sockets_by_worker()}")


def authenticated(system: System, javascript: JavaScriptSockets, person: Person) -> list[Socket]:
    sockets = open_on_both(system, javascript)
    for socket in sockets:
        assert socket.authenticate(person.token)[-1][0] == "authentication_success"
    return sockets


def test_a_trade_on_one_worker_reaches_the_users_sockets_on_both(
    system: System, javascript: JavaScriptSockets
) -> None:
    person = system.new_person(inr=10_000)
    sockets = authenticated(system, javascript, person)
    person.trade("buy", "1000")
    for socket in sockets:
        (first, balance), (second, transactions) = socket.user_events(2)
        assert (first, second) == ("user_balance_update", "user_transaction_update")
        assert (balance["available_inr"], balance["seq"], transactions["seq"]) == (9_000, 2, 2)


def test_a_user_never_sees_the_balance_go_back(system: System, javascript: JavaScriptSockets) -> None:
    """Trades commit on both workers at once, and either may publish first."""
    person = system.new_person(inr=100_000)
    sockets = authenticated(system, javascript, person)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: person.trade("buy", "100"), range(40)))
    assert len(answers) == 40
    for socket in sockets:
        seqs = socket.wait_for_seq("user_balance_update", 41)
        assert seqs == sorted(set(seqs))


def test_everyone_gets_a_change_of_the_rates_exactly_once(
    system: System, javascript: JavaScriptSockets
) -> None:
    sockets = open_on_both(system, javascript)
    usd = system.rates()["btc_usd_price"]
    system.flask("settings", "set", "buy_multiplier", "93")
    for socket in sockets:
        price = socket.wait_for("btc_price_update")
        assert price["buy_rate_inr"] == int(usd * 93 + 0.5)
        assert "btc_price_update" not in socket.drain()


def test_a_revoked_token_is_put_out_on_every_worker(system: System, javascript: JavaScriptSockets) -> None:
    person = system.new_person()
    sockets = authenticated(system, javascript, person)
    assert system.post("/api/auth/logout-all", token=person.token).status_code == 200
    for socket in sockets:
        socket.wait_for("authentication_error")


def test_polling_is_refused_with_words_that_help(system: System, javascript: JavaScriptSockets) -> None:
    origin = {"Origin": "https://shop.example"}
    answer = requests.get(f"{system.url}/socket.io/?EIO=4&transport=polling", headers=origin, timeout=60)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"]
    assert answer.json()["code"] == "websocket_only"
    assert "transports: ['websocket']" in answer.json()["error"]
    socket = javascript.open(system.url, reconnection=False)
    assert socket.next() == ("(connect_error)", "xhr poll error")
    assert socket.events[-1][1][1] == 400
    assert "websocket_only" in socket.events[-1][1][2]
    either = javascript.open(system.url, transports=["websocket", "polling"])
    either.wait_for("connection_established")


def test_two_hundred_clients_lose_nothing(system: System, javascript: JavaScriptSockets) -> None:
    crowd_gets_all_once(system, javascript, WEBSOCKET, {"transports": ["websocket", "polling"]})
