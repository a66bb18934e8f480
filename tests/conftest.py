"""Where the tests run: finds the real MariaDB and Redis, or embeds what stands in for them, and says which it was.

Real services are used wherever they answer: what TEST_DATABASE_URL and TEST_REDIS_URL name, else the servers that the
application's own variables name, else root without password on 127.0.0.1:3306 and Redis on 127.0.0.1:6379. Only
scratch databases are touched: ones made here and dropped at the end, and Redis database 15. Otherwise SQLite in a
temporary folder and an embedded Redis. With BITTRADE_REQUIRE_SERVICES=1 a missing service is a failure.

Fixtures that need the application are in tests/fixtures.py.
"""

import fcntl
import os
import platform
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from sqlalchemy.engine import URL

import config
from dev.services import (
    connect_database,
    database_server_url,
    embedded_redis,
    find_database_version,
    find_redis_version,
    place,
    redis_server_url,
)

pytest_plugins = ["tests.fixtures"]

TEST_REDIS_DATABASE = "/15"
REQUIRE = "BITTRADE_REQUIRE_SERVICES"
# A closed port: a test that forgets to say where the outside world is must not find the real one.
NOWHERE = "http://127.0.0.1:9"
# Everything that could point a test at a developer's own data.
APPLICATION_VARIABLES = (
    "APPROVAL_",
    "BACKUP_",
    "BITTRADE_",
    "DATABASE_",
    "DB_",
    "REDIS_",
    "QUEUE_REDIS_",
    "JWT_",
    "COINBASE_",
    "COINGECKO_",
    "FEAR_GREED_",
    "KRAKEN_",
    "LEDGER_",
    "MAX_PRICE_",
    "METRICS_",
    "OTEL_",
    "SENTRY_",
    "PRICE_",
    "RATELIMIT_",
)
SINGLE_VARIABLES = (
    "HOST",
    "PORT",
    "WEB_CONCURRENCY",
    "CORS_ORIGINS",
    "SOCKET_TRANSPORTS",
    "FLASK_APP",
    "FLASK_ENV",
)


@dataclass
class Surroundings:
    """What this run found, before anything is started."""

    database_server: URL
    database_version: str | None
    redis_url: str
    redis_version: str | None
    must_be_real: bool
    folder: Path
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> str:
        where = place(self.database_server)
        if self.database_version:
            return f"{self.database_version} at {where}"
        return f"SQLite {sqlite3.sqlite_version} (no MariaDB answers at {where})"

    def require(self, what: str, version: str | None) -> None:
        if self.must_be_real and not version:
            pytest.exit(f"{REQUIRE}=1 and {what} does not answer", returncode=1)


def find_surroundings(folder: Path) -> Surroundings:
    server = database_server_url(os.environ)
    redis_url = os.environ.get("TEST_REDIS_URL") or _scratch_redis(redis_server_url(os.environ))
    found = Surroundings(
        database_server=server,
        database_version=find_database_version(server),
        redis_url=redis_url,
        redis_version=find_redis_version(redis_url),
        must_be_real=os.environ.get(REQUIRE) == "1",
        folder=folder,
    )
    found.require(f"MariaDB at {place(server)}", found.database_version)
    found.require(f"Redis at {place(redis_url)}", found.redis_version)
    return found


def _scratch_redis(url: str) -> str:
    """The same server, but the database that only tests use: tests empty it."""
    parts = urlsplit(url)
    return url if parts.scheme == "unix" else urlunsplit(parts._replace(path=TEST_REDIS_DATABASE))


def clean_environment() -> None:
    """Take the developer's settings away before config.py reads them, and leave harmless ones."""
    for name in list(os.environ):
        if (name.startswith(APPLICATION_VARIABLES) or name in SINGLE_VARIABLES) and name != REQUIRE:
            del os.environ[name]
    for name in ("TEST_DATABASE_URL", "TEST_REDIS_URL"):
        os.environ.pop(name, None)  # read; a program that a test starts shall not
    os.environ |= {
        "BITTRADE_ENV": "testing",
        "FLASK_SKIP_DOTENV": "1",
        "JWT_SECRET": secrets.token_hex(32),
        "COINGECKO_API_URL": f"{NOWHERE}/api/v3",
        "COINBASE_API_URL": f"{NOWHERE}/coinbase",
        "FEAR_GREED_API_URL": f"{NOWHERE}/fng",
        "KRAKEN_API_URL": f"{NOWHERE}/0/public",
        # Until a fixture says otherwise: nobody's database, nobody's queue.
        "DATABASE_URL": "sqlite:///:memory:",
        "REDIS_URL": "redis://127.0.0.1:9/0",
    }
    for kind in (config.Config, *config.ENVIRONMENTS.values()):
        kind.model_config["env_file"] = None  # the developer's .env is read nowhere in this process


# --- Fixtures -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def surroundings(pytestconfig: pytest.Config) -> Surroundings:
    return pytestconfig.stash[SURROUNDINGS]


@pytest.fixture(scope="session")
def new_mariadb(surroundings: Surroundings) -> Iterator[Callable[[], str]]:
    """Make a scratch database at each call; all of them are dropped at the end."""
    made: list[str] = []

    def make() -> str:
        name = f"bittrade_test_{os.getpid()}_{secrets.token_hex(3)}"
        with connect_database(surroundings.database_server) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        made.append(name)
        surroundings.notes["database"] = surroundings.database
        url = surroundings.database_server.set(database=name)
        return url.update_query_dict({"charset": "utf8mb4"}).render_as_string(hide_password=False)

    yield make
    if not made:
        return
    with connect_database(surroundings.database_server) as connection, connection.cursor() as cursor:
        for name in made:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture(scope="session")
