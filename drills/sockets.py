"""The sockets' drills: crowds, churn, hostile clients, killed and restarted processes, and Redis gone (I7)."""

import json
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil

from drills import figures, heard
from drills.client import Client, ask
from drills.crowd import Crowd
from drills.figures import Figures, Target, percentile
from drills.history import Line
from drills.load import beside
from drills.scenarios import ANSWER_LIMIT_S, OUR_SOCKETS, Run
from drills.surroundings import ROOT, WORKERS, Person

IN_STEP_S, BACK_S, CLOSED_WITHIN_S, GONE_S = 3.0, 5.0, 5.0, 15.0
GOING_AWAY = 1001
WRITES_A_MINUTE, WRITES = 120, 600  # RATELIMIT_WRITE as it comes, and how often it is tried
SAMPLE_EACH_S = 2.0


def heard_all(
    run: Run, crowd: Crowd, drill: str, *, since_s: float = 0.0, limit_s: float = IN_STEP_S
) -> list[Target]:
    """What every drill with sockets has to show, once its load has ended: everyone in step, soon, in order, all of it."""
    lines = run.history.of(drill)
    newest = heard.newest_seqs(lines)

    def is_in_step() -> bool:
        members = crowd.members
        return (
            crowd.are_all_in() and not heard.out_of_step(members, newest) and not heard.unheard_rows(members)
        )

    crowd.wait_until(is_in_step, 60)
    members = crowd.members
    slowest_s = heard.slowest_word_s(members, lines, since_s)
    return [
        Target("sockets out of step", heard.out_of_step(members, newest), 0),
        Target("balances that went back", heard.went_back(members), 0),
        Target("transactions nobody told of", heard.unheard_rows(members), 0),
        Target("slowest word of a trade", slowest_s, limit_s, " s", is_soft=True),
    ]


# --- L3 and L6: many, for long ------------------------------------------------------------------------------------


def steady(run: Run) -> Figures:
    """L3: ticks and user events to many sockets; each once, in order, and soon."""
    size, web = run.size, run.world.web
    with run.crowd(size.sockets) as crowd:
        before, _ = web.measure()
        run.load("L3", per_second=size.user_events_per_second / 2, seconds=size.steady_s).finish()
        targets = heard_all(run, crowd, "L3")
        grown = web.measure()[0] - before
        members = crowd.members
    lags = [lag for member in members for lag in member.lags_ms]
    facts: dict[str, object] = {
        "sockets": len(members),
        "ticks": max(len(member.ticks) for member in members),
        "deliveries": len(lags) + sum(len(member.balance_seqs) + len(member.rows) for member in members),
        "tick p50 ms": round(percentile(lags, 0.5), 1),
        "tick p99 ms": round(percentile(lags, 0.99), 1),
    }
    targets += [
        Target("lost ticks", heard.unheard_ticks(members), 0),
        Target("doubled ticks", heard.doubled_ticks(members), 0),
        Target("cut sockets", sum(len(member.closed_at) for member in members), 0),
        Target("tick p99", percentile(lags, 0.99), 300, " ms", is_soft=True),
        Target("growth", grown, 5, " MB", is_soft=True),
    ]
    return Figures("L3", facts, targets)


