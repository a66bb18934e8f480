"""One gunicorn worker: its event loop serves everybody, so nobody may hold it, fill its memory, or confuse it."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import requests
import websocket

from tests.e2e.conftest import Person, System, running_system, wait_until

GENEROUS_S = 90  # what must happen may take so long on a busy machine
LOGINS = 8
MEGABYTE = 1_000_000
LIMIT_BYTES = 16_384


@pytest.fixture(scope="module")
def system(scratch_database: str, redis_url: str) -> Iterator[System]:
    with running_system(scratch_database, redis_url, BCRYPT_COST="12", MAX_PRICE_AGE_S="600") as system:
        system.start_simulator()
        system.start_web()
        system.flask("market", "fetch")
        yield system
        assert "Traceback" not in system.process("web").output
        assert "MonkeyPatchWarning" not in system.process("web").output


@pytest.fixture(scope="module")
def person(system: System) -> Person:
    return system.new_person(inr=10_000)


@pytest.fixture
def raw(system: System) -> Iterator[Callable[..., websocket.WebSocket]]:
    """Open a WebSocket without a Socket.IO client above it."""
    made: list[websocket.WebSocket] = []

    def connect(*, join: bool = True, **options: Any) -> websocket.WebSocket:
        url = f"{system.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
        made.append(websocket.create_connection(url, timeout=GENEROUS_S, **options))
        assert made[-1].recv().startswith("0{")
        if join:
            made[-1].send("40")
            wait_for(made[-1], "btc_price_update")
        return made[-1]

    yield connect
    for each in made:
        each.close()


def wait_for(connection: websocket.WebSocket, text: str) -> str:
    while text not in (message := str(connection.recv())):
        assert message, "closed"
    return message


def is_closed_by_server(connection: websocket.WebSocket) -> bool:
    try:
        while connection.recv_frame().opcode != websocket.ABNF.OPCODE_CLOSE:
            pass
    except (websocket.WebSocketConnectionClosedException, OSError):
        pass
    return True


def latencies_while(system: System, work: Callable[[list[float]], None]) -> list[float]:
    """How long GET /api/market-rates takes, sorted, one after another for as long as the work lasts.

    The work gets what was found so far: it may go on until others were answered meanwhile.
    """
    found: list[float] = []
    done = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not done.is_set():
                began = time.monotonic()
                assert session.get(f"{system.url}/api/market-rates", timeout=GENEROUS_S).status_code == 200
                found.append(time.monotonic() - began)

    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(ask)
        try:
            work(found)
        finally:
            done.set()
        asking.result()
    return sorted(found)


def show(latencies: list[float]) -> str:
    ms = [round(latencies[int((len(latencies) - 1) * part)] * 1000, 1) for part in (0.5, 0.99, 1)]
    return f"{len(latencies)} requests meanwhile: median {ms[0]} ms, p99 {ms[1]} ms, longest {ms[2]} ms"


def test_eight_logins_at_once_hold_up_nobody(system: System, person: Person) -> None:
    logins: list[float] = []

    def login(_: int) -> float:
        began = time.monotonic()
        person.login()
        return time.monotonic() - began

    def work(_answered: list[float]) -> None:
        with ThreadPoolExecutor(LOGINS) as threads:
            logins.extend(sorted(threads.map(login, range(LOGINS))))

    latencies = latencies_while(system, work)
    print(f"{LOGINS} logins in {logins[0]:.2f} to {logins[-1]:.2f} s; {show(latencies)}")
    # A loop that waited for each hash would answer once between two of them.
    assert len(latencies) > 3 * LOGINS


@pytest.mark.parametrize("kind", ["events", "pings"])
def test_a_flood_holds_up_nobody_and_is_cut(
    system: System, raw: Callable[..., websocket.WebSocket], kind: str
) -> None:
    event = websocket.ABNF.create_frame('42["authenticate","nobody"]', websocket.ABNF.OPCODE_TEXT)
    ping = websocket.ABNF.create_frame("", websocket.ABNF.OPCODE_PING)
    batch = (event if kind == "events" else ping).format() * 1000
    cuts = 0

    def work(answered: list[float]) -> None:
        nonlocal cuts
        deadline = time.monotonic() + GENEROUS_S
        while (cuts < 3 or len(answered) < 20) and time.monotonic() < deadline:
            flooding = raw()
            try:
                while time.monotonic() < deadline:
                    flooding.sock.sendall(batch)
            except OSError:
                cuts += 1

    latencies = latencies_while(system, work)
    print(f"a flood of {kind}, cut {cuts} times; {show(latencies)}")
    assert cuts >= 3
    assert len(latencies) >= 20


def test_nobody_is_offered_compression(raw: Callable[..., websocket.WebSocket]) -> None:
    offering = raw(header=["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"])
    assert "sec-websocket-extensions" not in offering.headers
    assert offering.status == 101


@pytest.mark.parametrize("parts", [1, 1000], ids=["one frame", "a thousand fragments"])
def test_a_message_beyond_the_limit_is_cut_off_while_it_comes(
    system: System, raw: Callable[..., websocket.WebSocket], parts: int
) -> None:
    worker = system.process("web").children()[0]
    before = worker.memory_info().rss
    bomb = raw(join=False)
    size = 64 * MEGABYTE // parts
    try:
        for number in range(parts):
            opcode = websocket.ABNF.OPCODE_TEXT if number == 0 else websocket.ABNF.OPCODE_CONT
            bomb.sock.sendall(frame_header(opcode, size, is_last=number == parts - 1) + b"4" * size)
    except OSError:
        pass  # cut off
    else:
        pytest.fail("64 MB were taken")
    grown = max(0, worker.memory_info().rss - before) / MEGABYTE
    print(f"the worker grew by {grown:.1f} MB")
    assert grown < 16


def frame_header(opcode: int, size: int, *, is_last: bool) -> bytes:
    """Of a client's frame whose mask is four zeros, so that its payload is sent as it is."""
    return struct.pack("!BBQ4x", (0x80 if is_last else 0) | opcode, 0x80 | 127, size)


