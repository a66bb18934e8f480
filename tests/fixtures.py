"""Fixtures that need the application: apps on real databases, a client that checks every answer, users with money.

Databases are migrated once a run and emptied before each test that uses them; so is the run's Redis. A test that breaks
a service gets an app of its own (`new_app`) on services of its own, never the shared ones.
"""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import flask_migrate
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from sqlalchemy import delete, exists, insert, literal, select, union_all, update
from sqlalchemy.engine import Connection, Engine
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

import config
from bittrade import cache, create_app, logs, unit_of_work, wire
from bittrade.domain.pricing import PriceQuote
from bittrade.extensions import db, own_name, socketio
from bittrade.models import BitcoinData, Setting, Transaction
from bittrade.services import auth, funds, health, market
from bittrade.services.funds import Funds
from bittrade.sockets.upkeep import Upkeep
from dev import services
from dev.services import PrivateRedis, free_port

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
MIGRATIONS = str(ROOT / "migrations")
PASSWORD = "a long enough pass phrase"

# `pytest --hypothesis-profile=long` looks further; the usual run is the same each time.
_quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "usual", max_examples=100, deadline=None, derandomize=True, suppress_health_check=_quiet
)
settings.register_profile("long", max_examples=2000, deadline=None, suppress_health_check=_quiet)
settings.load_profile("usual")


# --- Applications -------------------------------------------------------------------------------------------------


@dataclass
class Database:
    """One app on one migrated database, for the whole run."""

    app: Flask
    settings: list[dict[str, Any]] = field(default_factory=list)

    def engine(self) -> Engine:
        with self.app.app_context():
            return db.engine

    def empty(self) -> None:
        """Leave what a fresh migration leaves. Most tests fill few tables, so it looks first."""
        tables = list(reversed(db.metadata.sorted_tables))
        is_used = [
            select(literal(table.name)).where(exists(select(1).select_from(table))) for table in tables
        ]
        with self.engine().begin() as connection:
            used = set(connection.scalars(union_all(*is_used)))
            if Transaction.__tablename__ in used:
                connection.execute(update(Transaction).values(reverses_id=None))  # a row that names another
            for table in tables:
                if table.name in used - {Setting.__tablename__}:
                    connection.execute(table.delete())
            if _settings_in(connection) != self.settings:
                connection.execute(delete(Setting))
                connection.execute(insert(Setting), self.settings)


def _settings_in(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(select(Setting.__table__).order_by(Setting.key)).mappings()
    return [dict(row) for row in rows]


def build_app(**overrides: object) -> Flask:
    """An app for the tests; its clients check every answer."""
    app = create_app(config.load(BITTRADE_ENV="testing", **overrides))
    app.test_client_class = CheckedClient
    return app


@pytest.fixture(scope="session")
def databases(redis_url: str) -> Iterator[Callable[[str], Database]]:
    """The app on a database, migrated at the first call."""
    known: dict[str, Database] = {}

    def get(url: str) -> Database:
        if url not in known:
            app = build_app(DATABASE_URL=url, REDIS_URL=redis_url)
            with app.app_context():
                flask_migrate.upgrade(directory=MIGRATIONS)
                with db.engine.connect() as connection:
                    known[url] = Database(app, _settings_in(connection))
        return known[url]

    yield get
    for database in known.values():
        database.engine().dispose()


@pytest.fixture
def app(databases: Callable[[str], Database], database_url: str, redis_url: str) -> Iterator[Flask]:
    """The application on the run's database, which is empty, and the run's Redis, which is empty too."""
    with _fresh(databases(database_url), redis_url) as fresh:
        yield fresh


@pytest.fixture(params=["mariadb", "sqlite"])
def on_both_databases(
    request: pytest.FixtureRequest, databases: Callable[[str], Database], redis_url: str
) -> Iterator[Flask]:
    """The application on MariaDB, and once more on SQLite."""
    with _fresh(databases(request.getfixturevalue(f"{request.param}_url")), redis_url) as fresh:
        yield fresh


@pytest.fixture
def on_mariadb(databases: Callable[[str], Database], mariadb_url: str, redis_url: str) -> Iterator[Flask]:
    """The application on MariaDB, in its context; skipped where there is none."""
    with _fresh(databases(mariadb_url), redis_url) as fresh, fresh.app_context():
        yield fresh


@pytest.fixture
def on_sqlite(databases: Callable[[str], Database], sqlite_url: str, redis_url: str) -> Iterator[Flask]:
    """The application on SQLite, in its context."""
    with _fresh(databases(sqlite_url), redis_url) as fresh, fresh.app_context():
        yield fresh


@contextmanager
def _fresh(database: Database, redis_url: str) -> Iterator[Flask]:
    database.empty()
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    with _sending_as(database.app):
        yield database.app


@contextmanager
def _sending_as(app: Flask) -> Iterator[None]:
    """Each app made has bound the sockets' one object to itself: bind it to the app that this test is about."""
    bound, socketio.server = socketio.server, _server_of(app)
    try:
        yield
    finally:
        socketio.server = bound


def _server_of(app: Flask) -> Any:
    return app.wsgi_app.engineio_app


@pytest.fixture
def new_app(
    app: Flask, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Flask]]:
    """Make one more app, on the same database and Redis unless told otherwise; it shares no memory of what failed."""
    with ExitStack() as stack:

        def make(**overrides: object) -> Flask:
            made = build_app(**{"DATABASE_URL": database_url, "REDIS_URL": redis_url, **overrides})
            stack.enter_context(_sending_as(made))
            monkeypatch.setattr(cache, "_breaker", cache._Breaker())
            monkeypatch.setattr(health, "_memory", health._Memory())

            def dispose() -> None:
                with made.app_context():
                    db.engine.dispose()

            stack.callback(dispose)
            return made

        yield make


