"""Real Redis throughout: the run's own, which tests may empty, and private ones that tests may kill."""

import time
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from redis import Redis

from bittrade.jobs.schedule import ScheduleEntry
from bittrade.jobs.scheduler import SteadyScheduler

Table = tuple[ScheduleEntry, ...]
INSTALLATION = "a1b2c3"


def wait_until(is_true: Callable[[], object], *, within_s: float) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not is_true():
        if time.monotonic() - began > within_s:
            pytest.fail(f"did not come true within {within_s} s")
        time.sleep(0.02)
    return time.monotonic() - began


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
    app.config.update(QUEUE_REDIS_URL=redis_url, INSTALLATION_ID=INSTALLATION)
    with app.app_context():
        yield app


@pytest.fixture
def new_scheduler(redis: "Redis") -> Callable[[Table], SteadyScheduler]:
    return lambda table: SteadyScheduler(connection=redis, table=table, installation=INSTALLATION)
