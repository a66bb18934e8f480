"""`python -m drills.sockets [--short] [--only L3,F2,F9]`: sockets under load, in a rolling restart, among hostile ones.

The world is the one of `python -m drills`: private database and Redis, two web processes, production's settings; the
money is judged by the same checker at the end. Exits 0 when every target is met and every invariant holds.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from dev.services import RedisServerFailed, RedisServerMissing
from drills import scenarios
from drills.__main__ import judge, say
from drills.client import Client
from drills.figures import Figures, Target, percentile
from drills.history import History
from drills.mariadb import ServiceFailed, ServiceMissing
from drills.scenarios import GROUPS, Run, warm_up
from drills.sockets_crowd import Crowd
from drills.surroundings import ROOT, Person, world


@dataclass(frozen=True, slots=True)
class Size:
    """How many sockets, and how long."""

    sockets: int
    user_events_per_second: float
    steady_s: float
    restart_per_second: float
    hostile_s: float
    idle: int


LONG = Size(
    sockets=900, user_events_per_second=20, steady_s=600, restart_per_second=50, hostile_s=60, idle=1200
)
SHORT = Size(
    sockets=150, user_events_per_second=20, steady_s=12, restart_per_second=20, hostile_s=12, idle=1200
)
OUR_SOCKETS = 50
MEGABYTE = 1_000_000


def people_for(run: Run, sockets: int) -> list[Person | None]:
    """A third of the sockets are somebody's; the load's users share them."""
    people = run.world.people["load"]
    return [people[number // 3 % len(people)] if number % 3 == 0 else None for number in range(sockets)]


def in_step(run: Run, crowd: Crowd) -> bool:
    """Whether every socket has heard of its user's newest trade."""
    newest: dict[int, int] = {}
    for line in run.history.lines:
        if line.body and "seq" in line.body:
            newest[line.user_id] = max(newest.get(line.user_id, 0), int(line.body["seq"]))
    return all(
        member.last_seq >= newest.get(member.person.id, 0) for member in crowd.members if member.person
    )


def out_of_order(crowd: Crowd) -> int:
    return sum(
        later < earlier
        for member in crowd.members
        for earlier, later in zip(member.balance_seqs, member.balance_seqs[1:], strict=False)
    )


def missing_rows(crowd: Crowd, since: dict[int, int]) -> int:
    """Transactions between what each socket knew first and what it knows last, of which it was never told."""
    return sum(
        sum(seq not in member.rows for seq in range(since[id(member)] + 1, member.last_seq + 1))
        for member in crowd.members
        if member.person
    )


def memory_of(workers: list[int]) -> float:
    return sum(psutil.Process(pid).memory_info().rss for pid in workers) / MEGABYTE


def steady(run: Run, size: Size) -> Figures:
    """L3: ticks and user events to many sockets; each once, in order, and soon."""
    workers = run.world.web.list_workers()
    crowd = Crowd(run.world.web.port, people_for(run, size.sockets))
    try:
        crowd.wait_until(crowd.are_all_in, 30)
        before, since = memory_of(workers), {id(member): member.last_seq for member in crowd.members}
        for member in crowd.members:
            member.ticks.clear()
            member.lags_ms.clear()
        load = run.load("L3", per_second=size.user_events_per_second / 2, seconds=size.steady_s)
        load.finish()
        crowd.wait_until(lambda: in_step(run, crowd), 5)
        grown = memory_of(workers) - before
    finally:
        crowd.close()
    told = set.union(*(set(member.ticks) for member in crowd.members))
    inner = sorted(told)[2:-2]  # the first and the last may have come to some before or after we looked
    lost = sum(stamp not in member.ticks for member in crowd.members for stamp in inner)
    doubled = sum(count > 1 for member in crowd.members for count in member.ticks.values())
    lags = [lag for member in crowd.members for lag in member.lags_ms]
    facts: dict[str, object] = {
        "sockets": len(crowd.members),
        "ticks": len(inner),
        "deliveries": len(lags) + sum(len(member.balance_seqs) for member in crowd.members),
        "tick p50 ms": round(percentile(lags, 0.5), 1),
        "tick p99 ms": round(percentile(lags, 0.99), 1),
        "growth MB": round(grown, 1),
    }
    return Figures(
        "L3",
        facts,
        [
            Target("lost ticks", lost, 0),
            Target("doubled ticks", doubled, 0),
            Target("balances that went back", out_of_order(crowd), 0),
            Target("transactions nobody told of", missing_rows(crowd, since), 0),
            Target("sockets out of step", 0 if in_step(run, crowd) else 1, 0),
            Target("cut sockets", sum(len(member.closed_at) for member in crowd.members), 0),
            Target("tick p99", percentile(lags, 0.99), 300, " ms", is_soft=True),
            Target("growth", grown, 5, " MB", is_soft=True),
        ],
    )


