"""One gunicorn worker with few places: hostile sockets are turned away, cut and forgotten; at SIGTERM all are let go."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest
import requests
import websocket

from tests.e2e.conftest import JavaScriptSockets, System, running_system, wait_until
from tests.e2e.test_event_loop import latencies_while, raw, show, wait_for  # noqa: F401 - raw is a fixture

PLACES = 40
MEGABYTE = 1_000_000
Raw = Callable[..., websocket.WebSocket]


@pytest.fixture(scope="module")
def system(scratch_database: str, redis_url: str) -> Iterator[System]:
    limits = {"SOCKETS_PER_PROCESS": str(PLACES), "SOCKETS_PER_USER": "3", "MAX_PRICE_AGE_S": "600"}
    with running_system(scratch_database, redis_url, **limits) as system:
        system.start_simulator()
        system.start_web()
        system.flask("market", "fetch")
        yield system
        assert "Traceback" not in system.process("web").output


def close_frame(connection: websocket.WebSocket) -> tuple[int, str]:
    """The code and the reason that the server gives, after whatever else it sends."""
    while (frame := connection.recv_frame()).opcode != websocket.ABNF.OPCODE_CLOSE:
        pass
    return int.from_bytes(frame.data[:2], "big"), frame.data[2:].decode()


def test_idle_transports_beyond_all_places_hold_up_no_request(system: System, raw: Raw) -> None:  # noqa: F811
    """Twice as many as there are places; they answer pings, and never say what they came for."""
    idle: list[websocket.WebSocket] = []
    refusals: list[websocket.WebSocketBadStatusException] = []
    began = time.monotonic()
    for _ in range(2 * PLACES):
        try:
            idle.append(raw(join=False))
        except websocket.WebSocketBadStatusException as error:
            refusals.append(error)
    assert len(idle) == PLACES
    assert {refusal.status_code for refusal in refusals} == {503}
    assert json.loads(refusals[0].resp_body)["code"] == "too_many_sockets"

    reasons: set[tuple[int, str]] = set()
    latencies = latencies_while(system, lambda _: reasons.update(close_frame(each) for each in idle))
    took = time.monotonic() - began
    print(f"{PLACES} idle transports were closed within {took:.1f} s; {show(latencies)}")
    assert reasons == {(1008, "no CONNECT within 5 s")}
    assert latencies
    polling = f"{system.url}/socket.io/?EIO=4&transport=polling"
    wait_until(lambda: requests.get(polling, timeout=30).ok, "there are places again")


def test_a_user_has_so_many_sockets_and_is_told(system: System, raw: Raw) -> None:  # noqa: F811
    person = system.new_person()
    sockets = [raw() for _ in range(4)]
    for number, each in enumerate(sockets):
        each.send(f'42["authenticate","{person.token}"]')
        wait_for(each, "authentication_success" if number < 3 else "Too many connections of this user")


def test_a_reader_that_stops_is_cut_and_costs_nothing(system: System, raw: Raw) -> None:  # noqa: F811
    """It asks for its snapshot again and again, which is the most that a client can make us send, and reads nothing."""
    person = system.new_person(inr=100_000)
    for _ in range(15):
        person.trade("buy", "100")
    worker = system.process("web").children()[0]
    slow = raw(sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
    before = worker.memory_info().rss
    began = time.monotonic()

    def work(_answered: list[float]) -> None:
        with suppress(OSError, websocket.WebSocketException):
            while time.monotonic() < began + 120:
                slow.send(f'42["authenticate","{person.token}"]')
                time.sleep(1 / 45)
            pytest.fail("it was not cut")

    latencies = latencies_while(system, work)
    grown = (worker.memory_info().rss - before) / MEGABYTE
    print(f"cut after {time.monotonic() - began:.1f} s; the worker grew by {grown:.1f} MB; {show(latencies)}")
    assert "cut a socket that does not read" in system.process("web").output
    assert latencies
    assert grown < 8


def test_at_sigterm_every_socket_gets_a_close_frame_and_the_process_ends(
    system: System,
    javascript: JavaScriptSockets,
    raw: Raw,  # noqa: F811
) -> None:
    web = system.process("web")
    sockets = [raw() for _ in range(PLACES // 2)]
    real = [javascript.open(system.url, **options) for options in ({"transports": ["websocket"]}, {})]
    for each in real:
        each.wait_for("btc_price_update")
    family = psutil.Process(web.popen.pid).children()
    began = time.monotonic()
    web.popen.terminate()
    ends: list[float] = []
    for each in sockets:
        assert close_frame(each) == (1001, "the server is restarting")
        each.send_close(1001)
        ends.append(time.monotonic() - began)
    for each in real:
        assert each.wait_for("(disconnect)") == "transport close"  # which it takes as a reason to come back
    wait_until(lambda: web.popen.poll() is not None, "the process has ended")
    took = time.monotonic() - began
    print(f"close frames after {min(ends):.1f} to {max(ends):.1f} s; the process ended after {took:.1f} s")
    assert web.popen.returncode == 0
    assert not any(process.is_running() for process in family)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{system.url}/api/health", timeout=1)
