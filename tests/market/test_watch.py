"""Telling: prices on change and at most twice a second, the market's status when it changes, multipliers everywhere."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
import redis
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import cache, wire
from bittrade.extensions import db, own_name
from bittrade.models import BitcoinData
from bittrade.services import doctor, halt, health, market, settings
from bittrade.services.market import price as market_price
from bittrade.services.market import watch as market_watch
from bittrade.sockets.delivery import MARK_BYTES
from dev.services import PrivateRedis
from tests.fixtures import dollars, set_price, together, wait_until

pytestmark = pytest.mark.usefixtures("inside")


class Listener:
    """Hears the sockets' messages as a web process does: from Redis."""

    def __init__(self, url: str, installation: str) -> None:
        self._channel = own_name(installation, "socket-events")
        self._pubsub = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(self._channel)
        self._marks = redis.Redis.from_url(url)
        self.events()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Names and payloads since the last call."""
        self._marks.publish(self._channel, "mark")
        found = []
        while True:
            message = self._pubsub.get_message(timeout=5)
            if message is None:
                continue
            if message["data"] == b"mark":
                return found
            sent = orjson.loads(message["data"][MARK_BYTES:])
            if sent.get("method") == "emit":
                data = sent["data"]
                found.append((sent["event"], data[0] if isinstance(data, list) else data))

    def statuses(self) -> list[tuple[str, str]]:
        return [(told["feed"], told["trading"]) for name, told in self.events() if name == "market_status"]


@pytest.fixture
def told(inside: Flask, redis_url: str) -> Listener:
    return Listener(redis_url, inside.config["INSTALLATION_ID"])


def make_older(seconds: float) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.update(BitcoinData).values(as_of=wire.now() - timedelta(seconds=seconds)))


# --- market_status ------------------------------------------------------------------------------------------------


def test_going_stale_and_coming_back_is_told_once_each(told: Listener) -> None:
    market.record_price(dollars(45_000))
    assert market_watch.look({}) is True
    assert market_watch.look({}) is False
    assert told.statuses() == [("fresh", "open")]
    make_older(91)
    assert [market_watch.look({}) for _ in range(3)] == [True, False, False]
    assert told.statuses() == [("stale", "no_price")]
    market.record_price(dollars(45_001))
    market_watch.look({})
    assert told.statuses() == [("fresh", "open")]


def test_a_halt_and_its_end_are_told_without_the_reason(told: Listener) -> None:
    market.record_price(dollars(45_000))
    market_watch.look({})
    told.events()
    halt.halt_trading("the books of alice@example.com are wrong")
    market_watch.look({})
    ((_, payload),) = told.events()
    assert (payload["feed"], payload["trading"]) == ("fresh", "halted")
    assert "alice" not in str(payload)
    halt.resume_trading("fine again")
    market_watch.look({})
    assert told.statuses() == [("fresh", "open")]


def test_two_schedulers_tell_each_change_once(inside: Flask, told: Listener) -> None:
    market.record_price(dollars(45_000))
    told.events()

    def look(_number: int) -> bool:
        with inside.app_context():
            return market_watch.look({})

    assert sum(together(4, look)) == 1
    assert len(told.statuses()) == 1


def test_after_redis_was_emptied_the_state_is_told_again(told: Listener, redis_url: str) -> None:
    market.record_price(dollars(45_000))
    market_watch.look({})
    told.events()
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    assert market_watch.look({}) is True


def test_the_payload_says_what_there_is_to_know(told: Listener) -> None:
    market_watch.look({})
    ((name, payload),) = told.events()
    assert name == "market_status"
    assert payload.pop("timestamp")
    assert payload == {"feed": "none", "trading": "no_price", "source": None, "as_of": None, "age_ms": None}


# --- GET /api/market/status ---------------------------------------------------------------------------------------


def test_the_status_is_there_before_there_is_any_data(client: FlaskClient) -> None:
    status = client.get("/api/market/status").get_json()
    assert (status["feed"], status["trading"], status["next_runs"]) == ("none", "no_price", None)
    assert [source["name"] for source in status["sources"]] == [
        "coingecko",
        "coinbase",
        "kraken",
        "alternative.me",
    ]
    assert status["prices"]["latest"] == []


def test_the_status_shows_when_each_job_runs_next_while_a_scheduler_lives(client: FlaskClient) -> None:
    market_watch.look({"bittrade-price": 1_795_000_000.5})
    status = client.get("/api/market/status").get_json()
    assert status["next_runs"] == {"bittrade-price": "2026-11-18T11:06:40.500Z"}


# --- btc_price_update ---------------------------------------------------------------------------------------------


def test_prices_that_change_faster_than_twice_a_second_are_told_twice_a_second_and_the_newest_wins(
    inside: Flask, told: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_price, "TELL_EVERY_MS", 500)

    def record(number: int) -> None:
        with inside.app_context():
            market.record_price(dollars(45_000 + number, age_s=30 - number))

    began = time.monotonic()
    threads = [threading.Thread(target=record, args=(number,), daemon=True) for number in range(12)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join(5)
    prices = [payload["btc_usd_price"] for name, payload in told.events() if name == "btc_price_update"]
    assert prices[-1] == 45_011
    assert prices == sorted(prices)
    # One more than the slots: who has waited a second for one tells without it.
    assert 2 <= len(prices) <= 2 * (time.monotonic() - began) + 2


def test_a_price_that_changes_nothing_is_not_told(told: Listener) -> None:
    market.record_price(dollars(45_000, age_s=10))
    market.record_price(dollars(45_000))
    assert [name for name, _ in told.events()] == ["btc_price_update"]


def test_rates_that_were_changed_and_never_told_are_told_by_the_next_look(told: Listener) -> None:
    market.record_price(dollars(45_000))
    told.events()
    settings.set_setting("buy_multiplier", "92")  # and its process dies before it says so
    market_watch.look({})
    ((_, payload), *_) = told.events()
    assert payload["buy_rate_inr"] == 45_000 * 92
    market_watch.look({})
    assert told.events() == []


# --- multipliers in every process ---------------------------------------------------------------------------------


def test_new_multipliers_are_in_another_process_within_two_seconds_even_if_nobody_was_told(
    app: Flask, new_app: Callable[..., Flask]
) -> None:
    set_price(app)
    other = new_app().test_client()
    assert other.get("/api/market-rates").get_json()["buy_rate_inr"] == 45_000 * 91
    settings.set_setting("buy_multiplier", "92")
    wait_until(lambda: other.get("/api/market-rates").get_json()["buy_rate_inr"] == 45_000 * 92)


def test_new_multipliers_show_after_redis_was_away_at_the_change_and_came_back_with_what_it_had(
    new_app: Callable[..., Flask], private_redis: PrivateRedis
) -> None:
    other = new_app(REDIS_URL=private_redis.url)
    with other.app_context():
        market.record_price(dollars(45_000))
        private_redis.hang()
        settings.set_setting("buy_multiplier", "92")
        market.publish_rates()
        private_redis.resume()
        wait_until(lambda: market.get_rates()["buy_rate_inr"] == 45_000 * 92)


# --- one filler ---------------------------------------------------------------------------------------------------


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the newest price was read from the database, slowly."""
    seen: list[float] = []
    read = market_price._read_latest

    def slowly() -> Any:
        seen.append(time.monotonic())
        time.sleep(0.15)
        return read()

    monkeypatch.setattr(market_price, "_read_latest", slowly)
    return seen


