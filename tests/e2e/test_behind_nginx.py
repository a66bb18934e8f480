"""`honcho -d deploy start` as it is, but for the ports: nginx, two web processes, worker and scheduler, and any client."""

import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests
from requests.adapters import HTTPAdapter

from dev.services import free_port
from tests.e2e.conftest import (
    PASSWORD,
    ROOT,
    JavaScriptSockets,
    Process,
    System,
    crowd_gets_all_once,
    running_system,
    wait_until,
)

KINDS: list[dict[str, list[str]]] = [{}, {"transports": ["polling"]}, {"transports": ["websocket"]}]
PRICE = 95_000


@pytest.fixture(scope="module")
def system(
    scratch_database: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    surroundings: object,
) -> Iterator[System]:
    if shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        if getattr(surroundings, "must_be_real", False):
            pytest.fail("BITTRADE_REQUIRE_SERVICES=1 and nginx is not installed", pytrace=False)
        pytest.skip("needs nginx")
    if scratch_database.startswith("sqlite"):
        pytest.skip("needs MariaDB")  # two web processes
    # Where nginx's worker, who is nobody when root starts it, reaches its cache; pytest's folders are their owner's alone.
    with (
        tempfile.TemporaryDirectory(prefix="bt-") as temporary,
        running_system(scratch_database, redis_url, MAX_PRICE_AGE_S="600", TMPDIR=temporary) as system,
    ):
        Path(temporary).chmod(0o711)
        system.start_simulator()
        system.set_source_price(PRICE)
        ports = {"3001": system.url.rpartition(":")[2], "3011": str(free_port()), "3012": str(free_port())}
        folder = deployment(tmp_path_factory.mktemp("deploy"), ports)
        system.start(
            "web",
            *("-m", "honcho", "-d", str(folder), "start"),
            PATH=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        )
        for port in reversed(ports.values()):  # nginx last: it forgets for 2 s who did not answer
            wait_until(lambda port=port: is_up(f"http://127.0.0.1:{port}"), f"{port} answers")
        wait_until(lambda: system.rates().get("btc_usd_price") == PRICE, "the worker has fetched a price")
        yield system
        assert "Traceback" not in system.process("web").output


def deployment(folder: Path, ports: dict[str, str]) -> Path:
    """A copy of deploy/ that has these ports for the written ones."""
    found: set[str] = set()

    def replaced(match: re.Match[str]) -> str:
        found.add(match[0])
        return ports[match[0]]

    for name in ("Procfile", "nginx.sh", "nginx.conf", "nginx-alone.conf"):
        text = re.sub(rf"\b({'|'.join(ports)})\b", replaced, (ROOT / "deploy" / name).read_text())
        (folder / name).write_text(text.replace("sh deploy/", f"sh {folder}/"))
    assert found == set(ports)
    return folder


def is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/api/health", timeout=60).status_code == 200
    except requests.RequestException:
        return False


def test_two_hundred_clients_by_any_transport_lose_nothing(
    system: System, javascript: JavaScriptSockets
) -> None:
    crowd_gets_all_once(system, javascript, *KINDS)


def test_sessions_are_spread_and_carry_their_process_name(system: System) -> None:
    polling = f"{system.url}/socket.io/?EIO=4&transport=polling"
    names = {requests.get(polling, timeout=60).text.split('"sid":"')[1][:3] for _ in range(8)}
    assert names == {"n1.", "n2."}


def test_the_client_s_own_address_is_known_and_a_forged_one_is_not_believed(system: System) -> None:
    person = system.new_person()
    with requests.Session() as session:
        session.mount("http://", FromAddress("127.0.0.2"))
        answer = session.post(
            f"{system.url}/api/auth/login",
            json={"email": person.email, "password": PASSWORD},
            headers={"X-Forwarded-For": "203.0.113.7"},
            timeout=60,
        )
        mine = {"Authorization": f"Bearer {answer.json()['token']}"}
        sessions = session.get(f"{system.url}/api/auth/sessions", headers=mine, timeout=60).json()["sessions"]
    assert [each["address"] for each in sessions if each["current"]] == ["127.0.0.2"]


