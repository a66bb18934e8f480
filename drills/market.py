"""`python -m drills.market`: the price feed's drills. Prints one line for each row, and what was measured.

    python -m drills.market --short          about two minutes
    python -m drills.market                  everything at full length, about 25 minutes
    python -m drills.market --only F5

FRESH  a fresh install has everything within 60 s, with at most 10 upstream calls in any minute
F4     Redis is killed, stopped and emptied: prices, charts and trading stay right, the schedule is back within 10 s
F5     every way in which all sources, or the first one, can be slow, broken or liars
F6     worker, work-horse and scheduler are killed; two schedulers; five restarts
M1     jumps, lies, drifts and clocks ahead, with traders who know the true price: the house loses to none of them

Exits 0 when every row passes, 1 when not, 2 when it could not run.
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import redis

from bittrade import create_app
from bittrade.errors import BitTradeError
from bittrade.jobs.schedule import schedule
from bittrade.services import market
from config import load
from drills import market_scenes
from drills.mariadb import ServiceFailed
from drills.market_world import World, market_world, start_program
from drills.program import run_drill
from drills.surroundings import wait_for

PRICE_FEEDS = ("price", "coinbase", "kraken")
ENTRIES = sorted(entry.id for entry in schedule(price_interval_s=30, ledger_interval_s=3600))
BACK_WITHIN_S, JOB_WITHIN_S, LATENCY_S = 10.0, 20.0, 1.0


@dataclass(frozen=True, slots=True)
class Size:
    """How long; two of them."""

    interval_s: int
    away_s: tuple[float, ...]
    stop_s: float
    fresh_watch_s: float
    first_bad_s: float
    modes: tuple[str, ...]
    kills: int
    kill_every_s: float
    scenes: int


MODES = (
    "refuse", "hang", "429", "500", "302", "empty", "html", "truncated", "huge", "drip", "drip_headers", "gzip_bomb",
    "nan", "negative", "zero", "1e400", "text", "times_1000", "missing_coin", "old_timestamp", "jump", "stuck",
)  # fmt: skip
LONG = Size(30, (2, 30, 120), 30, 75, 12, MODES, 20, 6, 4)
SHORT = Size(2, (2,), 4, 8, 4, ("500", "429", "zero", "times_1000", "jump"), 6, 1, 1)


class Report:
    """Lines as they come, and whether all of them passed."""

    def __init__(self) -> None:
        self.is_passed = True

    def row(self, name: str, faults: list[str], **facts: object) -> None:
        self.is_passed &= not faults
        shown = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items())
        print(f"{'ok  ' if not faults else 'FAIL'} {name:28} {shown}", flush=True)
        for fault in faults:
            print(f"     {fault}", flush=True)


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


# --- FRESH --------------------------------------------------------------------------------------------------------


def fresh(world: World, size: Size, report: Report) -> None:
    def is_filled() -> bool:
        counts = world.query(
            "SELECT (SELECT COUNT(*) FROM bitcoin_chart_data), (SELECT COUNT(*) FROM bitcoin_sentiment), "
            "(SELECT COUNT(*) FROM bitcoin_data)"
        )[0]
        return counts[0] == 5 and counts[1] >= 1 and counts[2] >= 1

    wait_for(is_filled, timeout_s=60, what="a filled database")
    took = time.monotonic() - world.started_at
    left = size.fresh_watch_s - (time.monotonic() - world.started_at)
    time.sleep(max(0.0, left))
    recent = sorted(call["at"] for call in world.simulator.server.state.show()["recent"])
    most = max(sum(1 for other in recent if at <= other < at + 60) for at in recent)
    is_usual = size.interval_s == 30  # with a shorter interval there are more by intention
    faults = [f"{most} upstream calls in a minute"] if is_usual and most > 10 else []
    report.row("FRESH", faults, seconds=round(took, 1), most_calls_in_a_minute=most)


# --- F4 -----------------------------------------------------------------------------------------------------------


def f4(world: World, size: Size, report: Report) -> None:
    wait_for(lambda: sorted(world.entries()) == ENTRIES, timeout_s=15, what="the whole schedule")
    for away_s in size.away_s:

        def killed(away_s: float = away_s) -> None:
            world.redis.kill()
            time.sleep(away_s)
            world.redis.start()

        _redis_row(world, report, f"F4 kill -9, away {away_s:g} s", killed)

    def stopped() -> None:
        world.redis.hang()
        time.sleep(size.stop_s)
        world.redis.resume()

    _redis_row(world, report, f"F4 SIGSTOP {size.stop_s:g} s", stopped)

    def emptied() -> None:
        with world.redis.client() as client:
            client.flushall()

    _redis_row(world, report, "F4 FLUSHALL", emptied)


def _redis_row(world: World, report: Report, name: str, fault: Callable[[], None]) -> None:
    began = time.monotonic()
    fault()

    def is_back() -> bool:
        with suppress(redis.RedisError):
            return sorted(world.entries()) == ENTRIES
        return False

    schedule_s = wait_for(is_back, timeout_s=60, what="the schedule")
    before = world.query("SELECT MAX(id) FROM bitcoin_data")[0][0]
    interval_s = int(world.environment["PRICE_INTERVAL_S"])
    price_s = wait_for(
        lambda: world.query("SELECT MAX(id) FROM bitcoin_data")[0][0] > before,
        timeout_s=interval_s + 40,
        what="the next price",
    )
    time.sleep(1)
    trades = [sample for sample in world.trades if sample.at >= began]
    reads = [sample for sample in world.reads if sample.at >= began]
    p99, age_s = quantile([sample.seconds for sample in trades], 0.99), world.oldest_price_s(began)
    # What Redis forgot is queued at once; a schedule that survived goes on at its own moment.
    faults = [
        *_failed(trades, {201}, "trade"),
        *_failed(reads, {200}, "read"),
        *([f"the schedule was back after {schedule_s:.1f} s"] if schedule_s > BACK_WITHIN_S else []),
        *(
            [f"the next price came after {price_s:.1f} s"]
            if price_s > max(BACK_WITHIN_S, interval_s + 5)
            else []
        ),
        *([f"trades took p99 {p99:.2f} s"] if p99 >= LATENCY_S else []),
        *([f"the price was {age_s:.0f} s old"] if age_s > world.max_age_s else []),
    ]
    report.row(
        name, faults, trades=len(trades), reads=len(reads), p99_ms=round(p99 * 1000), oldest_price_s=round(age_s, 1),
        schedule_back_s=round(schedule_s, 1), next_price_s=round(price_s, 1),
    )  # fmt: skip


def _failed(samples: list[Any], allowed: set[int], what: str) -> list[str]:
    bad = [sample for sample in samples if sample.status not in allowed]
    return (
        [f"{len(bad)} of {len(samples)} {what}s failed, first {bad[0].status} {bad[0].body}"] if bad else []
    )


# --- F5 -----------------------------------------------------------------------------------------------------------


def f5(world: World, size: Size, report: Report) -> None:
    app = create_app(load(**{key: world.environment[key] for key in _settings(world)}))
    with app.app_context():
        for mode in size.modes:
            _bad_first_source(world, size, report, mode)
            _bad_sources(world, report, mode)


def _settings(world: World) -> list[str]:
    names = ("BITTRADE_ENV", "DATABASE_URL", "REDIS_URL", "JWT_SECRET", "PRICE_INTERVAL_S", "MAX_PRICE_AGE_S")
    return [*names, *world.simulator.settings]


def _behave(world: World, mode: str, feeds: tuple[str, ...]) -> None:
    wanted: dict[str, Any] = (
        {"mode": "slow", "seconds": 3600} if mode == "hang" else {"mode": mode, "seconds": 1.0}
    )
    if mode == "429":
        wanted["retry_after"] = 3600
    for feed in feeds:
        world.simulator.set(**wanted, path=feed)


def _make_good(world: World) -> None:
    """All sources well, nothing remembered against them, and a fresh price."""
    world.simulator.reset()
    # A hang in which the worker still waits ends by its own deadline.
    world.change("UPDATE upstreams SET failures=0, open_until=NULL, paused_until=NULL, recent_calls='[]'")
    world.simulator.set(price=95_000)

    def is_good() -> bool:
        with suppress(BitTradeError):
            market.update_price()
        return world.price_age_s() < 2 and not world.query(
            "SELECT 1 FROM upstreams WHERE name='coingecko' AND failures > 0"
        )

    wait_for(is_good, timeout_s=60, what="a good price")
    world.simulator.set(price=None)
    world.change("UPDATE upstreams SET failures=0, open_until=NULL, paused_until=NULL, recent_calls='[]'")


def _bad_first_source(world: World, size: Size, report: Report, mode: str) -> None:
    """One source is bad: the others give the price, and trading goes on."""
    _make_good(world)
    began = time.monotonic()
    _behave(world, mode, ("price",))
    time.sleep(size.first_bad_s)
    trades = [sample for sample in world.trades if sample.at >= began]
    age_s = world.oldest_price_s(began)
    faults = [*_failed(trades, {201}, "trade"), *_wrong_prices(trades)]
    if age_s > world.max_age_s:
        faults.append(f"the price was {age_s:.0f} s old")
    report.row(f"F5 {mode}: first source", faults, trades=len(trades), oldest_price_s=round(age_s, 1))


def _bad_sources(world: World, report: Report, mode: str) -> None:
    """All are bad: the last good price is kept, and refused once it is too old."""
    _make_good(world)
    _behave(world, mode, PRICE_FEEDS)
    began = time.monotonic()
    reason = "none: it is the last good price again"
    try:
        market.update_price()
    except BitTradeError as error:
        reason = error.message
    job_s = time.monotonic() - began
    if mode == "jump":  # held by all three; as all three agree, one second source confirms
        report.row(
            "F5 jump: all sources", [], job_s=round(job_s, 1), outcome="confirmed by the second source"
        )
        return
    time.sleep(1)  # the worker may have been asking at the same moment
    calls = world.simulator.requests()
    wait_for(lambda: world.price_age_s() > world.max_age_s + 1, timeout_s=120, what="an old price")
    stale = time.monotonic()
    refused = [world.trade() for _ in range(3)]
    current = world.request("GET", "/api/bitcoin/current")
    faults = [
        *_failed(refused, {503}, "trade that must be refused"),
        *_wrong_prices([sample for sample in world.trades if began <= sample.at < stale]),
        *([f"the job took {job_s:.1f} s"] if job_s > JOB_WITHIN_S else []),
        *([f"/current answers {current.status}"] if current.status != 200 else []),
        *([] if current.body.get("stale") is True else ["/current does not say that it is stale"]),
    ]
    asked = world.simulator.requests() - calls
    if mode == "429" and asked:
        faults.append(f"asked {asked} more times although every source wanted an hour of rest")
    report.row(
        f"F5 {mode}: all sources", faults, job_s=round(job_s, 1), asked_again=asked, trading="503 after max age",
        reason=repr(reason[:110]),
    )  # fmt: skip


def _wrong_prices(trades: list[Any]) -> list[str]:
    """Every trade's price within 20 % of the simulator's, whatever lies were told."""
    prices = [sample.body["execution_price"] / 91 for sample in trades if sample.status == 201]
    wrong = [price for price in prices if not 80_000 < price < 110_000]
    return [f"{len(wrong)} trades at a refused price, such as {wrong[0]}"] if wrong else []


# --- F6 -----------------------------------------------------------------------------------------------------------


def f6(world: World, size: Size, report: Report) -> None:
    began = time.monotonic()
    world.simulator.set("slow", seconds=1.0, path="price")  # so that there is a work-horse to be killed
    kills = {"worker": 0, "work-horse": 0, "scheduler": 0}
    for number in range(size.kills):
        _kill(world, ("worker", "work-horse", "scheduler")[number % 3], kills)
        time.sleep(size.kill_every_s)
    world.simulator.set("normal", path="price")
    _twice_and_again(world, size)
    wait_for(lambda: sorted(world.entries()) == ENTRIES, timeout_s=15, what="the whole schedule")
    age_s = world.oldest_price_s(began)
    time.sleep(3)
    twice = world.query("SELECT COUNT(*) - COUNT(DISTINCT as_of) FROM bitcoin_data")[0][0]
    queued = _queued(world)
    faults = [
        *([f"the price was {age_s:.0f} s old"] if age_s > 90 else []),
        *([f"{twice} prices were recorded twice"] if twice else []),
        *([f"runs wait twice: {queued}"] if len(set(queued)) != len(queued) else []),
    ]
    report.row(
        "F6 kills", faults, **{name.replace("-", "_"): count for name, count in kills.items()}, schedulers=2,
        restarts=5, entries=len(world.entries()), oldest_price_s=round(age_s, 1), recorded_twice=twice,
    )  # fmt: skip


def _kill(world: World, what: str, kills: dict[str, int]) -> None:
    if what == "work-horse":
        with suppress(ServiceFailed):  # within 40 s there is a run of something
            wait_for(lambda: world.programs["worker"].kill_child(), timeout_s=40, what="a work-horse")
            kills[what] += 1
        return
    with suppress(psutil.Error):
        world.programs[what].kill()
        kills[what] += 1


def _twice_and_again(world: World, size: Size) -> None:
    """A second scheduler, and five restarts of the first."""
    second = start_program(world, "scheduler-2", "worker.py", "scheduler")
    try:
        for _ in range(5):
            starts = world.programs["scheduler"].starts
            world.programs["scheduler"].kill()
            wait_for(
                lambda starts=starts: world.programs["scheduler"].starts > starts,  # type: ignore[misc]
                timeout_s=10,
                what="a restart",
            )
            time.sleep(max(2.0, size.kill_every_s / 2))
    finally:
        second.close()


def _queued(world: World) -> list[str]:
    with world.redis.client() as client:
        ids = [raw.decode() for key in client.keys("rq:queue:*") for raw in client.lrange(key, 0, -1)]
    return [run.partition("_at_")[0].partition("-")[2] for run in ids]


# --- all of it ----------------------------------------------------------------------------------------------------


def m1(world: World, size: Size, report: Report) -> None:
    case, traders = market_scenes.play(world, times=size.scenes)
    report.row("M1", market_scenes.find_faults(case, traders), **market_scenes.describe(case, traders))


DRILLS: dict[str, Callable[[World, Size, Report], None]] = {
    "FRESH": fresh,
    "F4": f4,
    "F6": f6,
    "F5": f5,
    "M1": m1,
}
OWN_WORLD = ("F5", "M1")


def run(names: list[str], size: Size, folder: Path) -> bool:
    report = Report()
    usual = [name for name in names if name not in OWN_WORLD]
    if usual:
        with market_world(folder / "usual", interval_s=size.interval_s, max_age_s=90) as world:
            if "FRESH" not in usual:  # it waits for the first price itself
                wait_for(lambda: world.price_age_s() < 5, timeout_s=60, what="the first price")
            for name in usual:
                DRILLS[name](world, size, report)
    if "F5" in names:
        # Every row waits until its price is too old: 20 s of it instead of 90, fetched every 5 s instead of 30.
        is_short = size is SHORT
        with market_world(
            folder / "f5", interval_s=2 if is_short else 5, max_age_s=6 if is_short else 20
        ) as world:
            wait_for(lambda: world.price_age_s() < 5, timeout_s=60, what="the first price")
            f5(world, size, report)
    if "M1" in names:
        with market_world(
            folder / "m1", interval_s=2, max_age_s=90, settings=market_scenes.SETTINGS
        ) as world:
            wait_for(lambda: world.price_age_s() < 5, timeout_s=60, what="the first price")
            m1(world, size, report)
    print("passed" if report.is_passed else "FAILED", flush=True)
    return report.is_passed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m drills.market", description="The price feed's drills.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--short", action="store_true", help="about two minutes")
    length.add_argument("--long", action="store_true", help="the full length (the default)")
    parser.add_argument("--only", help=f"some of {','.join(DRILLS)}")
    parser.add_argument("--modes", help="of F5, only these")
    options = parser.parse_args(arguments)
    names = [name.strip().upper() for name in options.only.split(",")] if options.only else list(DRILLS)
    if unknown := [name for name in names if name not in DRILLS]:
        parser.error(f"there is no {', '.join(unknown)}")
    size = SHORT if options.short else LONG
    if options.modes:
        size = replace(size, modes=tuple(options.modes.split(",")))

    def drill(folder: Path) -> bool:
        for name in ("usual", "f5", "m1"):
            (folder / name).mkdir(mode=0o711)
        return run(names, size, folder)

    return run_drill("market", drill)


if __name__ == "__main__":
    sys.exit(main())
