"""BitTrade and the peer, started for a measurement: one process each, on the same MariaDB and the same Redis."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
from sqlalchemy.engine import URL

from dev.services import connect_database, database_server_url, free_port, redis_server_url

ROOT = Path(__file__).resolve().parent.parent
READY_S = 60
END_S = 20
MANY_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class Server:
    """Where it is, its processes' root, and a file with one user's token a line."""

    name: str
    port: int
    process: psutil.Process
    tokens: Path
    many_tokens: Path  # thousands, where the server's users have them; else the same file

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """Processor time of the process and all its children so far."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(times.user + times.system for times in (each.cpu_times() for each in family))

    def memory_mb(self) -> float:
        family = [self.process, *self.process.children(recursive=True)]
        return sum(each.memory_info().rss for each in family) / 1e6


@contextmanager
def scratch_database(server: URL) -> Iterator[str]:
    """A database of a name of its own, dropped at the end."""
    name = f"bittrade_bench_{os.getpid()}_{secrets.token_hex(3)}"
    with connect_database(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    try:
        yield name
    finally:
        with connect_database(server) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")


@contextmanager
def our_server(*, users: int, workers: int = 1, **variables: str) -> Iterator[Server]:
    """BitTrade with that many funded users and a price that stays fresh."""
    server = database_server_url(os.environ)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bittrade-bench-")))
        url = server.set(database=stack.enter_context(scratch_database(server)))
        redis_url = redis_server_url(os.environ).rpartition("/")[0] + "/8"
        port = free_port()
        environment = {
            **os.environ,
            "BITTRADE_ENV": "development",
            "DATABASE_URL": url.update_query_dict({"charset": "utf8mb4"}).render_as_string(False),
            "REDIS_URL": redis_url,
            "QUEUE_REDIS_URL": redis_url,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WEB_CONCURRENCY": str(workers),
            "LOG_LEVEL": "WARNING",
            "BCRYPT_COST": "4",
            **dict.fromkeys(
                ("RATELIMIT_READ", "RATELIMIT_TRADE", "RATELIMIT_WRITE", "RATELIMIT_KEY"), "100000 per second"
            ),
            **variables,
        }
        flask = [sys.executable, "-m", "flask", "--app", "wsgi"]
        subprocess.run([*flask, "db", "upgrade"], cwd=ROOT, env=environment, check=True, capture_output=True)
        people = [sys.executable, "-m", "bench.people", str(users), str(MANY_TOKENS)]
        tokens, many = folder / "tokens", folder / "many-tokens"
        _start_with_tokens(stack, people, ROOT, environment, many)
        tokens.write_bytes(b"".join(many.read_bytes().splitlines(keepends=True)[:users]))
        gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
        popen = stack.enter_context(_started(gunicorn, ROOT, environment))
        _wait_until_ready(port, popen)
        yield Server("bittrade", port, psutil.Process(popen.pid), tokens, many)


@contextmanager
def peer_server(folder: Path) -> Iterator[Server]:
    """The peer in this folder (`server.js` and its node_modules), which prints its users' tokens."""
    server = database_server_url(os.environ)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bittrade-peer-")))
        port = free_port()
        environment = {
            **os.environ,
            "PORT": str(port),
            "DB_HOST": str(server.host),
            "DB_PORT": str(server.port or 3306),
            "DB_USER": str(server.username),
            "DB_PASSWORD": server.password or "",
            "DB_NAME": stack.enter_context(scratch_database(server)),
            "REDIS_URL": redis_server_url(os.environ).rpartition("/")[0] + "/9",
        }
        popen = _start_with_tokens(
            stack, ["node", "server.js"], folder, environment, scratch / "tokens", count=64
        )
        _wait_until_ready(port, popen)
        tokens = scratch / "tokens"
        yield Server("peer", port, psutil.Process(popen.pid), tokens, tokens)


def find_peer(environment: Mapping[str, str]) -> Path | None:
    """The peer's folder, where BENCH_PEER names one and node is there."""
    named = environment.get("BENCH_PEER")
    return Path(named).resolve() if named and shutil.which("node") else None


def _start_with_tokens(
    stack: ExitStack,
    command: list[str],
    cwd: Path,
    environment: Mapping[str, str],
    tokens: Path,
    *,
    count: int | None = None,
) -> "subprocess.Popen[bytes]":
    """Start what prints tokens, and keep them: `count` lines, or up to an empty one."""
    popen = stack.enter_context(_started(command, cwd, environment, stdout=subprocess.PIPE))
    assert popen.stdout is not None
    lines: list[bytes] = []
    while len(lines) != count and (line := popen.stdout.readline()).strip():
        lines.append(line)
    if not lines:
        raise SystemExit(f"{command[1]} printed no tokens")
    tokens.write_bytes(b"".join(lines))
    return popen


@contextmanager
def _started(
    command: list[str], cwd: Path, environment: Mapping[str, str], stdout: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    popen = subprocess.Popen(
        command, cwd=cwd, env=dict(environment), stdin=subprocess.PIPE, stdout=stdout or subprocess.DEVNULL
    )
    try:
        yield popen
    finally:
        with suppress(OSError):
            popen.terminate()
        try:
            popen.wait(END_S)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def _wait_until_ready(port: int, popen: "subprocess.Popen[bytes]") -> None:
    began = time.monotonic()
    while time.monotonic() - began < READY_S:
        if popen.poll() is not None:
            raise SystemExit("the server ended")
        try:
            requests.get(f"http://127.0.0.1:{port}/api/health", timeout=2)
            return
        except requests.RequestException:
            time.sleep(0.1)
    raise SystemExit("the server does not answer")
