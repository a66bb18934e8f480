"""GET /api/health: whether requests can be served, checked for real."""

import re
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade import cache
from bittrade.services import health
from dev.services import PrivateRedis
from tests.fixtures import set_price


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is kept for a second, and tests are quicker than that."""
    monkeypatch.setattr(health, "_memory", health._Memory())


def report(client: FlaskClient) -> dict:
    return client.get("/api/health").get_json()


@pytest.mark.usefixtures("price")
def test_all_is_well(client: FlaskClient) -> None:
    answer = client.get("/api/health")
    assert answer.status_code == 200
    body = answer.get_json()
    expected = {
        "status": "OK",
        "server": "BitTrade API Server",
        "database": "connected",
        "redis": "connected",
        "external_apis": "operational",
    }
    assert {name: body[name] for name in expected} == expected
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])
    assert 0 <= body["price_age_ms"] < 90_000


def test_without_a_price_it_is_degraded_and_still_200(client: FlaskClient) -> None:
    answer = client.get("/api/health")
    assert answer.status_code == 200
    body = answer.get_json()
    assert (body["status"], body["external_apis"], body["price_age_ms"]) == ("DEGRADED", "degraded", None)


def test_an_old_price_is_degraded(app: Flask, client: FlaskClient) -> None:
    set_price(app, age_s=200)
    body = report(client)
    assert (body["status"], body["external_apis"]) == ("DEGRADED", "degraded")
    assert body["price_age_ms"] >= 200_000


def test_without_redis_it_is_degraded_and_still_200(
    new_app: Callable[..., Flask], nobody_listens: int
) -> None:
    app = new_app(REDIS_URL=f"redis://127.0.0.1:{nobody_listens}/0")
    set_price(app)
    answer = app.test_client().get("/api/health")
    assert answer.status_code == 200
    assert (answer.get_json()["status"], answer.get_json()["redis"]) == ("DEGRADED", "disconnected")
    assert answer.get_json()["database"] == "connected"


def test_a_redis_that_hangs_is_found_out_within_the_time_limit(
    new_app: Callable[..., Flask], private_redis: PrivateRedis
) -> None:
    app = new_app(REDIS_URL=private_redis.url)
    private_redis.hang()
    start = time.monotonic()
    body = report(app.test_client())
    assert time.monotonic() - start < 60
    assert (body["status"], body["redis"], body["database"]) == ("DEGRADED", "disconnected", "connected")


@pytest.mark.parametrize("refusal", [("REPLICAOF", "127.0.0.1", "9"), ("CONFIG", "SET", "maxmemory", "1")])
def test_a_redis_that_refuses_to_write_is_told_and_logged_once(
    new_app: Callable[..., Flask],
    private_redis: PrivateRedis,
    refusal: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = new_app(REDIS_URL=private_redis.url, RATELIMIT_ENABLED=True)
    set_price(app)
    with private_redis.client() as server:
        server.execute_command(*refusal)
    caplog.clear()
    client = app.test_client()
    assert (report(client)["status"], report(client)["redis"]) == ("DEGRADED", "refuses_writes")
    for _ in range(20):
        health._memory.until = 0
        assert report(client)["redis"] == "refuses_writes"
        assert client.get("/api/market-rates").status_code == 200
        cache._breaker = cache._Breaker()
        with app.app_context():
            cache.put("a", {}, 60)
    lines = [record.getMessage() for record in caplog.records if "efuse" in record.getMessage()]
    assert len(lines) == len({line.partition(":")[0] for line in lines}) <= 3


def test_the_queue_s_redis_counts_as_well(
    new_app: Callable[..., Flask], private_redis: PrivateRedis, nobody_listens: int
) -> None:
    away = f"redis://127.0.0.1:{nobody_listens}/0"
    app = new_app(REDIS_URL=private_redis.url, QUEUE_REDIS_URL=away)
    assert report(app.test_client())["redis"] == "disconnected"


def test_without_the_database_it_is_down_with_503(new_app: Callable[..., Flask], nobody_listens: int) -> None:
    app = new_app(DATABASE_URL=f"mysql+pymysql://root@127.0.0.1:{nobody_listens}/x")
    answer = app.test_client().get("/api/health")
    assert answer.status_code == 503
    body = answer.get_json()
    assert (body["status"], body["database"]) == ("DOWN", "disconnected")
    assert body["server"] == "BitTrade API Server"
    assert body["error"]


def test_under_load_it_costs_one_check_a_second(client: FlaskClient) -> None:
    first = report(client)
    bodies = [report(client) for _ in range(50)]
    ages = {body["price_age_ms"] for body in [first, *bodies]}
    assert len(ages) <= 3


def test_it_tells_nothing_about_versions_and_addresses(client: FlaskClient) -> None:
    assert not re.search(
        r"(?i)mysql|mariadb|sqlite|127\.0|localhost|python|password|\d+\.\d+\.\d+\D",
        client.get("/api/health").text,
    )


# --- for what starts and stops processes ---------------------------------------------------------------------------


def test_alive_and_ready(client: FlaskClient) -> None:
    """Without a price too: a trade is answered, and its answer says so."""
    for path in ("/api/health/live", "/api/health/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["status"]) == (200, "OK")


def test_without_the_database_it_is_alive_and_not_ready(
    new_app: Callable[..., Flask], nobody_listens: int
) -> None:
    app = new_app(DATABASE_URL=f"mysql+pymysql://app@127.0.0.1:{nobody_listens}/bittrade")
    client = app.test_client()
    assert client.get("/api/health/live").status_code == 200
    answer = client.get("/api/health/ready")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"]


def test_on_tables_of_another_release_it_is_not_ready(
    new_app: Callable[..., Flask], new_sqlite: Callable[[], str]
) -> None:
    client = new_app(DATABASE_URL=new_sqlite()).test_client()
    answer = client.get("/api/health/ready")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")


def test_a_process_that_ends_is_not_ready(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = SimpleNamespace(alive=False)  # gunicorn's, of which health looks at this alone
    monkeypatch.setitem(app.extensions, "bittrade_worker", worker)
    client = app.test_client()
    assert client.get("/api/health/live").status_code == 200
    answer = client.get("/api/health/ready")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "shutting_down")
