"""The drills themselves: each sends its load, breaks what it says, and returns its figures."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from drills import figures
from drills.client import Client, Outcome, send_and_vanish
from drills.crowd import Crowd, crowd
from drills.figures import Figures, Target
from drills.history import BALANCE, PAGE, TRADE, History, Line
from drills.load import Load, beside, trade_line
from drills.plan import Order, buy_for, good_order, make_plan, new_key
from drills.surroundings import SOCKETS_PER_PROCESS, WORKERS, Money, Person, World

LOAD_USERS, RACERS, READERS_EACH = 50, 10, 5
OUR_SOCKETS = 50  # beside the faults
AMPLE = Money(inr=50_000_000, satoshis=50_00000000)
ORDER_INR, AFFORDABLE = 1_000, 20
TRADE_EVERY_S, READ_EVERY_S = 0.15, 0.2
WARM_UP_CLIENTS, WARM_UP_ROUNDS = 16, 4
ANSWER_LIMIT_S, HEALTHY_LIMIT_S = 12.0, 5.0

# Whom the drills need, and with how much money.
GROUPS = {
    "load": [AMPLE] * LOAD_USERS,
    "racer": [AMPLE] * RACERS,
    "cut": [AMPLE],
    "spender": [Money(inr=ORDER_INR * AFFORDABLE)],
    "one-key": [AMPLE],
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much and how long; two of them, `LONG` and `SHORT`."""

    load_per_second: float
    load_s: float
    race_s: float
    login_s: float
    fault_per_second: float
    worker_kill_s: float  # how long workers are killed
    worker_kill_every_s: float
    database_kills: int
    database_away_s: float
    database_stop_s: float
    settle_s: float  # from the database's return to its next fault
    cuts: int
    spenders: int
    same_key: int
    sockets: int  # L3's
    steady_s: float
    user_events_per_second: float
    churn_sockets: int  # L6's
    churn_s: float
    restart_per_second: float
    redis_away_s: tuple[float, ...]
    redis_hang_s: float
    hostile_s: float
    idle: int
    full_s: float  # F8's disk
    read_only_s: float  # F13, before the name moves


LONG = Size(
    load_per_second=100,
    load_s=600,
    race_s=60,
    login_s=300,
    fault_per_second=50,
    worker_kill_s=60,
    worker_kill_every_s=2,
    database_kills=5,
    database_away_s=2,
    database_stop_s=15,
    settle_s=HEALTHY_LIMIT_S + 1,
    cuts=200,
    spenders=50,
    same_key=500,
    sockets=1000,
    steady_s=600,
    user_events_per_second=20,
    churn_sockets=500,
    churn_s=600,
    restart_per_second=50,
    redis_away_s=(2, 30, 120),
    redis_hang_s=30,
    hostile_s=60,
    idle=2 * WORKERS * SOCKETS_PER_PROCESS,
    full_s=15,
    read_only_s=5,
)
SHORT = replace(
    LONG,
    load_per_second=40,
    load_s=6,
    race_s=3,
    login_s=3,
    fault_per_second=25,
    worker_kill_s=4,
    database_kills=1,
    database_away_s=0.5,
    database_stop_s=2,
    settle_s=2,
    cuts=20,
    sockets=150,
    steady_s=8,
    churn_sockets=100,
    churn_s=8,
    restart_per_second=20,
    redis_away_s=(2,),
    redis_hang_s=3,
    hostile_s=10,
    full_s=5,
    read_only_s=2,
)


