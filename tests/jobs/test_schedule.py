"""The table, and its reconciliation with what is in Redis."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from flask import Flask
from redis import Redis

from bittrade.domain.pricing import TIMEFRAMES
from bittrade.extensions import own_name
from bittrade.jobs.alone import alone
from bittrade.jobs.schedule import (
    LEDGER_QUEUES,
    QUEUES,
    Reconciliation,
    ScheduleEntry,
    market_schedule,
    next_cron,
    reconcile,
    schedule,
)
from bittrade.jobs.scheduler import WATCHDOG_S, SteadyScheduler
from bittrade.services.ledger.checkpoints import RECENT_S, WHOLE_S
from bittrade.unit_of_work import PROOF_STATEMENT_S
from tests.fixtures import ROOT

from .conftest import INSTALLATION

Table = tuple[ScheduleEntry, ...]
NewScheduler = Callable[[Table], SteadyScheduler]

SCHEDULED = own_name(INSTALLATION, "schedule")
PRICE_RUNS, MARKET_RUNS = (f"rq:queue:{own_name(INSTALLATION, name)}" for name in ("price", "market"))
HOURLY_JOB = f"rq:job:{INSTALLATION}-bittrade-hourly"
HOURLY = ScheduleEntry("bittrade-hourly", "bittrade.jobs.market.update_chart", ("1d",), cron="0 * * * *")
OFTEN = ScheduleEntry("bittrade-often", "bittrade.jobs.market.update_price", interval_s=30, queue="price")


def _due(redis: Redis) -> dict[str, float]:
    return {raw.decode(): score for raw, score in redis.zrange(SCHEDULED, 0, -1, withscores=True)}


def _queued(redis: Redis) -> list[str]:
    ids = redis.lrange(PRICE_RUNS, 0, -1) + redis.lrange(MARKET_RUNS, 0, -1)
    return sorted(raw.decode().partition("_at_")[0].removeprefix(f"{INSTALLATION}-") for raw in ids)


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# --- the table ----------------------------------------------------------------------------------------------------


def test_the_table_is_the_specifications() -> None:
    table = {entry.id: entry for entry in market_schedule(price_interval_s=30)}
    assert table["bittrade-price"].interval_s == 30
    assert table["bittrade-sentiment"].cron == "0 0 * * *"
    assert {entry.args[0]: entry.cron for entry in table.values() if entry.args} == {
        "1d": "0 * * * *",
        "7d": "0 */6 * * *",
        "30d": "0 */12 * * *",
        "90d": "0 */18 * * *",
        "365d": "0 0 * * *",
    }
    assert {entry.args[0] for entry in table.values() if entry.args} == set(TIMEFRAMES)
    assert table["bittrade-backfill"].interval_s == 60


def test_the_documented_table_is_this_one() -> None:
    rows = re.findall(
        r"^\| `(bittrade-[\w-]+)` \| ([^|]+) \| `(\w+)` \| ([^|]+) \| ([^|]+) \|$",
        (ROOT / "docs" / "market-data.md").read_text(),
        re.MULTILINE,
    )
    seconds = {"s": 1, "min": 60, "h": 3600}

    def read(text: str) -> int:
        count, unit = text.split()
        return int(count) * seconds[unit]

    entries = {entry.id: entry for entry in schedule(price_interval_s=30, ledger_interval_s=3600)}
    assert sorted(row[0] for row in rows) == sorted(entries)
    for id, runs, queue, limit, dropped in rows:
        entry = entries[id]
        assert (queue, read(limit), read(dropped)) == (entry.queue, entry.timeout_s, entry.ttl_s), id
        assert f"`{entry.cron}`" in runs if entry.cron else "every" in runs, id


def test_the_table_cleans_up_and_proves_the_books_too() -> None:
    table = {entry.id: entry for entry in schedule(price_interval_s=30, ledger_interval_s=3600)}
    assert table["bittrade-ledger"].interval_s == 3600
    assert {"bittrade-purge", "bittrade-thin-prices"} <= set(table)
    # A worker does one thing at a time: what is no price must leave it time for the price.
    assert all(entry.timeout_s + 2 * 20 < 90 for entry in table.values() if entry.queue in QUEUES[1:])


def test_the_books_are_proven_in_a_queue_that_no_price_waits_for() -> None:
    proving = [
        entry
        for entry in schedule(price_interval_s=30, ledger_interval_s=3600)
        if entry.function.startswith("bittrade.jobs.ledger.")
    ]
    assert {entry.function.rpartition(".")[2] for entry in proving} == {"verify", "verify_whole", "digest"}
    assert {entry.queue for entry in proving} == set(LEDGER_QUEUES)
    assert not set(LEDGER_QUEUES) & set(QUEUES)
    # A proof says itself that it did not end, before its job is cut.
    limits = {"bittrade-ledger": RECENT_S, "bittrade-ledger-whole": WHOLE_S}
    assert all(
        limits[entry.id] + PROOF_STATEMENT_S < entry.timeout_s for entry in proving if entry.id in limits
    )


def test_a_waiting_price_is_dropped_before_the_next_one_is_due() -> None:
    assert all(market_schedule(price_interval_s=n)[0].ttl_s <= n for n in (1, 5, 30, 60))


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("0 * * * *", "2026-01-01T10:59:59", "2026-01-01T11:00:00"),
        ("0 * * * *", "2026-01-01T11:00:00", "2026-01-01T12:00:00"),
        ("0 */18 * * *", "2026-01-01T00:00:01", "2026-01-01T18:00:00"),
        ("0 */18 * * *", "2026-01-01T18:00:00", "2026-01-02T00:00:00"),
        ("0 0 * * *", "2026-12-31T23:59:59", "2027-01-01T00:00:00"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_cron_lines_are_utc_whatever_the_machines_time_zone(
    monkeypatch: pytest.MonkeyPatch, zone: str, line: str, after: str, expected: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert next_cron(line, after=_at(after)) == _at(expected)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_s": 30, "cron": "0 * * * *"},
        {},
        {"interval_s": 30, "id": "price"},
        {"interval_s": 30, "function": "os.system"},
    ],
)
def test_a_line_that_makes_no_sense_cannot_be_written(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^(bittrade-x|price): "):
        ScheduleEntry(**{"id": "bittrade-x", "function": "bittrade.jobs.market.update_price"} | wrong)  # type: ignore[arg-type]


# --- the four cases -----------------------------------------------------------------------------------------------


def test_what_is_new_is_added_and_due_at_once(redis: Redis, new_scheduler: NewScheduler) -> None:
    late = replace(OFTEN, id="bittrade-late", first_after_s=20)
    result = reconcile(new_scheduler(()), (HOURLY, OFTEN, late), now=1000.0)
    assert result == Reconciliation(added=("bittrade-hourly", "bittrade-often", "bittrade-late"))
    assert _due(redis) == {"bittrade-hourly": 1000.0, "bittrade-often": 1000.0, "bittrade-late": 1020.0}


def test_what_is_unchanged_is_left_alone_with_its_due_time(redis: Redis, new_scheduler: NewScheduler) -> None:
    scheduler = new_scheduler(())
    reconcile(scheduler, (HOURLY, OFTEN), now=1000.0)
    assert not reconcile(scheduler, (HOURLY, OFTEN), now=1015.0)
    assert set(_due(redis).values()) == {1000.0}


def test_what_changed_is_replaced_and_due_at_its_next_regular_moment(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    scheduler = new_scheduler(())
    reconcile(scheduler, (HOURLY, OFTEN), now=1000.0)
    changed = (replace(HOURLY, cron="30 * * * *"), replace(OFTEN, interval_s=10))
    assert reconcile(scheduler, changed, now=1000.0) == Reconciliation(
        replaced=("bittrade-hourly", "bittrade-often")
    )
    assert _due(redis) == {"bittrade-hourly": 1800.0, "bittrade-often": 1010.0}
    assert not reconcile(scheduler, changed, now=1000.0)


def test_what_was_withdrawn_is_removed_and_other_peoples_entries_are_not(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    scheduler = new_scheduler(())
    redis.zadd(SCHEDULED, {"somebody-elses": 5e9})
    reconcile(scheduler, (HOURLY, OFTEN))
    assert reconcile(scheduler, (OFTEN,)) == Reconciliation(removed=("bittrade-hourly",))
    assert set(_due(redis)) == {"bittrade-often", "somebody-elses"}
    assert not redis.exists(HOURLY_JOB)


# --- starts, the watchdog, and two at once ------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["entry", "template", "both", "unreadable"])
def test_the_watchdog_restores_what_was_deleted_by_hand(
    redis: Redis, new_scheduler: NewScheduler, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    scheduler = new_scheduler((HOURLY, OFTEN))
    scheduler.tick()
    if lost in {"entry", "both"}:
        redis.zrem(SCHEDULED, "bittrade-hourly")
    if lost in {"template", "both"}:
        redis.delete(HOURLY_JOB)
    if lost == "unreadable":
        redis.hset(HOURLY_JOB, "meta", b"\x80\x04garbage")
    scheduler.tick()
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began + WATCHDOG_S + 0.1)
    scheduler.tick()
    assert set(_due(redis)) == {"bittrade-hourly", "bittrade-often"}
    assert redis.exists(HOURLY_JOB)


def test_the_watchdog_looks_at_least_every_ten_seconds() -> None:
    assert WATCHDOG_S <= 10


def test_five_restarts_leave_one_entry_each_and_queue_nothing_twice(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    table = schedule(price_interval_s=30, ledger_interval_s=3600)
    for _ in range(5):
        new_scheduler(table).tick()
    assert sorted(_due(redis)) == sorted(entry.id for entry in table)
    assert _queued(redis) == sorted(entry.id for entry in table if entry.first_after_s == 0)


def test_two_schedulers_at_once_have_one_entry_each_and_queue_each_run_once(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    first, second = new_scheduler((HOURLY, OFTEN)), new_scheduler((HOURLY, OFTEN))
    first.reconcile()
    second.reconcile()
    due = _due(redis)
    now = time.time() + 1
    # Both have read the same due moments; only one of them may act on each.
    queued = [
        [scheduler._enqueue_run(name, due=due[name], now=now) for name in due]
        for scheduler in (first, second)
    ]
    assert queued == [[True, True], [False, False]]
    assert _queued(redis) == ["bittrade-hourly", "bittrade-often"]
    assert len(_due(redis)) == 2


def test_a_fresh_start_queues_the_price_the_sentiment_and_all_five_charts_at_once(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    queued = new_scheduler(market_schedule(price_interval_s=30)).tick()
    charts = {f"bittrade-chart-{timeframe}" for timeframe in TIMEFRAMES}
    assert set(queued) == charts | {"bittrade-price", "bittrade-sentiment"}
    assert redis.llen(PRICE_RUNS) == 1
    assert redis.llen(MARKET_RUNS) == 6


# --- runs ---------------------------------------------------------------------------------------------------------


def _make_due(redis: Redis, entry: ScheduleEntry) -> None:
    redis.zadd(SCHEDULED, {entry.id: time.time() - 0.5})


def test_an_interval_counts_from_the_due_moment_and_does_not_drift(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    scheduler = new_scheduler((OFTEN,))
    scheduler.tick()
    due = time.time() - 0.9
    redis.zadd(SCHEDULED, {OFTEN.id: due})
    scheduler.tick()
    assert _due(redis)[OFTEN.id] == pytest.approx(due + 30, abs=0.001)


def test_moments_missed_while_no_scheduler_ran_are_not_made_up_for(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    scheduler = new_scheduler((OFTEN,))
    scheduler.tick()
    redis.zadd(SCHEDULED, {OFTEN.id: time.time() - 3600})
    redis.delete(PRICE_RUNS)
    before = time.time()
    assert scheduler.tick() == [OFTEN.id]
    after = time.time()
    assert scheduler.tick() == []
    assert before + 30 - 0.001 <= _due(redis)[OFTEN.id] <= after + 30 + 0.001


def test_nothing_piles_up_while_no_worker_runs(redis: Redis, new_scheduler: NewScheduler) -> None:
    scheduler = new_scheduler((OFTEN, HOURLY))
    for _ in range(20):
        scheduler.tick()
        _make_due(redis, OFTEN)
        _make_due(redis, HOURLY)
    assert _queued(redis) == [HOURLY.id, OFTEN.id]


def test_a_run_whose_time_to_live_has_passed_makes_room_for_the_next(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    scheduler = new_scheduler((OFTEN,))
    scheduler.tick()
    (expired,) = redis.lrange(PRICE_RUNS, 0, -1)
    redis.delete(b"rq:job:" + expired)
    _make_due(redis, OFTEN)
    assert scheduler.tick() == [OFTEN.id]
    (fresh,) = redis.lrange(PRICE_RUNS, 0, -1)
    assert fresh != expired


def test_every_run_carries_its_limits(redis: Redis, new_scheduler: NewScheduler) -> None:
    for entry in schedule(price_interval_s=30, ledger_interval_s=3600):
        scheduler = new_scheduler((replace(entry, first_after_s=0),))
        scheduler.tick()
        (run_id,) = redis.lrange(f"rq:queue:{own_name(INSTALLATION, entry.queue)}", 0, -1)
        run = scheduler.job_class.fetch(run_id.decode(), connection=redis)
        assert (run.func_name, tuple(run.args)) == (entry.function, entry.args)
        assert (run.timeout, run.result_ttl, run.failure_ttl) == (entry.timeout_s, 60, 3600)
        assert 0 < redis.ttl(run.key) <= entry.ttl_s
        redis.flushdb()


def test_entries_and_runs_are_json_and_never_pickles(redis: Redis, new_scheduler: NewScheduler) -> None:
    new_scheduler((HOURLY,)).tick()
    for key in redis.keys("rq:job:*"):
        data = redis.hgetall(key)
        assert b"\x80\x04" not in data.get(b"meta", b"")
        assert data[b"created_at"]
    assert b"entry" in redis.hget(HOURLY_JOB, "meta")


def test_a_run_that_was_killed_is_made_up_for_in_seconds_unless_it_is_due_sooner(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    scheduler = new_scheduler((HOURLY, OFTEN))
    scheduler.tick()
    before = time.time()
    assert scheduler.run_soon(f"{OFTEN.id}_at_1700000000000") is True
    assert before + 5 <= _due(redis)[OFTEN.id] <= time.time() + 7
    redis.zadd(SCHEDULED, {OFTEN.id: time.time() + 1})
    assert scheduler.run_soon(f"{OFTEN.id}_at_1700000000000") is False
    assert scheduler.run_soon("somebody-elses-run") is False
    assert set(_due(redis)) == {HOURLY.id, OFTEN.id}


def test_it_says_when_everything_runs_next(redis: Redis, new_scheduler: NewScheduler) -> None:
    scheduler = new_scheduler((HOURLY, OFTEN))
    scheduler.reconcile()
    assert scheduler.next_runs() == _due(redis)


# --- clocks that were ahead, and jobs that do not run -----------------------------------------------------------------


def test_what_a_clock_that_was_ahead_put_days_away_is_brought_back_also_at_the_start(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    new_scheduler((HOURLY, OFTEN)).tick()
    redis.flushdb()
    reconcile(new_scheduler(()), (HOURLY, OFTEN), now=time.time() + 3 * 86_400)
    redis.delete(PRICE_RUNS, MARKET_RUNS)
    assert new_scheduler((HOURLY, OFTEN)).tick() == [OFTEN.id]
    due = _due(redis)
    assert due[OFTEN.id] == pytest.approx(time.time() + 30, abs=2)
    assert due[HOURLY.id] == HOURLY.next_due(after=time.time())


def test_what_is_due_within_its_own_period_stays_where_it_is(
    redis: Redis, new_scheduler: NewScheduler
) -> None:
    late = replace(OFTEN, id="bittrade-late", first_after_s=20)
    scheduler = new_scheduler(())
    reconcile(scheduler, (HOURLY, OFTEN, late), now=1000.0)
    redis.zadd(SCHEDULED, {OFTEN.id: 1034.0, late.id: 1054.0, HOURLY.id: 3600.0})
    assert not reconcile(scheduler, (HOURLY, OFTEN, late), now=1000.0)
    redis.zadd(SCHEDULED, {OFTEN.id: 1036.0, late.id: 1056.0, HOURLY.id: 3606.0})
    result = reconcile(scheduler, (HOURLY, OFTEN, late), now=1000.0)
    assert result.brought_back == (HOURLY.id, OFTEN.id, late.id)
    assert _due(redis) == {OFTEN.id: 1000.0, late.id: 1000.0, HOURLY.id: 3600.0}


def test_an_entry_that_nobody_moves_on_is_overdue(redis: Redis, new_scheduler: NewScheduler) -> None:
    scheduler = new_scheduler((HOURLY, OFTEN))
    scheduler.tick()
    assert scheduler.list_overdue() == []
    redis.zadd(SCHEDULED, {OFTEN.id: time.time() - 31})
    assert scheduler.list_overdue() == [OFTEN.id]


def test_a_job_whose_runs_no_longer_end_is_overdue_until_one_does(
    redis: Redis, app: Flask, new_scheduler: NewScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(OFTEN, function="bittrade.jobs.market.run")
    scheduler = new_scheduler((entry,))
    scheduler.tick()
    began = time.time()

    def update_price() -> str:
        return "done"

    update_price.__name__ = entry.job_name
    for later_s, is_overdue in ((100, False), (600, True)):
        monkeypatch.setattr(time, "time", lambda later_s=later_s: began + later_s)
        redis.zadd(SCHEDULED, {entry.id: time.time()})
        assert (scheduler.list_overdue() == [entry.id]) is is_overdue
    assert alone(update_price)() == "done"
    assert scheduler.list_overdue() == []
    monkeypatch.setattr(time, "time", lambda: began + 600 - 3600)  # and the clock that noted it was ahead
    redis.zadd(SCHEDULED, {entry.id: time.time()})
    scheduler._began_at = time.time() - 3600
    assert scheduler.list_overdue() == [entry.id]
