"""Real Redis throughout: the run's own, which tests may empty, and private ones that tests may kill."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from redis import Redis
from redis.exceptions import RedisError

from bittrade.jobs.schedule import ScheduleEntry
from bittrade.jobs.scheduler import SteadyScheduler
from dev.services import find_redis_server

Table = tuple[ScheduleEntry, ...]


def wait_until(is_true: Callable[[], object], *, within_s: float) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not is_true():
        if time.monotonic() - began > within_s:
            pytest.fail(f"did not come true within {within_s} s")
        time.sleep(0.02)
    return time.monotonic() - began


class PrivateRedis:
    """A Redis that keeps nothing, on a port of its own, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        options = f"--port {self._port} --bind 127.0.0.1 --save --appendonly no --dir {self._folder}"
        command = [str(find_redis_server()), *(part or "" for part in options.split())]
        command.insert(command.index("--save") + 1, "")
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, within_s=10)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[PrivateRedis]:
    server = PrivateRedis(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis(redis_url: str) -> Iterator["Redis"]:
    with Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
def app(redis_url: str) -> Iterator[Flask]:
    """As much of the application as a job needs."""
    app = Flask("jobs")
    app.config["QUEUE_REDIS_URL"] = redis_url
    with app.app_context():
        yield app


@pytest.fixture
def new_scheduler(redis: "Redis") -> Callable[[Table], SteadyScheduler]:
    return lambda table: SteadyScheduler(connection=redis, table=table)
