"""The drills' own world: database, Redis, users with tokens, prices and two web workers; all gone afterwards."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import jwt
import psutil

from dev.services import LOOPBACK, PrivateRedis, free_port, private_redis
from drills.mariadb import PrivateMariaDB, ServiceFailed
from drills.pair import ReplicatedPair

ROOT = Path(__file__).resolve().parent.parent
# What the servers under test are made of. They run a copy: a worker that is replaced after minutes must not load what
# somebody has changed in the meantime.
SOURCES = (
    "bittrade",
    "migrations",
    "config.py",
    "database_url.py",
    "redis_address.py",
    "gunicorn.conf.py",
    "llhttp_worker.py",
    "wsgi.py",
    "worker.py",
    "dev",
    "drills",
)
WORKERS = 2
PRICE_STEP_CENTS = 50_00  # the most that the price walks in half a second
SOCKETS_PER_PROCESS = 800
JWT_SECRET = "drills-" + "0123456789abcdef" * 2  # servers that live for minutes, on loopback
# What a developer's own settings could change in the servers under test.
FOREIGN_SETTINGS = (
    "BITTRADE_",
    "DATABASE_",
    "DB_",
    "REDIS_",
    "QUEUE_",
    "JWT_",
    "COINGECKO_",
    "FEAR_GREED_",
    "FLASK_",
    "GUNICORN_",
    "RATELIMIT_",
)
COMMAND_TIMEOUT_S = 60
READY_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the drills and what their client holds."""

    id: int
    token: str


@dataclass(frozen=True, slots=True)
class Money:
    inr: int = 0
    satoshis: int = 0


class WebServer:
    """gunicorn with two workers; its arbiter replaces those that are killed."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self._process = process

    def list_workers(self) -> list[int]:
        """The workers' pids, oldest first; a worker that is still starting counts."""
        try:
            children = psutil.Process(self._process.pid).children()
        except psutil.NoSuchProcess:
            return []
        return sorted(child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE)

    def reload(self) -> None:
        """HUP: new workers take the place of the old ones."""
        self._process.send_signal(signal.SIGHUP)

    def measure(self) -> tuple[float, int]:
        """The workers' memory together, in megabytes, and their open descriptors."""
        workers = [psutil.Process(pid) for pid in self.list_workers()]
        memory = sum(worker.memory_info().rss for worker in workers)
        return memory / 1_000_000, sum(worker.num_fds() for worker in workers)

    def count_connections(self) -> int:
        """Clients' connections that the workers hold."""
        return sum(
            connection.laddr.port == self.port and connection.status == psutil.CONN_ESTABLISHED
            for pid in self.list_workers()
            for connection in psutil.Process(pid).net_connections("tcp")
        )

    def kill(self, pid: int) -> None:
        """kill -9 of one worker."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it was replaced since it was listed

    def is_healthy(self) -> bool:
        """Whether /api/health answers 200 and says OK."""
        return find_health_status(self.port) == "OK"

    def wait_until_ready(self) -> None:
        wait_for(self.is_healthy, timeout_s=READY_TIMEOUT_S, what="the web server to be healthy")


@dataclass(frozen=True, slots=True)
class World:
    """Everything a drill may use and break."""

    database: PrivateMariaDB | ReplicatedPair
    redis: PrivateRedis
    web: WebServer
    people: dict[str, list[Person]]
    environment: Mapping[str, str] = field(repr=False)
    code: Path  # the copy of the sources that the servers run

    @property
    def server(self) -> PrivateMariaDB:
        """The server that writes."""
        return self.database.primary if isinstance(self.database, ReplicatedPair) else self.database


def find_health_status(port: int) -> str | None:
    """`status` of /api/health, or None where nothing sensible comes within 2 s."""
    connection = HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/api/health")
        return str(json.loads(connection.getresponse().read())["status"])
    except (OSError, HTTPException, ValueError, KeyError):
        return None
    finally:
        connection.close()


def wait_for(is_so: Callable[[], object], *, timeout_s: float, what: str) -> float:
    """Look until it is so: seconds that took. Raises ServiceFailed."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > timeout_s:
            raise ServiceFailed(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(0.05)
    return time.monotonic() - began


@contextmanager
def world(
    folder: Path,
    *,
    seed: int,
    groups: Mapping[str, list[Money]],
    database: PrivateMariaDB | ReplicatedPair | None = None,
    price_step_cents: int = PRICE_STEP_CENTS,
) -> Iterator[World]:
    """Set everything up, with the named groups of users; take everything down. `folder` keeps the logs."""
    copy_sources(folder / "code")
    with ExitStack() as stack:
        database = database or PrivateMariaDB(folder / "mariadb")
        stack.callback(database.close)
        database.install()
        redis = stack.enter_context(private_redis())
        environment = make_environment(code=folder / "code", database_url=database.url, redis_url=redis.url)
        migrate(folder, folder / "code", environment)
        # The web server starts while the users are made: both take seconds.
        web = stack.enter_context(web_server(folder, environment))
        people = stack.enter_context(people_and_prices(folder, environment, (seed, price_step_cents), groups))
        web.wait_until_ready()
        yield World(database, redis, web, people, environment, folder / "code")


def copy_sources(code: Path) -> None:
    code.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, code / name)


