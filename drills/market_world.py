"""The market drills' own world: database, Redis, simulator, web server, worker and scheduler, and what watches them.

Programs that die are started again at once, for ever, as a service manager does. It knows BitTrade from outside.
"""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import jwt
import psutil
import sqlalchemy as sa

from dev.services import LOOPBACK, PrivateRedis, free_port, private_redis
from dev.simulator import Simulator, running_simulator
from drills.mariadb import PrivateMariaDB, ServiceFailed
from drills.surroundings import wait_for

ROOT = Path(__file__).resolve().parent.parent
EMAIL = "market@drill.test"
JWT_SECRET = "market-drills-" + "0123456789abcdef" * 2
FOREIGN_SETTINGS = (
    "BITTRADE_", "DATABASE_", "DB_", "REDIS_", "QUEUE_", "JWT_", "COINGECKO_", "COINBASE_", "KRAKEN_", "FEAR_GREED_",
    "PRICE_", "MAX_", "MIN_", "RATELIMIT_", "FLASK_", "GUNICORN_",
)  # fmt: skip
TRADE_EVERY_S = 0.25
SCHEDULED = "bittrade:*:schedule"


class KeptAlive:
    """A program that is started again whenever it ends."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self._command, self._environment, self._log = command, dict(environment), folder / f"{name}.log"
        self._is_over = threading.Event()
        self._process = self._start()
        self.starts = 1
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()

    def kill_child(self) -> bool:
        """kill -9 of a child, such as an RQ worker's work-horse; False where there is none.

        The worker's process for the books is no such child: it has work-horses of its own.
        """
        with suppress(psutil.Error):
            for child in psutil.Process(self._process.pid).children():
                if "ledger" not in child.cmdline():
                    child.kill()
                    return True
        return False

    def close(self) -> None:
        self._is_over.set()
        with suppress(psutil.Error):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                child.kill()
        self._process.kill()
        self._process.wait()
        self._thread.join(5)

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self._log, "ab") as log:
            return subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def _keep(self) -> None:
        while not self._is_over.wait(0.1):
            if self._process.poll() is not None and not self._is_over.wait(0.2):
                self._process = self._start()
                self.starts += 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer to the trader."""

    at: float
    status: int
    seconds: float
    body: dict[str, Any]


@dataclass
class World:
    """Everything a drill may use and break, and what was seen meanwhile."""

    database: PrivateMariaDB
    redis: PrivateRedis
    simulator: Simulator
    environment: dict[str, str]
    folder: Path
    programs: dict[str, KeptAlive] = field(default_factory=dict)
    trades: list[Sample] = field(default_factory=list)
    reads: list[Sample] = field(default_factory=list)
    ages: list[tuple[float, float]] = field(default_factory=list)
    started_at: float = 0.0
    token: str = ""

    @property
    def max_age_s(self) -> int:
        return int(self.environment["MAX_PRICE_AGE_S"])

    def query(self, text: str) -> list[Any]:
        engine = sa.create_engine(self.database.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return list(connection.execute(sa.text(text)))

    def change(self, text: str) -> None:
        engine = sa.create_engine(self.database.url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text(text))

    def price_age_s(self) -> float:
        """By the database's own clock, which is this machine's."""
        rows = self.query(
            "SELECT TIMESTAMPDIFF(MICROSECOND, as_of, UTC_TIMESTAMP(6)) FROM bitcoin_data ORDER BY id DESC LIMIT 1"
        )
        return float(rows[0][0]) / 1e6 if rows else float("inf")

    def oldest_price_s(self, since: float) -> float:
        """The greatest age that was seen since a moment."""
        return max((age for at, age in self.ages if at >= since), default=float("nan"))

    def entries(self) -> list[str]:
        with self.redis.client() as client:
            return [raw.decode() for key in client.keys(SCHEDULED) for raw in client.zrange(key, 0, -1)]

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, token: str | None = None
    ) -> Sample:
        began = time.monotonic()
        connection = HTTPConnection(LOOPBACK, int(self.environment["PORT"]), timeout=12)
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        if body is not None:
            headers["Idempotency-Key"] = uuid.uuid4().hex
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return Sample(began, answer.status, time.monotonic() - began, json.loads(answer.read()))
        except (OSError, HTTPException, ValueError) as error:
            return Sample(began, 0, time.monotonic() - began, {"error": repr(error)})
        finally:
            connection.close()

    def trade(self) -> Sample:
        return self.request(
            "POST", "/api/trade", {"action": "buy", "type": "market", "amount": 100, "currency": "inr"}
        )