def new_sqlite(surroundings: Surroundings) -> Callable[[], str]:
    """Make a scratch SQLite file at each call; they go with the run's folder."""
    return lambda: f"sqlite:///{surroundings.folder / secrets.token_hex(4)}.db"


@pytest.fixture(scope="session")
def database_url(surroundings: Surroundings, request: pytest.FixtureRequest) -> str:
    """The database of this run: MariaDB where it answers, else SQLite. Also what DATABASE_URL says from here on."""
    new = request.getfixturevalue("new_mariadb" if surroundings.database_version else "new_sqlite")
    os.environ["DATABASE_URL"] = url = new()
    surroundings.notes["database"] = surroundings.database
    return url


@pytest.fixture(scope="session")
def mariadb_url(surroundings: Surroundings, new_mariadb: Callable[[], str]) -> str:
    """A MariaDB scratch database besides the run's own, for tests that are about MariaDB."""
    if not surroundings.database_version:
        pytest.skip("needs MariaDB")  # with BITTRADE_REQUIRE_SERVICES=1 the run ended before this
    return new_mariadb()


@pytest.fixture(scope="session")
def sqlite_url(new_sqlite: Callable[[], str]) -> str:
    """A SQLite scratch database besides the run's own, for tests that are about SQLite."""
    return new_sqlite()


@pytest.fixture(scope="session")
def redis_url(surroundings: Surroundings) -> Iterator[str]:
    """The Redis of this run, which tests may empty. Also what REDIS_URL says from here on.

    Redis's channels are shared by all its databases, and database 15 by all who run these tests: a second run at the
    same time, on the same machine, gets an embedded Redis.
    """
    url, version = surroundings.redis_url, surroundings.redis_version
    with ExitStack() as stack:
        if version and stack.enter_context(_Claim(url)):
            _empty(url)  # a run that was cut off may have left something
            surroundings.notes["redis"] = f"{version} at {place(url)}"
        else:
            why = f"another run uses the one at {place(url)}" if version else f"none answers at {place(url)}"
            embedded = stack.enter_context(embedded_redis())
            surroundings.notes["redis"] = f"embedded {embedded.version} ({why})"
            url = embedded.url
        os.environ["REDIS_URL"] = url
        yield url


def _empty(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushdb()


def _identity(url: str) -> str:
    """Which Redis this is, by whatever name it is reached."""
    with redis.Redis.from_url(url) as client:
        return str(client.info("server")["run_id"])


class _Claim:
    """A lock on this machine's use of one Redis; gone with the process, however that ends."""

    def __init__(self, url: str) -> None:
        self._path = Path(tempfile.gettempdir()) / f"bittrade-tests-redis-{_identity(url)[:12]}.lock"

    def __enter__(self) -> bool:
        try:
            self._file = open(self._path, "a")  # stays open for as long as the lock is held
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.fixture(autouse=True)
def _required_programs(request: pytest.FixtureRequest, surroundings: Surroundings) -> None:
    for marker in request.node.iter_markers("needs"):
        program = marker.args[0]
        if shutil.which(program):
            continue
        if surroundings.must_be_real:
            pytest.fail(f"{REQUIRE}=1 and {program} is not on the PATH", pytrace=False)
        pytest.skip(f"needs {program}")


@pytest.fixture(scope="session", autouse=True)
def _gevent_patches_nothing() -> Iterator[None]:
    """The tests, like the worker, are plain blocking Python: patched sockets would test another program."""
    yield
    monkey = sys.modules.get("gevent.monkey")
    if monkey and monkey.is_anything_patched():
        pytest.fail("something called gevent's monkey.patch_all() inside the tests", pytrace=False)


# --- The run ------------------------------------------------------------------------------------------------------

SURROUNDINGS = pytest.StashKey[Surroundings]()


def pytest_configure(config: pytest.Config) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bittrade-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    config.stash[SURROUNDINGS] = found = find_surroundings(folder)
    clean_environment()
    if config.getoption("numprocesses", None):  # the processes that run the tests shall find the same servers
        os.environ["TEST_DATABASE_URL"] = found.database_server.render_as_string(hide_password=False)
        os.environ["TEST_REDIS_URL"] = found.redis_url


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes tells the one that reports what it ran on."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["notes"] = session.config.stash[SURROUNDINGS].notes


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    notes = node.config.stash[SURROUNDINGS].notes
    for what, told in getattr(node, "workeroutput", {}).get("notes", {}).items():
        if told not in notes.get(what, ""):
            notes[what] = f"{notes[what]} and {told}" if what in notes else told


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """The last lines before pytest's own: what ran on what, and what was skipped for lack of what."""
    yield
    found = config.stash[SURROUNDINGS]
    database, cache = (found.notes.get(name, "not used") for name in ("database", "redis"))
    terminalreporter.write_sep("-", "what ran on what")
    terminalreporter.write_line(f"python: {platform.python_version()}; node: {_version_of('node')}")
    for lack, count in sorted(_lacking(terminalreporter).items()):
        terminalreporter.write_line(f"skipped for lack of {lack}: {count}", yellow=True)
    terminalreporter.write_line(f"database: {database}; redis: {cache}")


def _lacking(terminalreporter: pytest.TerminalReporter) -> dict[str, int]:
    counts: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _, needs, lack = reason.partition("needs ")
        if needs:
            counts[lack] = counts.get(lack, 0) + 1
    return counts


def _version_of(program: str) -> str:
    if not (path := shutil.which(program)):
        return "none"
    return subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=10, check=False
    ).stdout.strip()
