"""`python -m drills.plans`: drill O2, recurring plans over simulated days while those who run them are killed.

    python -m drills.plans --short          half a day, one to two minutes
    python -m drills.plans                  three days, and clocks that are put back; about ten minutes

Three processes run what is due by a simulated clock that goes on by five minutes when that is done, and at the latest
after a moment; the clock of one is behind the others'. They are killed all the time, MariaDB now and then. At the end each
due time, worked out here once more, has exactly one run. Exits 0 when every rule holds, 1 when not, 2 when it could not run.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from drills import checker
from drills.books import Books, read_books
from drills.checker import Result
from drills.mariadb import PrivateMariaDB, ServiceFailed
from drills.market_world import KeptAlive
from drills.plan_runner import READY
from drills.program import run_drill
from drills.surroundings import ROOT, make_environment, migrate, wait_for

# Clocks in New York and on Lord Howe Island (half an hour) change on these days.
START = datetime(2026, 10, 31, 12, tzinfo=UTC)
ZONES = ("Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "UTC")
HOURLY, DAILY = 48, 12
RUNNERS, BEHIND_S = 3, 600.0
DATABASE_EVERY = 5  # kills of runners
STEPS = {"HOURLY": timedelta(hours=1), "DAILY": timedelta(days=1)}
REST_S = 240.0
STEP, PATIENCE_S = timedelta(minutes=5), 1.5
PRICE_AGE_S = 86_400  # a simulated hour is over in seconds


@dataclass(frozen=True, slots=True)
class Size:
    """How many simulated days, and how often something is killed."""

    days: float
    kill_every_s: float


LONG = Size(3, 2.0)
SHORT = Size(0.5, 2.0)


def plan_bodies(rng: random.Random) -> list[dict[str, Any]]:
    """Plans whose minutes differ, so that one is always due; some end by themselves, some never like the price."""
    bodies = []
    for number in range(HOURLY + DAILY):
        frequency = "HOURLY" if number < HOURLY else "DAILY"
        start = START + timedelta(
            minutes=1.25 * number + 1, hours=0 if number < HOURLY else 2 * (number - HOURLY)
        )
        is_buy, in_inr = rng.random() < 0.5, rng.random() < 0.5
        bodies.append(
            {
                "action": "buy" if is_buy else "sell",
                "asset": "INR" if in_inr else "BTC",
                "amount": rng.randint(100, 5_000) if in_inr else rng.randint(1_000, 50_000),
                "max_price": 1_000 if number % 7 == 3 else None,
                "frequency": frequency,
                "time_zone": ZONES[number % len(ZONES)],
                "start_at": start.timestamp(),
                "remaining_executions": 5 if number % 9 == 4 else None,
            }
        )
    return bodies


def due_times(row: Any, end: datetime) -> list[datetime]:
    """Every due time up to `end`: the clock's reading moves on by the step; a reading that comes twice counts once, the
    first time, and one that never comes is moved on by the gap. Brute force, a reading after the other."""
    zone = ZoneInfo(row.time_zone)
    found: set[datetime] = set()
    local = _utc(row.start_at).astimezone(zone).replace(tzinfo=None)
    while True:
        due = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if due > end:
            return sorted(found)
        found.add(due)
        local += STEPS[row.frequency]


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Runs:
    """The plans and their runs, beside the books."""

    plans: Sequence[Any]
    runs: dict[int, list[Any]]  # by plan, by due time
    books: Books
    end: datetime


def read_runs(connection: sa.Connection, end: datetime) -> Runs:
    """Everything; nothing runs any more."""
    plans = connection.execute(sa.text("SELECT * FROM recurring_plans ORDER BY id")).all()
    runs = defaultdict(list)
    for row in connection.execute(sa.text("SELECT * FROM plan_runs ORDER BY plan_id, due_at")):
        runs[row.plan_id].append(row)
    return Runs(plans, runs, read_books(connection), end)


def each_due_time_once(found: Runs) -> Iterator[str]:
    for plan in found.plans:
        made = [_utc(run.due_at) for run in found.runs[plan.id]]
        wanted = due_times(plan, found.end)
        if plan.status == "COMPLETED":
            wanted = wanted[: len(made)]  # it ended by itself
        if made != wanted:
            missing, extra = sorted(set(wanted) - set(made)), sorted(set(made) - set(wanted))
            yield f"plan {plan.id} ({plan.frequency}, {plan.time_zone}): missing {missing[:3]}, beyond {extra[:3]}"


def runs_have_their_trades(found: Runs) -> Iterator[str]:
    """An executed run has a trade of its own, the plan's user's; there is no trade without a run."""
    of_runs = Counter(
        run.transaction_id for runs in found.runs.values() for run in runs if run.transaction_id
    )
    for transaction in found.books.transactions.values():
        is_of_plan = transaction.type.startswith("DCA_")
        if of_runs[transaction.id] != is_of_plan:
            yield f"transaction {transaction.id}, {transaction.type}, is that of {of_runs[transaction.id]} runs"
    for plan in found.plans:
        for run in found.runs[plan.id]:
            trade = found.books.transactions.get(run.transaction_id or 0)
            if (run.outcome == "executed") != (trade is not None) or (run.reason is None) != (
                trade is not None
            ):
                yield f"plan {plan.id}, {run.due_at}: {run.outcome}, {run.reason}, transaction {run.transaction_id}"
            elif trade is not None and (trade.user_id, trade.type, trade.inr_amount, trade.btc_amount) != (
                plan.user_id, f"DCA_{plan.action.upper()}", run.inr_amount, run.btc_amount,
            ):  # fmt: skip
                yield f"plan {plan.id}, {run.due_at}: its run says {run}, its trade {trade}"


def plans_count_their_runs(found: Runs) -> Iterator[str]:
    for plan in found.plans:
        executed = [run for run in found.runs[plan.id] if run.outcome == "executed"]
        sums = len(executed), sum(run.inr_amount for run in executed), sum(run.btc_amount for run in executed)
        if sums != (plan.executions, plan.total_inr, plan.total_btc):
            yield f"plan {plan.id} counts {plan.executions, plan.total_inr, plan.total_btc}, its runs {sums}"
        if plan.status == "COMPLETED" and plan.remaining_executions != 0:
            yield f"plan {plan.id} is completed, {plan.remaining_executions} executions remain"
        if plan.status == "ACTIVE" and plan.remaining_executions == 0:
            yield f"plan {plan.id} is active, and nothing remains"


RULES = (
    ("P-once", "each due time has exactly one run, and nothing else has", each_due_time_once),
    ("P-trade", "each executed run has its own trade, and each trade of a plan its run", runs_have_their_trades),
    ("P-sums", "each plan counts what its runs came to", plans_count_their_runs),
)  # fmt: skip


def judge(found: Runs) -> list[Result]:
    """The rules for plans, and the books' own; not how old a price was (I8), because the clock is too fast for that."""
    results = [Result(name, claim, tuple(look(found))) for name, claim, look in RULES]
    return results + [result for result in checker.check_books(found.books, []) if result.name != "I8"]