def make_environment(*, code: Path, database_url: str, redis_url: str) -> dict[str, str]:
    """The servers' environment: the machine's, without a developer's settings, and ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}
    return kept | {
        "BITTRADE_ENV": "production",
        "FLASK_SKIP_DOTENV": "1",
        "PYTHONPATH": str(code),
        "PYTHONUNBUFFERED": "1",
        "HOST": LOOPBACK,
        "PORT": str(free_port()),
        "WEB_CONCURRENCY": str(WORKERS),
        "LOG_LEVEL": "WARNING",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "JWT_SECRET": JWT_SECRET,
        "BCRYPT_COST": "4",
        # All clients have one address, and a few users make most of the trades.
        "SOCKETS_PER_PROCESS": str(SOCKETS_PER_PROCESS),
        "SOCKETS_PER_ADDRESS": str(SOCKETS_PER_PROCESS),
        **dict.fromkeys(("RATELIMIT_READ", "RATELIMIT_TRADE"), "1000000 per minute"),
        # A closed port: nothing here may ask the real ones.
        "COINGECKO_API_URL": f"http://{LOOPBACK}:9/api/v3",
        "FEAR_GREED_API_URL": f"http://{LOOPBACK}:9/fng",
        "COINBASE_API_URL": f"http://{LOOPBACK}:9/coinbase",
        "KRAKEN_API_URL": f"http://{LOOPBACK}:9/0/public",
    }


def migrate(folder: Path, code: Path, environment: Mapping[str, str]) -> None:
    """Bring the database that the environment names up to date."""
    command = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        "wsgi",
        "db",
        "upgrade",
        "-d",
        str(code / "migrations"),
    ]
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise ServiceFailed(f"flask db upgrade failed:\n{(done.stdout + done.stderr)[-2000:]}")


@contextmanager
def web_server(folder: Path, environment: Mapping[str, str]) -> Iterator[WebServer]:
    command = [sys.executable, "-m", "gunicorn", "-c", str(folder / "code" / "gunicorn.conf.py"), "wsgi:app"]
    with open(folder / "web.log", "wb") as log:
        process = subprocess.Popen(
            command,
            env={
                **environment,
                "BCRYPT_COST": "12",
            },  # as in production; the accounts were opened with cheap hashes
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield WebServer(int(environment["PORT"]), process)
    finally:
        _end(process)


@contextmanager
def people_and_prices(
    folder: Path, environment: Mapping[str, str], walk: tuple[int, int], groups: Mapping[str, list[Money]]
) -> Iterator[dict[str, list[Person]]]:
    """The users of each group; while in here, there is a fresh price."""
    wanted = [
        {"email": f"{group}-{number}@drill.test", "inr": money.inr, "satoshis": money.satoshis}
        for group, members in groups.items()
        for number, money in enumerate(members)
    ]
    with open(folder / "prices.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "drills.people_and_prices", *map(str, walk)],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        if process.stdin is None or process.stdout is None:
            raise ServiceFailed("no pipes to the process that makes the users")
        process.stdin.write(json.dumps(wanted).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise ServiceFailed(f"no users:\n{(folder / 'prices.log').read_text(errors='replace')[-2000:]}")
        made = iter(
            [_person(user_id, who["email"]) for user_id, who in zip(json.loads(line), wanted, strict=True)]
        )
        yield {group: [next(made) for _ in members] for group, members in groups.items()}
    finally:
        _end(process)


def _person(user_id: int, email: object) -> Person:
    """Mint the token here, as the contract allows: a login each would cost more than the drill."""
    claims = {"id": user_id, "email": email, "exp": int(time.time()) + 24 * 3600}
    return Person(user_id, jwt.encode(claims, JWT_SECRET, algorithm="HS256"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, kindly at first."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            pass
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