@contextmanager
def market_world(
    folder: Path, *, interval_s: int, max_age_s: int, settings: Mapping[str, str] | None = None
) -> Iterator[World]:
    """Set everything up, with more settings; take everything down. The worker and the scheduler start last, at `started_at`."""
    with ExitStack() as stack:
        database = PrivateMariaDB(folder / "mariadb")
        stack.callback(database.close)
        database.install()
        own_redis = stack.enter_context(private_redis())
        simulator = stack.enter_context(running_simulator())
        environment = _environment(database.url, own_redis.url) | {
            "PRICE_INTERVAL_S": str(interval_s),
            "MAX_PRICE_AGE_S": str(max_age_s),
            **simulator.settings,
            **(settings or {}),
        }
        world = World(database, own_redis, simulator, environment, folder)
        _flask(world, "db", "upgrade", "-d", str(ROOT / "migrations"))
        environment["BITTRADE_NEW_PASSWORD"] = uuid.uuid4().hex
        _flask(world, "user", "create", EMAIL, "--name", "Drill")
        _flask(world, "balance", "deposit", EMAIL, "--inr", "100000000")
        claims = {"id": 1, "email": EMAIL, "exp": int(time.time()) + 24 * 3600}
        world.token = jwt.encode(claims, JWT_SECRET, algorithm="HS256")
        _start(world, stack, "web", "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app")
        wait_for(lambda: world.request("GET", "/api/health").status, timeout_s=30, what="the web server")
        world.started_at = time.monotonic()
        _start(world, stack, "worker", "worker.py")
        _start(world, stack, "scheduler", "worker.py", "scheduler")
        is_over = threading.Event()
        stack.callback(is_over.set)
        for watch in (_sample_ages, _trade, _read):
            threading.Thread(target=watch, args=(world, is_over), daemon=True).start()
        yield world
        is_over.set()


def _environment(database_url: str, redis_url: str) -> dict[str, str]:
    """The machine's, without a developer's settings, and ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}
    return kept | {
        "BITTRADE_ENV": "development",  # production takes no price from a simulator
        "FLASK_SKIP_DOTENV": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "HOST": LOOPBACK,
        "PORT": str(free_port()),
        "WEB_CONCURRENCY": "1",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "JWT_SECRET": JWT_SECRET,
        "RATELIMIT_ENABLED": "false",
    }


def start_program(world: World, name: str, *arguments: str) -> KeptAlive:
    return KeptAlive(name, [sys.executable, *arguments], world.environment, world.folder)


def _start(world: World, stack: ExitStack, name: str, *arguments: str) -> None:
    world.programs[name] = start_program(world, name, *arguments)
    stack.callback(world.programs[name].close)


def _flask(world: World, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
        env=world.environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ServiceFailed(f"flask {arguments[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _sample_ages(world: World, is_over: threading.Event) -> None:
    while not is_over.wait(0.25):
        with suppress(sa.exc.SQLAlchemyError):
            if (age := world.price_age_s()) != float("inf"):
                world.ages.append((time.monotonic(), age))


def _trade(world: World, is_over: threading.Event) -> None:
    while not is_over.wait(TRADE_EVERY_S):
        world.trades.append(world.trade())


def _read(world: World, is_over: threading.Event) -> None:
    while not is_over.wait(0.5):
        for path in ("/api/bitcoin/current", "/api/bitcoin/chart/1d", "/api/market-rates"):
            world.reads.append(world.request("GET", path))