def run(folder: Path, size: Size, seed: int) -> bool:
    """Everything; whether it passed."""
    rng, end = random.Random(f"{seed} O2"), START + timedelta(days=size.days)  # noqa: S311 - replayable, no secret
    database = PrivateMariaDB(folder / "mariadb")
    with ExitStack() as stack:
        stack.callback(database.close)
        database.install()
        environment = make_environment(
            code=ROOT, database_url=database.url, redis_url="redis://127.0.0.1:9/0"
        )
        environment |= {"BITTRADE_ENV": "development", "MAX_PRICE_AGE_S": str(PRICE_AGE_S)}
        migrate(folder, ROOT, environment)
        clock = Clock(folder / "clock")
        clock.set(START)
        _make(environment, plan_bodies(rng), clock)
        kills = Days(database, environment, folder, clock, end).let_pass(stack, size)
        with sa.create_engine(database.url, isolation_level="REPEATABLE READ").connect() as connection:
            found = read_runs(connection, end)
    results = judge(found)
    outcomes = Counter(run.reason or "executed" for runs in found.runs.values() for run in runs)
    statuses = Counter(plan.status for plan in found.plans)
    print(f"O2      {size.days:g} days, runs {dict(outcomes)}, plans {dict(statuses)}, kills {dict(kills)}")
    for result in results:
        print(result)
    is_passed = all(result.is_ok for result in results) and outcomes["executed"] > 0
    print("passed" if is_passed else "FAILED", flush=True)
    return is_passed