@pytest.fixture(autouse=True)
def _every_warning_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some are logged once a minute, whatever test brought them about."""
    monkeypatch.setattr(logs, "_silent_until", {})


@pytest.fixture(autouse=True)
def _whoever_waits_gets_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person is asked to come back after three seconds; on a busy machine that would be the answer to any test."""
    monkeypatch.setattr(unit_of_work, "_LANE_WAIT_S", 60)


def key_of(app: Flask, name: str) -> str:
    """Return what the app calls this in Redis."""
    return own_name(app.config["INSTALLATION_ID"], name)


@pytest.fixture(autouse=True)
def _nobody_looks_after_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server does so each second, for ever; the tests that are about it do it when they want to."""
    monkeypatch.setattr(Upkeep, "start", lambda self: None)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


# --- A client that checks what it gets ----------------------------------------------------------------------------


class CheckedClient(FlaskClient):
    """Holds every answer to what is promised of all of them: never a 5xx but 503, errors in shape and documented."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        check(self.application, response)
        return response


def check(app: Flask, response: TestResponse) -> None:
    """Fail unless an error answer has the contract's shape and the API's own description names it."""
    if response.status_code < 400 or response.request.method == "HEAD":
        return
    where = (
        f"{response.request.method} {response.request.path}: {response.status_code} {response.data[:300]!r}"
    )
    assert response.status_code < 500 or response.status_code == 503, where
    assert response.mimetype == "application/json", where
    body = response.get_json()
    assert isinstance(body["error"], str), where
    assert body["error"], where
    assert body["code"] == body["code"].lower().replace(" ", "_"), where
    if response.status_code in (429, 503):
        assert int(response.headers["Retry-After"]) > 0, where
    documented = _documented_codes(app, response)
    if documented is not None:
        assert body["code"] in documented, f"{where} is not documented; there are {documented}"


def _documented_codes(app: Flask, response: TestResponse) -> list[str] | None:
    """The codes that the document gives for this answer's route and status; None where no route was matched."""
    try:
        rule, _ = app.url_map.bind("localhost").match(
            response.request.path, method=response.request.method, return_rule=True
        )
    except HTTPException:
        return None
    operation = openapi_document(app)["paths"].get(openapi_path(rule.rule), {})
    operation = operation.get(response.request.method.lower())
    if operation is None:
        return None
    answer = operation["responses"].get(str(response.status_code), {"description": ""})
    return [code.strip() for code in answer["description"].split(",")]


