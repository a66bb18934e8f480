"""The jobs: never two at once, a failing source is one line, and what it asked us to wait is remembered."""

import logging
import threading

import pytest
from flask import Flask
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from bittrade.errors import ProviderError
from bittrade.jobs import market as jobs
from bittrade.jobs.scheduler import NamedJob
from bittrade.services import market

LOCK = jobs.LOCK_PREFIX + "update_price"


def test_a_job_reports_what_its_service_did(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    charts: list[str] = []
    monkeypatch.setattr(market, "update_price", lambda: True)
    monkeypatch.setattr(market, "update_sentiment", lambda: None)
    monkeypatch.setattr(market, "update_chart", charts.append)
    monkeypatch.setattr(market, "fill_missing", lambda: ["price", "7d"])
    outcomes = [jobs.update_price(), jobs.update_sentiment(), jobs.update_chart("7d"), jobs.fill_missing()]
    assert outcomes == ["changed", "recorded", "recorded", "price, 7d"]
    assert charts == ["7d"]
    assert not redis.keys(jobs.LOCK_PREFIX + "*")


def test_a_job_that_overlaps_itself_does_nothing(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_running, may_end, calls = threading.Event(), threading.Event(), []

    def slow_update() -> bool:
        calls.append(1)
        is_running.set()
        return may_end.wait(5)

    def run_first() -> None:
        with app.app_context():
            jobs.update_price()

    monkeypatch.setattr(market, "update_price", slow_update)
    first = threading.Thread(target=run_first)
    first.start()
    assert is_running.wait(5)
    assert jobs.update_price() == jobs.SKIPPED
    may_end.set()
    first.join(5)
    assert calls == [1]
    assert jobs.update_price() == "changed"


def test_charts_of_different_timeframes_do_not_keep_each_other_out(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.set(jobs.LOCK_PREFIX + "update_chart-1d", "somebody", ex=25)
    monkeypatch.setattr(market, "update_chart", lambda timeframe: None)
    assert jobs.update_chart("1d") == jobs.SKIPPED
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


def test_the_lock_of_a_killed_job_frees_itself(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(market, "update_price", lambda: bool(seen.append(redis.ttl(LOCK))))
    jobs.update_price()
    assert 20 < seen[0] <= 25


def test_a_failing_source_is_one_line_and_frees_the_lock(
    app: Flask, redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> bool:
        raise ProviderError("coingecko: answered 500")

    monkeypatch.setattr(logging.getLogger("bittrade"), "propagate", True)
    monkeypatch.setattr(market, "update_price", fail)
    with caplog.at_level(logging.WARNING, logger="bittrade.jobs.market"):
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


def test_a_wait_that_a_source_asked_for_is_known_to_the_next_process(app: Flask, redis: Redis) -> None:
    jobs.PausesInRedis().pause("api.example", 30)
    assert 29 < jobs.PausesInRedis().seconds_left("api.example") <= 30
    assert jobs.PausesInRedis().seconds_left("elsewhere") == 0


def test_without_redis_there_is_no_wait_and_no_harm() -> None:
    app = Flask("jobs")
    app.config["QUEUE_REDIS_URL"] = "redis://127.0.0.1:9/0"
    with app.app_context():
        jobs.PausesInRedis().pause("api.example", 30)
        assert jobs.PausesInRedis().seconds_left("api.example") == 0


@pytest.mark.parametrize("function", ["os.system", "subprocess.getoutput", "bittrade.jobsx.f"])
def test_whoever_can_write_to_redis_cannot_name_any_function_he_likes(redis: Redis, function: str) -> None:
    queue = Queue("market", connection=redis, job_class=NamedJob, serializer=JSONSerializer)
    with pytest.raises(PermissionError, match="not a job of BitTrade"):
        queue.enqueue(function, "true").perform()