def restart(run: Run, size: Size) -> Figures:
    """F2: HUP replaces both web processes under load; every socket gets a close frame and is in step again."""
    old = run.world.web.list_workers()
    crowd = Crowd(run.world.web.port, people_for(run, OUR_SOCKETS))
    try:
        crowd.wait_until(crowd.are_all_in, 30)
        since = {id(member): member.last_seq for member in crowd.members}
        load = run.load("F2", per_second=size.restart_per_second, seconds=12)
        time.sleep(2)
        began = time.monotonic()
        psutil.Process(old[0]).parent().send_signal(1)  # type: ignore[union-attr]  # HUP
        _, left = psutil.wait_procs([psutil.Process(pid) for pid in old], timeout=20)
        ended_s = time.monotonic() - began
        crowd.wait_until(crowd.are_all_in, 10)
        load.finish()
        crowd.wait_until(lambda: in_step(run, crowd), 5)
    finally:
        crowd.close()
    closed = [member.closed_at[0] - began for member in crowd.members if member.closed_at]
    back = [
        member.back_at[0] - member.closed_at[0]
        for member in crowd.members
        if member.closed_at and member.back_at
    ]
    codes = [code for member in crowd.members for code in member.close_codes[:1]]
    lines = [line for line in run.history.of("F2") if line.kind == "trade"]
    tries: dict[str, int] = {}
    for line in lines:
        tries[str(line.key)] = max(tries.get(str(line.key), 0), line.attempt)
    return Figures(
        "F2",
        {
            "sockets": len(crowd.members),
            "trades tried again": sum(attempt > 1 for attempt in tries.values()),
            "closed after s": f"{min(closed, default=0):.1f} to {max(closed, default=0):.1f}",
            "back after s": f"{statistics.median(back):.1f} (median)" if back else "never",
        },
        [
            Target("sockets without a close frame", sum(code != 1001 for code in codes), 0),
            Target("sockets that were never closed", len(crowd.members) - len(closed), 0),
            # A worker is asked to go when its successor has started, which takes seconds here.
            Target("first to last close frame", max(closed) - min(closed) if closed else 99, 5, " s"),
            Target("end of the old processes", ended_s, 15, " s", is_soft=True),
            Target("old processes left", len(left), 0),
            Target(
                "trades that needed more than one retry", sum(a > 2 for a in tries.values()), 0, is_soft=True
            ),
            Target("balances that went back", out_of_order(crowd), 0),
            Target("transactions nobody told of", missing_rows(crowd, since), 0),
            Target("sockets out of step", 0 if in_step(run, crowd) else 1, 0),
            # New processes have to start first.
            Target("longest way back", max(back, default=99), 5, " s", is_soft=True),
        ],
    )