def openapi_path(rule: str) -> str:
    """/chart/<timeframe> and /x/<int:id> as OpenAPI writes them."""
    parts = rule.replace("<", "{").replace(">", "}").split("/")
    return "/".join(
        "{" + part.split(":")[-1] if part.startswith("{") and ":" in part else part for part in parts
    )


def openapi_document(app: Flask) -> dict[str, Any]:
    if "document" not in _documents:
        _documents["document"] = FlaskClient(app, app.response_class).get("/api/openapi.json").get_json()
    return _documents["document"]


_documents: dict[str, dict[str, Any]] = {}


# --- People and prices --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """A registered user and what a client of theirs holds."""

    id: int
    email: str
    password: str
    name: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def new_user(app: Flask, *, inr: int = 0, btc: int = 0, email: str | None = None) -> Person:
    """Register somebody, with rupees and satoshis."""
    email = email or f"user-{secrets.token_hex(6)}@example.com"
    with app.app_context():
        token, user = auth.register(email=email, password=PASSWORD, name="A Person")
        if inr or btc:
            funds.deposit(user["id"], Funds(inr, btc))
    return Person(user["id"], email, PASSWORD, "A Person", token)


@pytest.fixture
def make_user(app: Flask) -> Callable[..., Person]:
    """Register somebody: make_user(inr=1000, btc=50_000)."""
    return lambda **wanted: new_user(app, **wanted)


def dollars(usd: int, *, age_s: float = 0, source: str = "coingecko") -> PriceQuote:
    """A price as a source gives it."""
    return PriceQuote(
        btc_usd_cents=usd * 100,
        as_of=wire.now() - timedelta(seconds=age_s),
        source=source,
        market_cap_usd=850_000_000_000,
        volume_24h_usd=25_000_000_000,
        high_24h_usd_cents=46_000_00,
        ath_usd_cents=69_000_00,
        ath_date=None,
        ath_change_bps=-3478,
    )


def set_price(app: Flask, usd: int = 45_000, *, age_s: float = 0) -> None:
    """Record a price. $45,000 makes rates of 4,095,000 and 3,960,000 rupees."""
    with app.app_context():
        market.record_price(dollars(usd, age_s=age_s))


def add_prices(app: Flask, *usd: int) -> None:
    """Prices of the past minute, oldest first, as recording left them; nobody is told, so nobody waits."""
    now = wire.now()
    rows = [
        {
            "btc_usd_cents": dollars * 100,
            "market_cap_usd": 850_000_000_000,
            "source": "coingecko",
            "as_of": now - timedelta(seconds=len(usd) - number),
            "created_at": now - timedelta(seconds=len(usd) - number),
        }
        for number, dollars in enumerate(usd)
    ]
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(insert(BitcoinData), rows)


@pytest.fixture
def price(app: Flask) -> None:
    """A fresh price of $45,000: a buyer pays 4,095,000 rupees for a bitcoin, a seller gets 3,960,000."""
    set_price(app)


# --- Many at once, and services that fail -------------------------------------------------------------------------


def together(count: int, work: Callable[[int], T]) -> list[T]:
    """The results of work(0), work(1), … in threads that begin at the same moment."""
    barrier = threading.Barrier(count)

    def run(number: int) -> T:
        barrier.wait(timeout=60)
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count), timeout=120))


def wait_until(is_so: Callable[[], bool], *, timeout_s: float = 60) -> None:
    """Look until it is so; fail when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail(f"not so within {timeout_s} s")
        time.sleep(0.01)


@pytest.fixture
def private_redis() -> Iterator[PrivateRedis]:
    """A Redis that a test may hang, kill and start again."""
    with services.private_redis() as server:
        yield server


@pytest.fixture
def nobody_listens() -> int:
    """A port of loopback where connections are refused."""
    return free_port()


def is_cut(connection: socket.socket, *, timeout_s: float = 60) -> bool:
    """Drip on until the server ends the connection; False where it never does."""
    connection.settimeout(0.3)
    start = time.monotonic()
    while time.monotonic() - start < timeout_s:
        try:
            if not connection.recv(65536):
                return True
        except TimeoutError:
            with suppress(ConnectionError):
                connection.sendall(b"a")
        except ConnectionError:
            return True
    return False