def test_twenty_who_miss_at_once_are_one_question_to_the_database(
    inside: Flask, loads: list[float], redis_url: str
) -> None:
    market.record_price(dollars(45_000))
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()

    def ask(_number: int) -> float:
        with inside.app_context():
            return float(market.get_rates()["btc_usd_price"])

    assert set(together(20, ask)) == {45_000}
    assert len(loads) == 1


def test_of_two_processes_one_fills_and_the_other_waits(
    app: Flask, new_app: Callable[..., Flask], loads: list[float], redis_url: str
) -> None:
    market.record_price(dollars(45_000))
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    apps = [app, new_app()]

    def ask(number: int) -> bool:
        with apps[number].app_context():
            return bool(market.get_rates()["cached"])

    assert sorted(together(2, ask)) == [False, True]
    assert len(loads) == 1


def test_a_reader_who_was_slow_does_not_cover_what_was_recorded_meanwhile(
    inside: Flask, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.record_price(dollars(45_000, age_s=5))
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    read = market_price._read_latest

    def read_and_be_overtaken() -> Any:
        old = read()
        monkeypatch.setattr(market_price, "_read_latest", read)
        market.record_price(dollars(46_000))
        return old

    monkeypatch.setattr(market_price, "_read_latest", read_and_be_overtaken)
    market.get_rates()
    held = cache.get(cache.LATEST_PRICE)
    assert held is not None
    assert held["btc_usd_price"] == 46_000


def test_with_the_database_away_a_price_from_the_cache_is_still_served(
    inside: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.record_price(dollars(45_000))
    from bittrade.errors import DatabaseUnavailable

    def away() -> Any:
        raise DatabaseUnavailable(retry_after_s=1)

    monkeypatch.setattr(market_price, "_read_latest", away)
    monkeypatch.setattr(market_price, "FRESH_MS", -1)
    monkeypatch.setattr(market_price, "USABLE_MS", -1)
    assert market.get_rates()["btc_usd_price"] == 45_000


# --- jobs that are overdue ----------------------------------------------------------------------------------------


def test_an_overdue_job_is_in_the_status_health_and_doctor(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_memory", health._Memory())
    market.record_price(dollars(45_000))
    assert "No scheduler runs" not in [finding.fault for finding in doctor.examine()]
    make_older(61)
    assert "No scheduler runs" in [finding.fault for finding in doctor.examine()]
    market_watch.look({"bittrade-price": 1.0}, ["bittrade-ledger"])
    assert client.get("/api/market/status").get_json()["overdue_jobs"] == ["bittrade-ledger"]
    body = client.get("/api/health").get_json()
    assert (body["status"], body["trading"], body["overdue_jobs"]) == (
        "DEGRADED",
        "open",
        ["bittrade-ledger"],
    )
    faults = [finding.fault for finding in doctor.examine()]
    assert "Jobs are overdue: bittrade-ledger" in faults
    assert "No scheduler runs" not in faults
