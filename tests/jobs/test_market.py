"""The jobs: never two at once, and a failing source is one line."""

import logging
import threading
import time

import pytest
from flask import Flask
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from bittrade import services
from bittrade.errors import DatabaseUnavailable, ProviderError
from bittrade.extensions import own_name
from bittrade.jobs import alone, ledger, maintenance
from bittrade.jobs import market as jobs
from bittrade.jobs.scheduler import NamedJob
from bittrade.services import market
from bittrade.services.ledger import Proof

from .conftest import INSTALLATION

LOCKS = own_name(INSTALLATION, alone.LOCK_PREFIX)
LOCK = LOCKS + "update_price"


def test_a_job_reports_what_its_service_did(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    charts: list[str] = []
    monkeypatch.setattr(market, "update_price", lambda: True)
    monkeypatch.setattr(market, "update_sentiment", lambda: None)
    monkeypatch.setattr(market, "update_chart", charts.append)
    monkeypatch.setattr(market, "is_chart_fresh", lambda _timeframe: False)
    monkeypatch.setattr(market, "fill_missing", lambda: ["price", "7d"])
    outcomes = [jobs.update_price(), jobs.update_sentiment(), jobs.update_chart("7d"), jobs.fill_missing()]
    assert outcomes == ["changed", "recorded", "recorded", "price, 7d"]
    assert charts == ["7d"]
    assert not redis.keys(LOCKS + "*")


def test_a_job_that_overlaps_itself_does_nothing(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_running, may_end, calls = threading.Event(), threading.Event(), []

    def slow_update() -> bool:
        calls.append(1)
        is_running.set()
        return may_end.wait(60)

    def run_first() -> None:
        with app.app_context():
            jobs.update_price()

    monkeypatch.setattr(market, "update_price", slow_update)
    first = threading.Thread(target=run_first)
    first.start()
    assert is_running.wait(60)
    assert jobs.update_price() == alone.SKIPPED
    may_end.set()
    first.join(5)
    assert calls == [1]
    assert jobs.update_price() == "changed"


def test_charts_of_different_timeframes_do_not_keep_each_other_out(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.set(LOCKS + "update_chart-1d", "somebody", ex=25)
    monkeypatch.setattr(market, "update_chart", lambda timeframe: None)
    monkeypatch.setattr(market, "is_chart_fresh", lambda _timeframe: False)
    assert jobs.update_chart("1d") == alone.SKIPPED
    assert jobs.update_chart("7d") == "recorded"


def test_a_lock_that_expired_and_was_taken_by_another_is_left_to_it(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_lock() -> bool:
        redis.set(LOCK, "another's token", ex=25)
        return True

    monkeypatch.setattr(market, "update_price", lose_the_lock)
    assert jobs.update_price() == "changed"
    assert redis.get(LOCK) == b"another's token"


def test_the_lock_of_a_killed_job_ends_within_seconds(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(market, "update_price", lambda: bool(seen.append(redis.pttl(LOCK))))
    jobs.update_price()
    assert 0 < seen[0] <= 6_000


def test_the_lock_of_a_job_that_takes_longer_is_kept(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "LOCK_S", 4.0)
    monkeypatch.setattr(alone, "RENEW_S", 0.1)
    left: list[int] = []

    def slow() -> bool:
        time.sleep(5)
        left.append(redis.pttl(LOCK))
        return True

    monkeypatch.setattr(market, "update_price", slow)
    assert jobs.update_price() == "changed"
    assert left[0] > 0


def test_a_failing_source_is_one_line_and_frees_the_lock(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> bool:
        raise ProviderError("coingecko: answered 500")

    monkeypatch.setattr(logging.getLogger("bittrade"), "propagate", True)
    monkeypatch.setattr(alone.logger, "disabled", False)  # Alembic's own set-up may have switched it off
    monkeypatch.setattr(market, "update_price", fail)
    with caplog.at_level(logging.WARNING, logger="bittrade.jobs.alone"):
        assert jobs.update_price() == "failed: coingecko: answered 500"
    assert [record.getMessage() for record in caplog.records] == [
        "update_price failed: coingecko: answered 500"
    ]
    assert not redis.exists(LOCK)


def test_any_other_failure_fails_the_run(app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(market, "update_price", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        jobs.update_price()
    assert not redis.exists(LOCK)


def test_a_database_that_is_away_is_one_line_too(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> bool:
        raise DatabaseUnavailable()

    monkeypatch.setattr(market, "update_price", fail)
    assert jobs.update_price().startswith("failed: ")


def test_a_chart_that_is_fresh_is_not_fetched_again(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market, "is_chart_fresh", lambda _timeframe: True)
    assert jobs.update_chart("7d") == "fresh already"


def test_housekeeping_reports_in_a_line(app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market, "thin_prices", lambda: 7)
    monkeypatch.setattr(services.maintenance, "purge", lambda: {"quotes": 3, "sessions": 0})
    proof = Proof(transactions=2, legs=4, balances=1, faults=())
    monkeypatch.setattr(services.halt, "verify_or_halt", lambda **_: proof)
    assert [jobs.thin_prices(), maintenance.purge(), ledger.verify()] == [
        "7 rows deleted",
        "3 quotes",
        "right: 2 transactions, 4 legs, 1 balances",
    ]


@pytest.mark.parametrize("function", ["os.system", "subprocess.getoutput", "bittrade.jobsx.f"])
def test_whoever_can_write_to_redis_cannot_name_any_function_he_likes(redis: Redis, function: str) -> None:
    queue = Queue("market", connection=redis, job_class=NamedJob, serializer=JSONSerializer)
    with pytest.raises(PermissionError, match="not a job of BitTrade"):
        queue.enqueue(function, "true").perform()