class FromAddress(HTTPAdapter):
    """Connects from this address of the machine's."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: int, **options: object) -> None:
        super().init_poolmanager(*arguments, source_address=(self._address, 0), **options)


def test_what_is_everybodys_is_kept_for_a_second(system: System) -> None:
    url = f"{system.url}/api/market-rates"

    def ages() -> list[int]:
        return [requests.get(url, timeout=60).json()["age_ms"] for _ in range(20)]

    def has_repeated() -> bool:
        seen = ages()
        return len(set(seen)) < len(seen) / 2

    wait_until(has_repeated, "one answer goes to many")
    answer = requests.get(url, headers={"Origin": "https://shop.example"}, timeout=60)
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://shop.example")
    assert not {"X-Request-Id", "X-RateLimit-Remaining"} & set(answer.headers)
    wait_until(
        lambda: is_known_again(url), "who has the answer is told so"
    )  # unless a price came between the two
    old = requests.get(url, timeout=60).json()["timestamp"]
    wait_until(
        lambda: requests.get(url, timeout=60).json()["timestamp"] > old, "a newer answer takes its place"
    )


def is_known_again(url: str) -> bool:
    tag = requests.get(url, timeout=60).headers["ETag"]
    return requests.get(url, headers={"If-None-Match": tag}, timeout=60).status_code == 304


def test_what_is_ones_own_is_never_kept(system: System) -> None:
    people = [system.new_person(inr=number) for number in (100, 200)]
    for _ in range(3):
        for person, inr in zip(people, (100, 200), strict=True):
            mine = {"Authorization": f"Bearer {person.token}"}
            answer = requests.get(f"{system.url}/api/balance", headers=mine, timeout=60)
            assert (answer.json()["available_inr"], answer.headers["Cache-Control"]) == (inr, "no-store")


def test_each_process_is_reloaded_in_turn_and_no_request_and_no_client_is_lost(
    system: System, javascript: JavaScriptSockets
) -> None:
    sockets = [javascript.open(system.url, **KINDS[number % 3]) for number in range(30)]
    for socket in sockets:
        socket.wait_for("btc_price_update")
    with asking(system.url) as answers:
        for name in ("web1", "web2", "nginx"):
            reload(system.process("web"), name)
    assert len(answers) > 100
    assert set(answers) == {200}
    system.flask("settings", "set", "buy_multiplier", "93")
    for socket in sockets:  # each was put out at least once, and is back
        while socket.wait_for("btc_price_update")["buy_rate_inr"] != PRICE * 93:
            pass
    print(f"{len(answers)} requests while all was reloaded")


def reload(honcho: Process, name: str) -> None:
    """Send SIGHUP to this line's process, whose number honcho has printed; wait until its old children are gone."""
    found = re.search(rf"{name}\.1 started \(pid=(\d+)\)", honcho.output)
    assert found
    process = psutil.Process(int(found[1]))
    before = process.children(recursive=True) if name != "nginx" else process.children()[0].children()
    process.send_signal(signal.SIGHUP)
    _, left = psutil.wait_procs(before, timeout=90)
    assert not left
    assert process.is_running()


@contextmanager
def asking(url: str) -> Iterator[list[int]]:
    """Somebody asks for the rates all the time; what they were answered, 0 for a broken connection."""
    answers: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.02):
            try:
                answers.append(requests.get(f"{url}/api/market-rates", timeout=60).status_code)
            except requests.RequestException:
                answers.append(0)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield answers
    finally:
        ended.set()
        asker.join()


# The last one: it ends what the others need.
def test_at_sigterm_every_client_is_let_go_and_nothing_is_left(
    system: System, javascript: JavaScriptSockets
) -> None:
    sockets = [javascript.open(system.url, reconnection=False, **kind) for kind in KINDS]
    for socket in sockets:
        socket.wait_for("btc_price_update")
    honcho = system.process("web")
    began = time.monotonic()
    honcho.end()  # fails when it leaves a process behind
    took = time.monotonic() - began
    for socket in sockets:
        assert socket.wait_for("(disconnect)", timeout_s=30) in ("transport close", "transport error")
    assert not list(Path(system.environment["TMPDIR"]).iterdir())
    print(f"ended after {took:.1f} s")