@dataclass(frozen=True, slots=True)
class Run:
    """What every drill gets."""

    world: World
    history: History
    size: Size
    seed: int

    def rng(self, drill: str) -> random.Random:
        """A drill's own numbers, so that leaving one drill out changes nothing in the others."""
        return random.Random(f"{self.seed} {drill}")  # noqa: S311 - replayable, no secret

    def load(self, drill: str, *, per_second: float, seconds: float) -> Load:
        rng = self.rng(drill)
        plan = make_plan(rng, users=LOAD_USERS, trades_per_second=per_second, seconds=seconds)
        people, ports = self.world.people["load"], [self.world.web.port]
        return Load(plan, drill=drill, ports=ports, people=people, history=self.history, rng=rng).start()

    @contextmanager
    def crowd(self, sockets: int = OUR_SOCKETS) -> Iterator[Crowd]:
        """While in here, so many sockets are open: a third of them are somebody's, and the load's users share those."""
        people = self.world.people["load"]
        whose = [people[number // 3 % len(people)] if number % 3 == 0 else None for number in range(sockets)]
        with crowd(self.world.web.port, whose, self.history.now) as held:
            yield held

    def trade(self, client: Client, person: Person, order: Order, drill: str, attempt: int = 1) -> Line:
        """Send one order once, outside the schedule."""
        started_s = self.history.now()
        outcome = client.trade(person, order.body, order.key)
        line = trade_line(drill, person, order, outcome, started_s, self.history.now(), attempt)
        self.history.add(line)
        return line

    def insist(
        self, client: Client, person: Person, order: Order, drill: str, first_attempt: int = 1
    ) -> Line:
        """Send one order until its answer is definite; at most 60 times."""
        for attempt in range(first_attempt, first_attempt + 60):
            line = self.trade(client, person, order, drill, attempt)
            if line.is_definite or line.is_bug:
                break
            time.sleep(min(1.0, 0.05 * attempt))
        return line

    def read(self, client: Client, person: Person, drill: str, kind: str) -> None:
        started_s = self.history.now()
        outcome = client.read(person, kind)
        self.history.add(_read_line(drill, kind, person, outcome, started_s, self.history.now()))


def warm_up(run: Run) -> None:
    """The first requests of a worker load what it needs; that is not what the drills measure."""
    rng, people = run.rng("warm-up"), run.world.people["load"]
    with ThreadPoolExecutor(WARM_UP_CLIENTS) as pool:
        clients = [Client(run.world.web.port) for _ in range(WARM_UP_CLIENTS)]
        for _ in range(WARM_UP_ROUNDS):
            orders = [Order(0, 0, new_key(rng), good_order(rng), "executed") for _ in clients]
            list(pool.map(partial(run.insist, drill="warm-up"), clients, people, orders))
            list(pool.map(partial(run.read, drill="warm-up", kind=PAGE), clients, people))
    for client in clients:
        client.close()


# --- L1 and R1: load, and readers racing traders --------------------------------------------------------------------


def load(run: Run) -> Figures:
    """L1: an open loop of trades; no 5xx, and quick. A machine that is busy with something else sheds with 503."""
    run.load("L1", per_second=run.size.load_per_second, seconds=run.size.load_s).finish()
    lines = run.history.of("L1")
    facts = figures.summarize(lines)
    bad = sum(line.status is None or line.status >= 500 for line in lines)
    targets = [
        Target("5xx and missing answers", bad, 0, is_soft=True),
        figures.latency_target(facts, "p50", 30),
        figures.latency_target(facts, "p99", 150),
    ]
    return Figures("L1", facts, targets)


def race(run: Run) -> Figures:
    """R1: 50 readers race 10 traders. Whether a read ever shows less than was acknowledged is I9's to say."""
    work: list[Callable[[threading.Event], None]] = []
    for number, person in enumerate(run.world.people["racer"]):
        rng = run.rng(f"R1 {number}")
        work.append(_trader(run, person, rng))
        work += [
            reader(run, person, kind, rng.uniform(0, READ_EVERY_S))
            for kind in (BALANCE, PAGE, BALANCE, PAGE, BALANCE)[:READERS_EACH]
        ]
    with beside(work):
        time.sleep(run.size.race_s)
    lines = run.history.of("R1")
    facts: dict[str, object] = {"trades": figures.count_trades(lines)}
    for kind in (TRADE, BALANCE, PAGE):
        counts = figures.summarize(lines, kind)
        facts |= {f"{kind} {name}": counts[name] for name in ("requests", "p50 ms", "p99 ms")}
    return Figures("R1", facts)


def _trader(run: Run, person: Person, rng: random.Random) -> Callable[[threading.Event], None]:
    def work(is_over: threading.Event) -> None:
        client = Client(run.world.web.port)
        while not is_over.wait(TRADE_EVERY_S):
            run.insist(client, person, Order(0, 0, new_key(rng), good_order(rng), "executed"), "R1")
        client.close()

    return work


def reader(
    run: Run, person: Person, kind: str, delay_s: float, drill: str = "R1"
) -> Callable[[threading.Event], None]:
    """Return work that reads one person's balance or page again and again."""

    def work(is_over: threading.Event) -> None:
        client = Client(run.world.web.port)
        time.sleep(delay_s)  # fifty at one moment, again and again, would be another drill
        while not is_over.wait(READ_EVERY_S):
            run.read(client, person, drill, kind)
        client.close()

    return work


def _read_line(
    drill: str, kind: str, person: Person, outcome: Outcome, started_s: float, ended_s: float
) -> Line:
    return Line(
        drill=drill,
        kind=kind,
        user_id=person.id,
        started_s=started_s,
        ended_s=ended_s,
        status=outcome.status,
        body=outcome.body,
        error=outcome.error,
        retry_after=outcome.retry_after,
    )


# --- F3: what is killed comes back ------------------------------------------------------------------------------


def kill_database(run: Run) -> Figures:
    """F3: kill -9 of MariaDB again and again, and one long SIGSTOP, under load."""
    size, database = run.size, run.world.server
    pause_s = size.settle_s
    seconds = size.database_kills * (size.database_away_s + pause_s + 1) + size.database_stop_s + pause_s + 1
    sent = run.load("F3", per_second=size.fault_per_second, seconds=seconds)
    faults: list[tuple[float, float]] = []  # from when, until when
    for _ in range(size.database_kills):
        time.sleep(1)
        began_s = run.history.now()
        database.kill()
        time.sleep(size.database_away_s)
        database.start()
        faults.append((began_s, run.history.now()))
        time.sleep(pause_s)
    began_s = run.history.now()
    database.stop()
    time.sleep(size.database_stop_s)
    database.resume()
    faults.append((began_s, run.history.now()))
    sent.finish()
    run.world.web.wait_until_ready()
    return _figures_of_outages(run.history.of("F3"), faults, size)


def _figures_of_outages(lines: list[Line], faults: list[tuple[float, float]], size: Size) -> Figures:
    nexts = [began_s for began_s, _ in faults[1:]] + [float("inf")]
    healthy = [
        figures.healthy_after_s(lines, back_s=back_s, next_fault_s=next_s)
        for (_, back_s), next_s in zip(faults, nexts, strict=True)
    ]
    facts = {
        "kills": size.database_kills,
        "stopped s": size.database_stop_s,
        **figures.summarize(lines),
        "healthy after s": [round(value, 2) for value in healthy],
        "slowest order s": round(figures.slowest_order_s(lines), 2),
    }
    targets = [
        Target("longest request", figures.longest_request_s(lines), ANSWER_LIMIT_S, " s"),
        Target("healthy after the database's return", max(healthy), HEALTHY_LIMIT_S, " s"),
    ]
    return Figures("F3", facts, targets, size.database_kills)


# --- F10 and F11: the awkward client -------------------------------------------------------------------------------


def cut_clients(run: Run) -> Figures:
    """F10: a client is cut right after sending; its retry, and one more, get the one trade."""
    rng, person = run.rng("F10"), run.world.people["cut"][0]
    client, answers = Client(run.world.web.port), []
    for number in range(run.size.cuts):
        order = Order(0, 0, new_key(rng), good_order(rng), "executed")
        started_s = run.history.now()
        send_and_vanish(run.world.web.port, person, order.body, order.key, with_reset=number % 2 == 0)
        vanished = Outcome(error="the client was cut after sending")
        run.history.add(trade_line("F10", person, order, vanished, started_s, run.history.now()))
        time.sleep(rng.choice([0, 0.005, 0.02, 0.05]))
        answers += [run.insist(client, person, order, "F10", attempt) for attempt in (2, 70)]
    client.close()
    unlike = sum(first.body != again.body for first, again in zip(answers[::2], answers[1::2], strict=True))
    executed_alone = sum(line.is_replay for line in answers[::2])
    facts: dict[str, object] = {"cut": run.size.cuts, "executed before the retry came": executed_alone}
    return Figures("F10", facts, [Target("retries that got another answer", unlike, 0)])


def collide(run: Run) -> Figures:
    """F11: 50 trades at once with money for 20; 500 requests with one key; that key with another order."""
    rng, size = run.rng("F11"), run.size
    spender, person = run.world.people["spender"][0], run.world.people["one-key"][0]
    orders = [Order(0, 0, new_key(rng), buy_for(ORDER_INR), None) for _ in range(size.spenders)]
    spent = _all_at_once(run, spender, orders, threads=size.spenders)
    executed = sum(line.is_acknowledged for line in spent)
    short = sum((line.body or {}).get("code") == "insufficient_funds" for line in spent)

    order = Order(0, 0, new_key(rng), buy_for(ORDER_INR), "executed")
    same = _all_at_once(run, person, [order] * size.same_key, threads=50)
    trades, firsts = (
        figures.count_trades(same),
        sum(line.is_acknowledged and not line.is_replay for line in same),
    )

    # Not in the history: its key belongs to another order.
    client = Client(run.world.web.port)
    status = client.trade(person, buy_for(ORDER_INR + 1), order.key).status
    client.close()
    facts: dict[str, object] = {
        "at once": size.spenders,
        "executed": executed,
        "insufficient": short,
        "with one key": size.same_key,
        "trades of it": trades,
        "answers that were first": firsts,
        "with another body": status,
    }
    targets = [
        Target(f"executed, other than {AFFORDABLE}", abs(executed - AFFORDABLE), 0),
        Target("neither executed nor refused", size.spenders - executed - short, 0),
        Target("trades of one key, other than 1", abs(trades - 1), 0),
        Target("one key with another body, other than 409", abs((status or 0) - 409), 0),
    ]
    return Figures("F11", facts, targets)


def _all_at_once(run: Run, person: Person, orders: list[Order], *, threads: int) -> list[Line]:
    barrier = threading.Barrier(threads)
    shares = [orders[number::threads] for number in range(threads)]

    def send(share: list[Order]) -> list[Line]:
        client = Client(run.world.web.port)
        barrier.wait(timeout=20)
        lines = [run.insist(client, person, order, "F11") for order in share]
        client.close()
        return lines

    with ThreadPoolExecutor(threads) as pool:
        return [line for lines in pool.map(send, shares, timeout=120) for line in lines]


# In the order in which they are run. R1 belongs to L1.
DRILLS: dict[str, tuple[Callable[[Run], Figures], ...]] = {
    "L1": (load, race),
    "F3": (kill_database,),
    "F10": (cut_clients,),
    "F11": (collide,),
}