def churn(run: Run) -> Figures:
    """L6: trades and sockets, one of a hundred of which leave each second and come back; nothing may grow."""
    size, web, rng = run.size, run.world.web, run.rng("L6 churn")
    samples: list[tuple[float, float, int]] = []

    def sample(is_over: threading.Event) -> None:
        while not is_over.wait(SAMPLE_EACH_S):
            samples.append((time.monotonic(), *web.measure()))

    with run.crowd(size.churn_sockets) as crowd:

        def come_and_go(is_over: threading.Event) -> None:
            while not is_over.wait(1):
                crowd.send_away(max(1, size.churn_sockets // 100), rng)

        with beside([sample, come_and_go]):
            run.load("L6", per_second=size.fault_per_second, seconds=size.churn_s).finish()
        targets = heard_all(run, crowd, "L6", limit_s=BACK_S)
        back = heard.ways_back_s(crowd.members)
        connections = run.world.server.count_connections()
    later = samples[len(samples) // 2 :]  # the first half fills pools and caches
    slope = statistics.linear_regression([at for at, _, _ in later], [mb for _, mb, _ in later]).slope
    first, last = (statistics.median(fds for _, _, fds in part) for part in (later[:5], later[-5:]))
    facts = {
        **figures.summarize(run.history.of("L6")),
        "sockets": size.churn_sockets,
        "left and came back": len(back),
        "memory MB": f"{later[0][1]:.0f} to {later[-1][1]:.0f}",
        "descriptors": f"{first:.0f} to {last:.0f}",
    }
    targets += [
        Target("growth a minute", slope * 60, 1, " MB", is_soft=True),
        Target("more descriptors", last - first, 20, is_soft=True),
        Target("database connections", connections, 2 * (WORKERS * 16 + 4)),
        Target("longest way back", max(back, default=0), BACK_S, " s", is_soft=True),
    ]
    return Figures("L6", facts, targets)


# --- F1 and F2: processes end ---------------------------------------------------------------------------------------


def kill_workers(run: Run) -> Figures:
    """F1: kill -9 of a random web worker every 2 s under load, with sockets."""
    rng, size, web = run.rng("F1 kills"), run.size, run.world.web
    with run.crowd() as crowd:
        load = run.load("F1", per_second=size.fault_per_second, seconds=size.worker_kill_s + 2)
        since_s, kills = run.history.now(), 0
        while run.history.now() - since_s < size.worker_kill_s:
            time.sleep(size.worker_kill_every_s / 2)
            if workers := web.list_workers():
                web.kill(rng.choice(workers))
                kills += 1
            time.sleep(size.worker_kill_every_s / 2)
        until_s = run.history.now()
        load.finish()
        web.wait_until_ready()
        targets = heard_all(run, crowd, "F1", limit_s=BACK_S)
        back = heard.ways_back_s(crowd.members)
    lines = run.history.of("F1")
    silence_s = figures.longest_silence_s(lines, since_s=since_s, until_s=until_s)
    facts = {
        "kills": kills,
        **figures.summarize(lines),
        "slowest order s": round(figures.slowest_order_s(lines), 2),
        **_ways_back(back),
    }
    targets += [
        Target("longest time without an answer", silence_s, 2, " s", is_soft=True),
        Target("longest request", figures.longest_request_s(lines), ANSWER_LIMIT_S, " s", is_soft=True),
        Target("longest way back", max(back, default=0), BACK_S, " s", is_soft=True),
    ]
    return Figures("F1", facts, targets, kills)


def restart(run: Run) -> Figures:
    """F2: HUP replaces both web processes under load; every socket gets a close frame and is in step again."""
    web = run.world.web
    old = [psutil.Process(pid) for pid in web.list_workers()]
    with run.crowd() as crowd:
        load = run.load("F2", per_second=run.size.restart_per_second, seconds=12)
        time.sleep(2)
        began_s = run.history.now()
        web.reload()
        _, left = psutil.wait_procs(old, timeout=GONE_S + 5)
        ended_s = run.history.now() - began_s
        load.finish()
        targets = heard_all(run, crowd, "F2", limit_s=BACK_S)
        closed = [member.closed_at[0] - began_s for member in crowd.members if member.closed_at]
        codes = [member.close_codes[0] for member in crowd.members if member.close_codes]
        back = heard.ways_back_s(crowd.members)
    attempts = [line.attempt for line in run.history.of("F2")]
    spread_s = max(closed) - min(closed) if closed else float("inf")
    facts = {
        "sockets": OUR_SOCKETS,
        "tries after the first": sum(attempt > 1 for attempt in attempts),
        "closed after s": f"{min(closed, default=0):.1f} to {max(closed, default=0):.1f}",
        **_ways_back(back),
    }
    targets += [
        Target("sockets without a close frame", sum(code != GOING_AWAY for code in codes), 0),
        Target("sockets that were never closed", OUR_SOCKETS - len(closed), 0),
        # A worker is asked to go when its successor has been started, which takes seconds here.
        Target("first to last close frame", spread_s, CLOSED_WITHIN_S, " s"),
        Target("end of the old processes", ended_s, GONE_S, " s", is_soft=True),
        Target("old processes left", len(left), 0),
        Target(
            "trades that needed more than one retry",
            sum(attempt > 2 for attempt in attempts),
            0,
            is_soft=True,
        ),
        Target("longest way back", max(back, default=0), BACK_S, " s", is_soft=True),
    ]
    return Figures("F2", facts, targets)


def _ways_back(back: list[float]) -> dict[str, object]:
    return {"sockets cut": len(back), "way back p50 s": round(percentile(back, 0.5), 2)}


# --- F4: Redis goes -------------------------------------------------------------------------------------------------


def lose_redis(run: Run) -> Figures:
    """F4: kill -9 of Redis, for 2, 30 and 120 s; a hang; FLUSHALL. Trades go on, limits hold, nobody is out of step."""
    size, redis = run.size, run.world.redis
    seconds = sum(size.redis_away_s) + size.redis_hang_s + (len(size.redis_away_s) + 2) * (size.settle_s + 2)
    back_at: list[float] = []
    with run.crowd() as crowd:
        load = run.load("F4", per_second=size.fault_per_second, seconds=seconds)
        for number, away_s in enumerate(size.redis_away_s):
            redis.kill()
            began = time.monotonic()
            if number == 0:
                passed, tried = _write_beyond_the_limit(run)
            time.sleep(max(0.0, away_s - (time.monotonic() - began)))
            redis.start()
            back_at.append(run.history.now())
            time.sleep(size.settle_s)
        redis.hang()
        time.sleep(size.redis_hang_s)
        redis.resume()
        back_at.append(run.history.now())
        time.sleep(size.settle_s)
        with redis.client() as client:
            client.flushall()
        back_at.append(run.history.now())
        load.finish()
        targets = heard_all(run, crowd, "F4", limit_s=2 * IN_STEP_S)
        resumed = [_slowest_after(crowd, run.history.of("F4"), since_s, size.settle_s) for since_s in back_at]
        silence_s = heard.longest_without_tick_s(crowd.members)
        cut = sum(len(member.closed_at) for member in crowd.members)
    lines = run.history.of("F4")
    facts = figures.summarize(lines)
    refused = sum(line.status is None or line.status in (429, 503) for line in lines)
    facts |= {
        "slowest word after each return s": [round(value, 2) for value in resumed],
        "writes while it was away": f"{passed} of {tried} got through",
    }
    targets += [
        figures.latency_target(facts, "p99", 1000),
        Target("trades refused or cut", refused, 0, is_soft=True),
        Target("slowest word after its return", max(resumed), IN_STEP_S, " s", is_soft=True),
        # Each process counts for itself then, in windows of a minute, two of which may have been touched.
        Target("writes beyond the limit", max(0, passed - 2 * WORKERS * WRITES_A_MINUTE), 0),
        # What records the prices waits for a Redis that hangs, too.
        Target("longest time without a price", silence_s, BACK_S, " s", is_soft=True),
        Target("cut sockets", cut, 0),
    ]
    return Figures("F4", facts, targets, len(size.redis_away_s))


def _slowest_after(crowd: Crowd, lines: list[Line], since_s: float, for_s: float) -> float:
    """Of the trades in a while after Redis' return: how late the last of their sockets knew."""
    return heard.slowest_word_s(
        crowd.members, [line for line in lines if since_s <= line.ended_s < since_s + for_s]
    )


def _write_beyond_the_limit(run: Run) -> tuple[int, int]:
    """Cheap writes of one account, far more than it may: how many were let through, and how many were tried."""
    person, port = run.world.people["racer"][1], run.world.web.port

    def write(_number: int) -> int:
        return ask(port, "DELETE", "/api/keys/1", token=person.token)[0]

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(write, range(WRITES)))
    return sum(status not in (0, 429) for status in statuses), WRITES


# --- F9: hostile sockets ----------------------------------------------------------------------------------------------


def hostile(run: Run) -> Figures:
    """F9: slow readers, floods, bombs, nonsense, and idle transports beyond the caps, while others trade and read."""
    web, person = run.world.web, run.world.people["racer"][0]
    before, _ = web.measure()
    latencies: list[float] = []
    with run.crowd() as crowd:
        with beside([lambda is_over: _read(web.port, person, latencies, is_over)]):
            counts = _attack(run, person)
        # The idle ones are closed within 5 s, and what they took is free.
        left = crowd.wait_until(lambda: web.count_connections() <= OUR_SOCKETS, 10)
        cut = sum(len(member.closed_at) for member in crowd.members)
        grown = web.measure()[0] - before
        remaining = 0 if left else web.count_connections() - OUR_SOCKETS
    kinds = ("floods", "huge frames", "endless messages")
    return Figures(
        "F9",
        {**counts, "HTTP requests": len(latencies), "HTTP p50 ms": round(percentile(latencies, 0.5), 1)},
        [
            Target("HTTP p99", percentile(latencies, 0.99), 200, " ms", is_soft=True),
            Target("HTTP longest", max(latencies), 3000, " ms"),
            Target("hostile sockets left", remaining, 0),
            Target("honest sockets cut", cut, 0),
            *(Target(f"{kind} that went on", 0 if counts.get(f"{kind} cut") else 1, 0) for kind in kinds),
            Target("slow readers that were not cut", counts["slow readers"] - counts["slow cut"], 0),
            Target("dawdlers' broken frames", counts["dawdlers' broken frames"], 0),
            Target("growth", grown, 60, " MB", is_soft=True),
        ],
    )


def _attack(run: Run, person: Person) -> dict[str, int]:
    command = [sys.executable, "-m", "drills.hostile", str(run.world.web.port), person.token]
    command += [str(run.size.hostile_s), str(run.size.idle)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=run.size.hostile_s + 120
    )
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


def _read(port: int, person: Person, latencies: list[float], is_over: threading.Event) -> None:
    client = Client(port)
    while not is_over.wait(0.01):
        began = time.monotonic()
        is_good = client.read(person, "balance").status == 200
        latencies.append((time.monotonic() - began) * 1000 if is_good else 10_000)
    client.close()


DRILLS = {
    "L3": (steady,),
    "L6": (churn,),
    "F1": (kill_workers,),
    "F2": (restart,),
    "F4": (lose_redis,),
    "F9": (hostile,),
}