def test_the_largest_message_allowed_is_taken(raw: Callable[..., websocket.WebSocket]) -> None:
    connection = raw()
    body = '42["authenticate","%s"]'
    connection.send(body % ("x" * (LIMIT_BYTES - len(body) + 2)))
    wait_for(connection, "authentication_error")


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "x",
        "9",
        "4",
        "4x",
        "42",
        "42{}",
        "42[]",
        "42[1]",
        '42["authenticate"',
        "43" + "9" * 5000,
        "451-[]",
        "44{}",
    ],
)
def test_nonsense_ends_at_most_its_own_socket(
    system: System, raw: Callable[..., websocket.WebSocket], nonsense: str
) -> None:
    connection = raw()
    connection.send(nonsense)
    connection.settimeout(0.5)
    try:
        connection.send('42["authenticate","nobody"]')
        wait_for(connection, "authentication_error")
    except (OSError, AssertionError, websocket.WebSocketException):
        pass  # cut, or waiting for an attachment: both are right
    assert raw().connected


def test_an_upgrade_that_is_none_is_a_clear_refusal(system: System) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    url = f"{system.url}/socket.io/?EIO=4&transport=websocket"
    for extra in ({}, {"Sec-WebSocket-Version": "13"}, {"Sec-WebSocket-Key": "short"}):
        answer = requests.get(url, headers=headers | extra, timeout=GENEROUS_S)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    unknown = requests.get(f"{system.url}/socket.io/?EIO=4&transport=polling&sid=nobody", timeout=GENEROUS_S)
    assert (unknown.status_code, unknown.json()["error"]) == (400, "Invalid session nobody")


def test_names_that_are_reserved_confuse_nothing(
    system: System, person: Person, raw: Callable[..., websocket.WebSocket]
) -> None:
    """python-socketio would run the server's own handlers for them."""
    token = person.login()
    connection = raw()
    connection.send(f'42["authenticate","{token}"]')
    wait_for(connection, "authentication_success")
    connection.send('42["disconnect","boo"]')
    connection.send('42["connect",{"token":"x"}]')
    person.trade("buy", "100")
    wait_for(connection, "user_transaction_update")
    assert system.post("/api/auth/logout", token=token).status_code == 200
    wait_for(connection, "authentication_error")


def test_who_left_leaves_nothing(system: System, raw: Callable[..., websocket.WebSocket]) -> None:
    """Politely, without a word, or with nonsense: the worker holds no connection of theirs."""
    worker = system.process("web").children()[0]
    wait_until(lambda: sockets_of(worker, system) == 0, "the other tests' sockets are gone")
    polite, rude, confused = raw(), raw(), raw()
    polite.close()
    rude.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    rude.sock.close()
    confused.send("x")
    assert is_closed_by_server(confused)
    wait_until(lambda: sockets_of(worker, system) == 0, "their sockets are gone")


def sockets_of(worker: psutil.Process, system: System) -> int:
    return system.sockets_by_worker()[worker.pid]
