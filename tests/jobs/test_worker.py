"""The two programs as an operator starts them, against the simulator, a database and a Redis that dies."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import flask_migrate
import psutil
import pytest
import sqlalchemy as sa
from redis import Redis

import config
from bittrade import create_app, extensions
from bittrade.domain.pricing import TIMEFRAMES
from dev.services import PrivateRedis
from dev.simulator import Simulator, running_simulator
from tests.fixtures import MIGRATIONS

from .conftest import wait_until

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def prepared_database(new_sqlite: Callable[[], str]) -> str:
    url = new_sqlite()
    with create_app(config.load(DATABASE_URL=url)).app_context():
        flask_migrate.upgrade(directory=MIGRATIONS)
        extensions.db.engine.dispose()
    return url


@pytest.fixture
def start(private_redis: PrivateRedis, prepared_database: str, simulator: Simulator) -> Iterator[Start]:
    environment = os.environ | {
        "DATABASE_URL": prepared_database,
        "REDIS_URL": private_redis.url,
        **simulator.settings,
        "PRICE_INTERVAL_S": "2",
    }
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **changes: str) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen([sys.executable, "worker.py", *arguments], env=environment | changes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _ends_within(
    process: "subprocess.Popen[bytes]", seconds: float, signal_number: int = signal.SIGTERM
) -> bool:
    process.send_signal(signal_number)
    return process.wait(timeout=seconds) == 0


def _hears_sigterm(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it has got as far as handling the signal; before, it would just die of it."""
    caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def _rows(url: str, table: str) -> int:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        count: int = connection.execute(sa.text(f"SELECT COUNT(*) FROM {table}")).scalar_one()  # noqa: S608
    engine.dispose()
    return count


def test_a_fresh_install_is_filled_at_once_and_both_programs_outlive_redis(
    start: Start, private_redis: PrivateRedis, prepared_database: str, simulator: Simulator
) -> None:
    worker, scheduler = start(PRICE_INTERVAL_S="30"), start("scheduler", PRICE_INTERVAL_S="30")
    wait_until(lambda: _rows(prepared_database, "bitcoin_chart_data") == len(TIMEFRAMES), within_s=60)
    wait_until(lambda: _rows(prepared_database, "bitcoin_sentiment") == 1, within_s=60)
    assert _rows(prepared_database, "bitcoin_data") == 1
    assert simulator.requests() == 9

    private_redis.kill()
    private_redis.start()
    before = simulator.requests("price")
    wait_until(lambda: simulator.requests("price") > before, within_s=60)
    assert (worker.poll(), scheduler.poll()) == (None, None)

    assert _ends_within(worker, 60)
    assert _ends_within(scheduler, 60, signal.SIGINT)


def test_a_worker_asked_to_end_gives_the_running_job_some_seconds_and_goes(
    start: Start, simulator: Simulator
) -> None:
    simulator.set("slow", seconds=30, path="price")
    worker, scheduler = start(), start("scheduler")
    # On a busy machine the scheduler may come to its own fetch before the worker comes to its first job.
    wait_until(lambda: _hears_sigterm(worker) and _job_processes(worker), within_s=60)
    wait_until(lambda: simulator.requests("price"), within_s=60)
    assert _ends_within(worker, 60)
    assert _ends_within(scheduler, 60)


def test_both_programs_start_and_end_while_redis_is_away(start: Start, private_redis: PrivateRedis) -> None:
    private_redis.kill()
    processes = [start(), start("scheduler")]
    wait_until(lambda: all(_hears_sigterm(process) for process in processes), within_s=60)
    assert all(_ends_within(process, 60) for process in processes)


def test_a_killed_worker_leaves_nothing_that_stops_the_next_one(start: Start, simulator: Simulator) -> None:
    start("scheduler")
    for _ in range(2):
        worker = start()
        before = simulator.requests("price")
        wait_until(lambda: simulator.requests("price") > before, within_s=60)  # noqa: B023
        worker.kill()
        worker.wait()
    before = simulator.requests("price")
    start()
    wait_until(lambda: simulator.requests("price") > before, within_s=60)


def test_a_worker_keeps_a_process_for_the_books_beside_it_which_ends_with_it(
    start: Start, simulator: Simulator
) -> None:
    worker = start()
    proving = _wait_for_books(worker)
    proving.kill()
    again = _wait_for_books(worker, other_than=proving)
    worker.kill()
    wait_until(lambda: not again.is_running() or again.status() == psutil.STATUS_ZOMBIE, within_s=60)


def _wait_for_books(
    worker: subprocess.Popen[bytes], other_than: psutil.Process | None = None
) -> psutil.Process:
    found: list[psutil.Process] = []

    def look() -> bool:
        children = psutil.Process(worker.pid).children()
        # One killed a moment ago still has its words.
        found.extend(child for child in children if child != other_than and "ledger" in _words_of(child))
        return bool(found)

    wait_until(look, within_s=60)
    return found[0]


def _job_processes(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """What runs jobs; the process for the books runs none of the price's."""
    children = psutil.Process(worker.pid).children()
    return [child for child in children if "ledger" not in _words_of(child)]


def _words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_without_any_worker_the_scheduler_fetches_the_price_itself(
    start: Start, prepared_database: str, simulator: Simulator
) -> None:
    start("scheduler")
    wait_until(lambda: _rows(prepared_database, "bitcoin_data") >= 1, within_s=60)
    assert simulator.requests("chart") == 0


def test_a_price_job_that_was_killed_is_made_up_for_long_before_its_next_moment(
    start: Start, simulator: Simulator
) -> None:
    simulator.set("slow", seconds=20, path="price", times=1)
    worker = start(PRICE_INTERVAL_S="600")
    start("scheduler", PRICE_INTERVAL_S="600", MAX_PRICE_AGE_S="86400")
    wait_until(lambda: simulator.requests("price") == 1, within_s=60)
    (horse,) = _job_processes(worker)
    horse.kill()
    wait_until(lambda: simulator.requests("price") == 2, within_s=60)


def test_the_scheduler_tells_how_the_feed_is(
    start: Start, private_redis: PrivateRedis, prepared_database: str
) -> None:
    with Redis.from_url(private_redis.url) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.psubscribe("bittrade:*:socket-events")
        start("scheduler", PRICE_INTERVAL_S="600")
        wait_until(
            lambda: b"market_status" in (pubsub.get_message(timeout=1) or {"data": b""})["data"], within_s=60
        )


def test_a_wrong_argument_gets_a_usage_line() -> None:
    wrong = subprocess.run(
        [sys.executable, "worker.py", "sheduler"], capture_output=True, text=True, timeout=30
    )
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("usage: python worker.py [-h]")
    assert "[{worker,scheduler,ledger,check-worker,check-scheduler}]" in wrong.stderr


def test_a_process_that_gevent_has_patched_is_refused() -> None:
    code = "from gevent import monkey; monkey.patch_all(); import sys, worker; sys.exit(worker.main([]))"
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2
    assert "gevent has patched this process" in refused.stderr


def test_a_supervisor_can_ask_whether_both_are_there(start: Start) -> None:
    checks = ("check-worker", "check-scheduler")
    assert [start(check).wait(60) for check in checks] == [1, 1]
    start()
    start("scheduler")
    for check in checks:
        wait_until(lambda check=check: start(check).wait(60) == 0, within_s=120)
