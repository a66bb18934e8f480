"""The whole of BitTrade, started as an operator starts it, and the real JavaScript client to talk to it.

Everything here knows the server only from outside: its commands, its HTTP and its sockets. Each module starts what it
needs once; all of it is ended by pid, and the output of what ran is shown with a test that fails.
"""

import itertools
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import requests
from playwright.sync_api import Browser

import redis_address
from dev import services
from dev.services import PrivateRedis, free_port
from tests.e2e.browsing import open_browser

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# How long what must happen may take on a busy machine; how long it does take is measured by drills and benchmarks.
READY_S = 90
END_S = 60
EVENT_S = 60
PASSWORD = "a long enough pass phrase"


@pytest.fixture(scope="session", autouse=True)
def _sighup_is_heard() -> None:
    """Let what is started here reload: under nohup it would inherit that SIGHUP is ignored, and a shell can't trap that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_until(is_so: Callable[[], Any], what: str, *, timeout_s: float = READY_S) -> float:
    """Look until it is so; the seconds that it took."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > timeout_s:
            pytest.fail(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)
    return time.monotonic() - began


# --- Processes ----------------------------------------------------------------------------------------------------


@dataclass
class Process:
    """One started command; its output goes to a file."""

    name: str
    popen: "subprocess.Popen[bytes]"
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.popen.pid).children(recursive=True)

    def end(self) -> None:
        """Ask it to end; see that nothing of it is left."""
        if self.popen.poll() is not None:
            return
        family = self.children()
        self.popen.terminate()
        try:
            self.popen.wait(END_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        _, left = psutil.wait_procs(family, timeout=30)
        for process in left:
            process.kill()
        assert not left, f"{self.name} left {left} behind"


@dataclass
class System:
    """A running BitTrade."""

    environment: dict[str, str] = field(repr=False)
    url: str
    processes: list[Process] = field(default_factory=list)
    people: int = 0

    def start(self, name: str, *command: str, **variables: str) -> Process:
        descriptor, path = tempfile.mkstemp(prefix=f"bittrade-{name}-", suffix=".log")
        with open(descriptor, "wb") as log:
            popen = subprocess.Popen(
                [sys.executable, *command],
                env=self.environment | variables,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(Process(name, popen, Path(path)))
        return self.processes[-1]

    def process(self, name: str) -> Process:
        return next(process for process in self.processes if process.name == name)

    def flask(self, *arguments: str) -> str:
        """One of the operators' commands."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_web(self, *, workers: int = 1) -> None:
        port = self.url.rpartition(":")[2]
        gunicorn = ("-m", "gunicorn", "-c", "gunicorn.conf.py", "-w", str(workers), "wsgi:app")
        web = self.start("web", *gunicorn, PORT=port)

        def is_ready() -> bool:
            assert web.popen.poll() is None, web.output
            try:
                return requests.get(f"{self.url}/api/health", timeout=60).status_code == 200
            except requests.RequestException:
                return False

        wait_until(is_ready, "the web server is ready")

    def start_simulator(self) -> None:
        port = free_port()
        self.start("simulator", "-m", "dev.simulator", "--port", str(port))
        self.simulator_url = f"http://127.0.0.1:{port}"
        self.environment |= {
            "COINGECKO_API_URL": f"{self.simulator_url}/api/v3",
            "FEAR_GREED_API_URL": f"{self.simulator_url}/fng",
        }
        wait_until(lambda: self._is_up(f"{self.simulator_url}/control"), "the simulator is ready")

    def set_source_price(self, usd: float) -> None:
        """From the next fetch on, the source says this."""
        answer = requests.post(f"{self.simulator_url}/control", json={"price": usd}, timeout=60)
        assert answer.ok, answer.text

    def _is_up(self, url: str) -> bool:
        try:
            return requests.get(url, timeout=60).ok
        except requests.RequestException:
            return False

    def sockets_by_worker(self) -> dict[int, int]:
        """How many connections each of gunicorn's workers holds."""
        port = int(self.url.rpartition(":")[2])
        return {
            worker.pid: sum(
                1
                for connection in worker.net_connections("tcp")
                if connection.laddr.port == port and connection.status == psutil.CONN_ESTABLISHED
            )
            for worker in self.process("web").children()
        }

    def rates(self) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/api/market-rates", timeout=60)
        return answer.json() if answer.ok else {}

    def post(self, path: str, body: dict[str, Any] | None = None, token: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.post(f"{self.url}{path}", json=body or {}, headers=headers, timeout=60)

    def new_person(self, *, inr: int = 0) -> "Person":
        """Register over HTTP; an operator deposits."""
        self.people += 1
        email = f"person-{self.people}-{secrets.token_hex(3)}@example.com"
        answer = self.post(
            "/api/auth/register", {"email": email, "password": PASSWORD, "name": f"Person {self.people}"}
        )
        assert answer.status_code == 201, answer.text
        if inr:
            self.flask("balance", "deposit", email, "--inr", str(inr))
        return Person(self, answer.json()["user"]["id"], email, answer.json()["token"])

    def end(self) -> None:
        with ExitStack() as stack:  # each is ended, whatever the others do
            for process in self.processes:
                stack.callback(process.log.unlink)
                stack.callback(process.end)


@dataclass
class Person:
    """A registered user and a token of theirs."""

    system: System
    id: int
    email: str
    token: str

    def login(self) -> str:
        """One more token."""
        answer = self.system.post("/api/auth/login", {"email": self.email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        return token

    def trade(self, action: str, amount: str, currency: str = "inr") -> dict[str, Any]:
        answer = self.system.post(
            "/api/trade",
            {"action": action, "type": "market", "amount": amount, "currency": currency},
            self.token,
        )
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body


@contextmanager
def running_system(database_url: str, redis_url: str, **variables: str) -> Iterator[System]:
    """A migrated database and an empty Redis, with nothing started yet."""
    _empty(redis_url)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("BITTRADE_", "REDIS_"))
    }
    environment = inherited | {
        "BITTRADE_ENV": "development",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "QUEUE_REDIS_URL": redis_url,
        "HOST": "127.0.0.1",
        "BCRYPT_COST": "4",
        "PRICE_SOURCES": "coingecko",
        "PRICE_INTERVAL_S": "1",
        "COINGECKO_CALLS_PER_MINUTE": "10000",
        "FEAR_GREED_CALLS_PER_MINUTE": "10000",
        "RATELIMIT_ENABLED": "false",
        "PYTHONUNBUFFERED": "1",
        **variables,
    }
    system = System(environment, f"http://127.0.0.1:{free_port()}")
    try:
        system.flask("db", "upgrade")
        yield system
    finally:
        system.end()
        _empty(redis_url)


def _empty(redis_url: str) -> None:
    try:
        with redis_address.connect(redis_url) as client:
            client.flushdb()
    except redis.ConnectionError:
        pass  # a private one, which the test has killed


@pytest.fixture(scope="module")
def scratch_database(request: pytest.FixtureRequest, surroundings: Any) -> str:
    """A database that only this module uses: MariaDB where it answers, else SQLite."""
    url: str = request.getfixturevalue("new_mariadb" if surroundings.database_version else "new_sqlite")()
    surroundings.notes["database"] = surroundings.database
    return url


@pytest.fixture(scope="module")
def private_redis() -> Iterator[PrivateRedis]:
    """A Redis of this module's own, which a test may kill, hang and start again."""
    with services.private_redis() as server:
        yield server


@pytest.fixture(scope="module")
def browser(surroundings: Any) -> Iterator[Browser]:
    with open_browser(surroundings) as started:
        yield started


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what the processes said with a test that failed."""
    outcome: Any = yield
    report = outcome.get_result()
    system = getattr(item, "funcargs", {}).get("system")
    if report.failed and isinstance(system, System):
        for process in system.processes:
            if process.log.exists():
                report.sections.append((f"output of {process.name}", process.output[-20_000:]))


# --- The JavaScript client ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _javascript(surroundings: Any) -> None:
    """Install what package-lock.json pins, once."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            if surroundings.must_be_real:
                pytest.fail(f"BITTRADE_REQUIRE_SERVICES=1 and {program} is not on the PATH", pytrace=False)
            pytest.skip(f"needs {program}")
    stamp = HERE / "node_modules" / ".installed"
    if not stamp.exists() or stamp.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        command = ["npm", "ci", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        stamp.touch()


class Socket:
    """One socket.io-client socket, and every event it has had so far."""

    def __init__(self, sockets: "JavaScriptSockets", number: int) -> None:
        self._sockets = sockets
        self._id = number
        self._waiting: queue.Queue[tuple[str, list[Any], float]] = queue.Queue()
        self.events: list[tuple[str, list[Any]]] = []

    def arrived(self, event: str, args: list[Any]) -> None:
        self._waiting.put((event, args, time.monotonic()))

    def emit(self, event: str, *args: Any) -> None:
        self._sockets.command(do="emit", id=self._id, event=event, args=args)

    def close(self) -> None:
        self._sockets.command(do="close", id=self._id)

    def next(self, *, timeout_s: float = EVENT_S) -> tuple[str, Any]:
        """The next thing that happens, as (event, its argument)."""
        try:
            event, args, self.arrived_at = self._waiting.get(timeout=timeout_s)
        except queue.Empty:
            pytest.fail(f"nothing happened within {timeout_s} s; before: {[name for name, _ in self.events]}")
        self.events.append((event, args))
        return event, args[0] if args else None

    def next_of_ours(self) -> tuple[str, Any]:
        """The same, but for the transport's upgrade, which comes when it likes."""
        event = self.next()
        return event if event[0] != "(upgrade)" else self.next()

    def wait_for(self, wanted: str, *, timeout_s: float = EVENT_S, without: tuple[str, ...] = ()) -> Any:
        """The argument of the next event of this name; fail on one that must not come `without`."""
        deadline = time.monotonic() + timeout_s
        while True:
            event, payload = self.next(timeout_s=max(0.0, deadline - time.monotonic()))
            if event == wanted:
                return payload
            assert event not in without, f"{event} came before {wanted}: {payload}"

    def user_events(self, count: int) -> list[tuple[str, Any]]:
        """The next `count` things that are not prices."""
        found: list[tuple[str, Any]] = []
        while len(found) < count:
            event = self.next()
            if event[0] not in ("btc_price_update", "market_status", "heartbeat", "(upgrade)"):
                found.append(event)
        return found

    def authenticate(self, token: Any) -> list[tuple[str, Any]]:
        """What the server says to it: three events, or an error."""
        self.emit("authenticate", token)
        first = self.user_events(1)
        return first if first[0][0] == "authentication_error" else first + self.user_events(2)

    def wait_for_seq(self, event: str, seq: int, *, timeout_s: float = EVENT_S) -> list[int]:
        """The `seq` of this user event until it reaches `seq`."""
        found = [0]
        deadline = time.monotonic() + timeout_s
        while found[-1] < seq:
            found.append(self.wait_for(event, timeout_s=max(0.0, deadline - time.monotonic()))["seq"])
        return found[1:]

    def drain(self) -> list[str]:
        """Names of what has come by now: a round trip with the server has passed since."""
        self.emit("authenticate", "nobody")
        names: list[str] = []
        while True:
            event, _ = self.next()
            if event == "authentication_error":
                return names
            names.append(event)


class JavaScriptSockets:
    """A node process that holds any number of sockets."""

    def __init__(self) -> None:
        self._node = subprocess.Popen(
            ["node", "sockets.js"],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._sockets: dict[int, Socket] = {}
        self._numbers = itertools.count(1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def open(self, url: str, **options: Any) -> Socket:
        number = next(self._numbers)
        self._sockets[number] = Socket(self, number)
        self.command(do="open", id=number, url=url, options=options)
        return self._sockets[number]

    def command(self, **command: Any) -> None:
        assert self._node.stdin
        self._node.stdin.write(json.dumps(command) + "\n")

    def _read(self) -> None:
        assert self._node.stdout
        for line in self._node.stdout:
            said = json.loads(line)
            self._sockets[said["id"]].arrived(said["event"], said["args"])

    def end(self) -> None:
        assert self._node.stdin
        self._node.stdin.close()
        try:
            self._node.wait(5)
        except subprocess.TimeoutExpired:
            self._node.kill()
            self._node.wait()
        self._reader.join(5)
        assert self._node.stdout
        self._node.stdout.close()


CROWD = 200


def crowd_gets_all_once(system: System, javascript: JavaScriptSockets, *kinds: dict[str, Any]) -> None:
    """Open a crowd of clients of these kinds; each connects, stays, and gets each change exactly once."""
    began = time.monotonic()
    crowd = [
        javascript.open(system.url, reconnection=False, **kinds[number % len(kinds)])
        for number in range(CROWD)
    ]
    for socket in crowd:
        socket.wait_for("btc_price_update", timeout_s=READY_S, without=("(connect_error)", "(disconnect)"))
    connected_after_s = time.monotonic() - began
    usd = system.rates()["btc_usd_price"]
    for change in ("92", "91"):
        system.flask("settings", "set", "buy_multiplier", change)
    told: list[list[str]] = []
    for socket in crowd:
        heard_before, rates = len(socket.events), set()
        while not rates >= {round(usd * 92), round(usd * 91)}:
            price = socket.wait_for("btc_price_update", without=("(connect_error)", "(disconnect)"))
            rates.add(price["buy_rate_inr"])
        assert "(disconnect)" not in socket.drain()
        prices = [args[0] for event, args in socket.events[heard_before:] if event == "btc_price_update"]
        told.append([price["timestamp"] for price in prices])
    assert all(stamps == told[0] for stamps in told), "some were told what others were not"
    assert len(set(told[0])) == len(told[0]), "told twice"
    for socket in crowd:
        socket.close()
    print(
        f"{CROWD} clients connected in {connected_after_s:.1f} s; {len(told[0])} broadcasts, each once to each"
    )


@pytest.fixture
def javascript(_javascript: None) -> Iterator[JavaScriptSockets]:
    sockets = JavaScriptSockets()
    yield sockets
    sockets.end()