def hostile(run: Run, size: Size) -> Figures:
    """F9: slow readers, floods, bombs, and idle transports beyond the caps, while others trade and read."""
    workers = run.world.web.list_workers()
    before = memory_of(workers)
    port, is_over = run.world.web.port, threading.Event()
    person = run.world.people["racer"][0]
    crowd = Crowd(port, people_for(run, OUR_SOCKETS))
    crowd.wait_until(crowd.are_all_in, 30)
    latencies: list[float] = []
    reader = threading.Thread(target=_read, args=(port, person, latencies, is_over), daemon=True)
    reader.start()
    # In a process of their own: here they would keep the one that measures from its turn.
    command = [sys.executable, "-m", "drills.sockets_hostile", str(port), person.token]
    done = subprocess.run(
        [*command, str(size.hostile_s), str(size.idle)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    counts: dict[str, int] = json.loads(done.stdout)
    is_over.set()
    reader.join(20)
    # The idle ones are closed within 5 s, and what they took is free.
    wait_s = 10.0
    deadline = time.monotonic() + wait_s
    while _sockets_of(workers, port) > OUR_SOCKETS and time.monotonic() < deadline:
        time.sleep(0.2)
    left = _sockets_of(workers, port)
    grown = memory_of(workers) - before
    cut = sum(len(member.closed_at) for member in crowd.members)
    crowd.close()
    return Figures(
        "F9",
        {**counts, "HTTP requests": len(latencies), "HTTP p50 ms": round(percentile(latencies, 0.5), 1)},
        [
            Target("HTTP p99", percentile(latencies, 0.99), 200, " ms", is_soft=True),
            Target("HTTP longest", max(latencies), 3000, " ms"),
            Target("hostile sockets left", max(0, left - OUR_SOCKETS), 0),
            Target("honest sockets cut", cut, 0),
            Target("floods that went on", 0 if counts["floods cut"] else 1, 0),
            Target("slow readers that were not cut", counts["slow readers"] - counts["slow cut"], 0),
            Target("bombs that were taken", 0 if counts["bombs cut"] else 1, 0),
            Target("growth", grown, 60, " MB", is_soft=True),
        ],
    )


def _read(port: int, person: Person, latencies: list[float], is_over: threading.Event) -> None:
    client = Client(port)
    while not is_over.wait(0.01):
        began = time.monotonic()
        if client.read(person, "balance").status == 200:
            latencies.append((time.monotonic() - began) * 1000)
        else:
            latencies.append(10_000)
    client.close()


def _sockets_of(workers: list[int], port: int) -> int:
    return sum(
        connection.laddr.port == port and connection.status == psutil.CONN_ESTABLISHED
        for pid in workers
        for connection in psutil.Process(pid).net_connections("tcp")
    )


DRILLS: dict[str, Callable[[Run, Size], Figures]] = {"L3": steady, "F9": hostile, "F2": restart}


def run_all(names: list[str], size: Size, folder: Path) -> int:
    history = History(folder / "history.jsonl")
    is_passed = True
    with world(folder, seed=1, groups=GROUPS) as surroundings:
        run = Run(surroundings, history, scenarios.SHORT, 1)
        warm_up(run)
        for name in names:
            figures = DRILLS[name](run, size)
            say(figures)
            is_passed &= all(target.is_met or target.is_soft for target in figures.targets)
        for result in judge(surroundings, history):
            is_passed &= result.is_ok
            say(result)
    history.close()
    return 0 if is_passed else 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m drills.sockets", description="The sockets' drills.")
    parser.add_argument("--short", action="store_true", help="about a minute")
    parser.add_argument("--only", default=",".join(DRILLS), help=f"some of {','.join(DRILLS)}")
    options = parser.parse_args(arguments)
    names = [name.strip().upper() for name in options.only.split(",")]
    if unknown := [name for name in names if name not in DRILLS]:
        parser.error(f"there is no {', '.join(unknown)}")
    folder = Path(tempfile.mkdtemp(prefix="bittrade-sockets-"))
    folder.chmod(0o711)
    try:
        return run_all(names, SHORT if options.short else LONG, folder)
    except (ServiceMissing, ServiceFailed, RedisServerMissing, RedisServerFailed) as error:
        print(f"drills: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