def _make(environment: dict[str, str], bodies: list[dict[str, Any]], clock: "Clock") -> None:
    command = [sys.executable, "-m", "drills.plan_runner", "make", str(clock.file)]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, input=json.dumps(bodies), text=True, capture_output=True, timeout=120,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise ServiceFailed(f"no plans:\n{done.stderr[-2000:]}")


@dataclass(frozen=True, slots=True)
class Clock:
    """The simulated time, in a file that the runners read."""

    file: Path

    def set(self, moment: datetime) -> None:
        """Let it be so late: whoever reads sees the time of before or this one."""
        new = self.file.with_suffix(".new")
        new.write_text(str(moment.timestamp()))
        new.replace(self.file)


@dataclass(frozen=True, slots=True)
class Days:
    """The simulated days, and what runs in them."""

    database: PrivateMariaDB
    environment: dict[str, str]
    folder: Path
    clock: Clock
    end: datetime

    def let_pass(self, stack: ExitStack, size: Size) -> Counter[str]:
        """Move the clock on while runners are killed in turns; then wait until nothing is due any more. The kills."""
        runners = [self._start(stack, number) for number in range(RUNNERS)]
        wait_for(lambda: self._begun(RUNNERS - 1), timeout_s=REST_S, what="the runners")
        kills: Counter[str] = Counter()
        killed_at, seen, now = time.monotonic(), Counter[int](), START
        while (now := min(self.end, now + STEP)) < self.end:
            self.clock.set(now)
            self._wait_until_run(now)
            if time.monotonic() - killed_at > size.kill_every_s:
                killed_at = time.monotonic()
                self._kill_one(runners, seen, kills)
        self.clock.set(self.end)
        wait_for(lambda: not self._due(self.end), timeout_s=REST_S, what="the last runs")
        for runner in runners:
            runner.close()
        return kills

    def _start(self, stack: ExitStack, number: int) -> KeptAlive:
        behind_s = BEHIND_S if number == RUNNERS - 1 else 0.0
        words = ["-m", "drills.plan_runner", "run", str(self.clock.file), str(behind_s)]
        runner = KeptAlive(f"runner-{number}", [sys.executable, *words], self.environment, self.folder)
        stack.callback(runner.close)
        return runner

    def _begun(self, number: int) -> int:
        """How often this runner has begun: a process takes seconds to start, and before that a kill is none."""
        log = self.folder / f"runner-{number}.log"
        return log.read_text(errors="replace").count(READY) if log.exists() else 0

    def _kill_one(self, runners: list[KeptAlive], seen: Counter[int], kills: Counter[str]) -> None:
        for number, runner in enumerate(runners):
            if (begun := self._begun(number)) > seen[number]:
                seen[number] = begun
                runner.kill()
                kills["runner"] += 1
                break
        if kills["runner"] // DATABASE_EVERY > kills["database"]:
            self.database.kill()
            self.database.start()
            kills["database"] += 1

    def _wait_until_run(self, now: datetime) -> None:
        """Give the runners time, but not much: what a kill holds up is missed."""
        deadline = time.monotonic() + PATIENCE_S
        while self._due(now) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _due(self, now: datetime) -> int:
        query = sa.text("SELECT COUNT(*) FROM recurring_plans WHERE status = 'ACTIVE' AND due_at <= :now")
        engine = sa.create_engine(self.database.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return int(connection.scalar(query, {"now": now.replace(tzinfo=None)}) or 0)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m drills.plans", description="Plans while all is killed.")
    parser.add_argument("--short", action="store_true", help="half a day")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    size = SHORT if options.short else LONG
    return run_drill("plans", lambda folder: run(folder, size, options.seed))


if __name__ == "__main__":
    sys.exit(main())
