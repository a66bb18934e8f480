"""Redis away, database away, no price: each route still gives the contract's answer."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
import redis
from flask import Flask

from bittrade import cache
from bittrade.domain.pricing import ChartPoint, ChartSeries, SentimentReading
from bittrade.services import ledger, market
from dev.services import PrivateRedis
from tests.api.conftest import BUY
from tests.fixtures import PASSWORD, Person, new_user, set_price

GETS = {
    "/api/bitcoin/current": "btc_usd_price",
    "/api/market-rates": "buy_rate_inr",
    "/api/bitcoin/chart/1d": "price_data",
    "/api/bitcoin/sentiment": "fear_greed_value",
    "/api/balance": "available_inr",
    "/api/transactions": "transactions",
    "/api/auth/verify": "valid",
    "/api/health": "status",
}


def fill(app: Flask) -> None:
    """A price, a chart and a sentiment."""
    set_price(app)
    with app.app_context():
        market.record_chart(ChartSeries("1d", (ChartPoint(datetime(2026, 1, 1, tzinfo=UTC), 4_500_000),)))
        market.record_sentiment(SentimentReading(72, "Greed", date(2026, 1, 1)))


def every_route_is_right(app: Flask, user: Person) -> None:
    """Read everything, register, log in, trade twice with one key, log out."""
    client = app.test_client()
    for path, key in GETS.items():
        answer = client.get(path, headers=user.headers)
        assert answer.status_code == 200, path
        assert key in answer.get_json(), path
        assert not answer.get_json().get("cached"), path
    assert len(client.get("/api/bitcoin/history").get_json()) == 1
    headers = {**user.headers, "Idempotency-Key": "one"}
    first, again = (client.post("/api/trade", json=BUY, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.get_json() == again.get_json()
    assert client.get("/api/balance", headers=user.headers).get_json()["available_inr"] == 9000
    assert len(client.get("/api/transactions", headers=user.headers).get_json()["transactions"]) == 2
    new = {"email": "new@example.com", "password": PASSWORD, "name": "N"}
    assert client.post("/api/auth/register", json=new).status_code == 201
    assert client.post("/api/auth/login", json=new).status_code == 200
    assert client.post("/api/auth/login", json={**new, "password": "not the right words"}).status_code == 401
    assert client.post("/api/auth/logout", headers=user.headers).status_code == 200
    assert client.get("/api/balance", headers=user.headers).status_code == 403
    with app.app_context():
        assert ledger.verify().faults == ()


# --- Redis --------------------------------------------------------------------------------------------------------


def test_with_redis_refusing_every_route_is_right_and_trades_go_on(
    new_app: Callable[..., Flask], nobody_listens: int
) -> None:
    app = new_app(REDIS_URL=f"redis://127.0.0.1:{nobody_listens}/0")
    fill(app)
    start = time.monotonic()
    every_route_is_right(app, new_user(app, inr=10_000))
    assert time.monotonic() - start < 120


def test_with_redis_hanging_every_route_is_right_and_trades_go_on(
    new_app: Callable[..., Flask], private_redis: PrivateRedis
) -> None:
    app = new_app(REDIS_URL=private_redis.url)
    fill(app)
    user = new_user(app, inr=10_000)
    private_redis.hang()
    start = time.monotonic()
    every_route_is_right(app, user)
    assert time.monotonic() - start < 120  # a cache that hangs costs one time-out a second, not one a command


def test_the_login_lock_holds_without_redis(new_app: Callable[..., Flask], nobody_listens: int) -> None:
    app = new_app(REDIS_URL=f"redis://127.0.0.1:{nobody_listens}/0")
    client, user = app.test_client(), new_user(app)
    body = {"email": user.email, "password": "not the right words"}
    statuses = [client.post("/api/auth/login", json=body).status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]


def test_a_redis_that_forgets_everything_changes_no_answer(
    new_app: Callable[..., Flask], private_redis: PrivateRedis
) -> None:
    app = new_app(REDIS_URL=private_redis.url)
    fill(app)
    user, client = new_user(app, inr=10_000), app.test_client()
    before = {path: client.get(path, headers=user.headers).get_json() for path in GETS}
    with redis.Redis.from_url(private_redis.url) as server:
        server.flushall()
    for path, key in GETS.items():
        after = client.get(path, headers=user.headers).get_json()
        if key != "transactions":
            assert after[key] == before[path][key], path
    assert client.post("/api/trade", json=BUY, headers=user.headers).status_code == 201


def test_after_redis_came_back_the_cache_is_used_again(
    new_app: Callable[..., Flask], private_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = new_app(REDIS_URL=private_redis.url)
    set_price(app)
    client = app.test_client()
    private_redis.hang()
    assert client.get("/api/market-rates").get_json()["cached"] is False
    private_redis.resume()
    monkeypatch.setattr(cache, "_breaker", cache._Breaker())  # the pause is over
    client.get("/api/market-rates")
    assert client.get("/api/market-rates").get_json()["cached"] is True


# --- The database -------------------------------------------------------------------------------------------------


@pytest.fixture
def without_database(app: Flask, new_app: Callable[..., Flask], nobody_listens: int) -> Flask:
    made = new_app(DATABASE_URL=f"mysql+pymysql://root@127.0.0.1:{nobody_listens}/x")
    made.config["INSTALLATION_ID"] = app.config["INSTALLATION_ID"]  # the same one, whose database is away
    return made


REQUESTS = [
    ("GET", "/api/balance", None),
    ("GET", "/api/transactions", None),
    ("GET", "/api/auth/verify", None),
    ("GET", "/api/bitcoin/current", None),
    ("GET", "/api/market-rates", None),
    ("GET", "/api/bitcoin/chart/1d", None),
    ("GET", "/api/bitcoin/sentiment", None),
    ("GET", "/api/bitcoin/history", None),
    ("GET", "/api/health", None),
    ("POST", "/api/trade", BUY),
    ("POST", "/api/auth/register", {"email": "x@example.com", "password": PASSWORD, "name": "X"}),
    ("POST", "/api/auth/login", {"email": "x@example.com", "password": PASSWORD}),
    ("POST", "/api/auth/logout", None),
    ("POST", "/api/auth/logout-all", None),
    ("POST", "/api/auth/password", {"currentPassword": PASSWORD, "newPassword": "entirely different words"}),
]


@pytest.mark.parametrize(
    ("method", "path", "body"), REQUESTS, ids=[f"{method} {path}" for method, path, _ in REQUESTS]
)
def test_with_the_database_away_every_route_is_503_in_json_with_retry_after(
    without_database: Flask, user: Person, method: str, path: str, body: dict | None
) -> None:
    headers = {**user.headers, "Origin": "https://shop.example"}
    answer = without_database.test_client().open(path, method=method, json=body, headers=headers)
    assert answer.status_code == 503
    assert answer.get_json()["code"] == "database_unavailable"
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", headers["Origin"])


def test_what_needs_no_database_is_served_without_it(without_database: Flask) -> None:
    client = without_database.test_client()
    for path in ("/api/openapi.json", "/api/asyncapi.json", "/api/docs/events"):
        assert client.get(path).status_code == 200
    assert client.get("/api/nothing").status_code == 404
    assert client.get("/api/balance").status_code == 401
    assert client.get("/api/bitcoin/chart/2d").status_code == 400
    assert client.post("/api/auth/login", json={}).status_code == 400


def test_cached_market_data_is_served_without_the_database(app: Flask, without_database: Flask) -> None:
    fill(app)
    client = without_database.test_client()
    for path in (
        "/api/bitcoin/current",
        "/api/market-rates",
        "/api/bitcoin/chart/1d",
        "/api/bitcoin/sentiment",
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["cached"]) == (200, True)


def test_a_database_without_tables_is_503_or_says_no_more_than_a_bug(
    new_app: Callable[..., Flask], new_sqlite: Callable[[], str]
) -> None:
    app = new_app(DATABASE_URL=new_sqlite())
    assert app.test_client().get("/api/bitcoin/history").status_code == 503


# --- The price ----------------------------------------------------------------------------------------------------


def test_without_a_price_reads_are_404_and_trades_503(app: Flask, user: Person) -> None:
    client = app.test_client()
    for path in ("/api/bitcoin/current", "/api/market-rates"):
        assert client.get(path).status_code == 404
    assert client.post("/api/trade", json=BUY, headers=user.headers).status_code == 503
    assert client.get("/api/balance", headers=user.headers).status_code == 200


@pytest.mark.parametrize("age_s", [91, 3600, 86_400 * 400])
def test_on_an_old_price_trades_are_503_and_nothing_moves(app: Flask, user: Person, age_s: float) -> None:
    set_price(app, age_s=age_s)
    client = app.test_client()
    for action in ("buy", "sell"):
        answer = client.post("/api/trade", json={**BUY, "action": action}, headers=user.headers)
        assert answer.status_code == 503
        assert answer.get_json()["code"] == "rates_unavailable"
    assert client.get("/api/market-rates").get_json()["stale"] is True
    held = client.get("/api/balance", headers=user.headers).get_json()
    assert (held["available_inr"], held["available_btc"], held["seq"]) == (10_000, 500_000, 2)


def test_the_allowed_age_is_configurable(new_app: Callable[..., Flask]) -> None:
    app = new_app(MAX_PRICE_AGE_S=600)
    set_price(app, age_s=300)
    user = new_user(app, inr=10_000)
    assert app.test_client().post("/api/trade", json=BUY, headers=user.headers).status_code == 201
