"""`python -m drills.orders`: drill O1, thousands of open orders under a walking price while everything is killed.

    python -m drills.orders --short          600 orders, one to two minutes
    python -m drills.orders                  5,000 orders, 50 trades a second for three minutes
    python -m drills.orders --seed 7

200 users place orders and trade, clients cancel, the price walks through the limits; web workers, the job worker and
its work-horses, the scheduler and MariaDB are killed. Then the checker judges the books, and rules of its own each order.
Exits 0 when every rule holds, 1 when not, 2 when it could not run.
"""

import argparse
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from drills import checker, figures
from drills.checker import Result
from drills.client import Client, Outcome
from drills.history import History
from drills.load import Load, beside
from drills.mariadb import ServiceFailed
from drills.market_world import KeptAlive
from drills.order_checks import OrderBooks, Placed, Told, check_orders, read_orders
from drills.plan import make_plan, new_key
from drills.program import run_drill
from drills.surroundings import Money, Person, World, wait_for, world

USERS, PLACERS, CANCELLERS = 200, 12, 2
MONEY = Money(inr=50_000_000, satoshis=50_00000000)
PRICE_STEP_CENTS = 150_00  # at $95,000: a third of the orders are within reach of a minute's walk
FIRST_BUY, FIRST_SELL = 8_645_000, 8_360_000  # rupees for a bitcoin, at the first price
WITHIN = 0.008  # how far from these the limits are
EXPIRING = 0.1  # of the orders, within EXPIRE_S
EXPIRE_S = (5, 40)
INSIST_S = 90.0
DATABASE_AWAY_S = 0.5
REST_S = 60.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much and how long."""

    orders: int
    seconds: float
    trades_per_second: float
    kill_every_s: float


LONG = Size(5_000, 180, 50, 4)
SHORT = Size(600, 25, 20, 2)


class Clients:
    """The users' clients: they insist on an answer under one key, and remember what they were told."""

    def __init__(self, place: World, rng: random.Random, people: list[Person]) -> None:
        self._port, self._rng, self._people = place.web.port, rng, people
        self._lock = threading.Lock()
        self._open: list[tuple[Person, int]] = []
        self.told = Told()

    def place(self, count: int) -> None:
        """Place so many orders, users in turns."""
        turns = [(self._people[number % USERS], self._body(), new_key(self._rng)) for number in range(count)]
        with ThreadPoolExecutor(PLACERS) as pool:
            list(pool.map(self._place, turns))

    def _place(self, turn: tuple[Person, dict[str, Any], str]) -> None:
        person, body, key = turn
        if (after_s := body.pop("expires_after_s", None)) is not None:
            body["expires_at"] = (datetime.now(UTC) + timedelta(seconds=after_s)).isoformat()
        outcome = self._insist(person, "POST", "/api/orders", body, key)
        number = (outcome.body or {}).get("id") if outcome.status == 201 else None
        placed = Placed(person.id, key, body, number, is_refused=400 <= (outcome.status or 0) < 500)
        with self._lock:
            self.told.placed.append(placed)
            if number is not None:
                self._open.append((person, number))

    def cancel_some(self, is_over: threading.Event) -> None:
        """Cancel an order now and then."""
        rng = random.Random(self._rng.random())  # noqa: S311 - replayable, no secret
        while not is_over.wait(0.3):
            with self._lock:
                if not self._open:
                    continue
                person, number = self._open.pop(rng.randrange(len(self._open)))
            self._cancel(person, number)

    def _cancel(self, person: Person, number: int) -> None:
        """A cancel whose answer was lost is refused when it is sent again: then the order itself says what became of it."""
        client, path = Client(self._port), f"/api/orders/{number}"
        outcome = client.send(person, "DELETE", path)
        client.close()
        if outcome.status in (200, 409):
            with self._lock:
                self.told.cancels[number] = outcome.status or 0

    def cancel_all(self) -> None:
        """End what is still open, of everybody."""
        for person in self._people:
            self._insist(person, "DELETE", "/api/orders")

    def _insist(
        self, person: Person, method: str, path: str, body: object = None, key: str | None = None
    ) -> Outcome:
        """Send it until the answer is definite."""
        client, began, pause_s = Client(self._port), time.monotonic(), 0.05
        while True:
            outcome = client.send(person, method, path, body, key)
            is_definite = outcome.status is not None and outcome.status < 500 and outcome.status != 429
            if is_definite or time.monotonic() - began > INSIST_S:
                client.close()
                return outcome
            time.sleep(pause_s)
            pause_s = min(1.0, 2 * pause_s)

    def _body(self) -> dict[str, Any]:
        side, currency = self._rng.choice(["buy", "sell"]), self._rng.choice(["inr", "btc"])
        away = self._rng.uniform(0.0005, WITHIN)
        limit = FIRST_BUY * (1 - away) if side == "buy" else FIRST_SELL * (1 + away)
        rupees, satoshis = self._rng.randint(500, 5_000), self._rng.randint(5_000, 50_000)
        body: dict[str, Any] = {
            "side": side,
            "type": "limit",
            "limit_price": int(limit),
            "currency": currency,
            "amount": str(rupees) if currency == "inr" else f"0.{satoshis:08d}",
        }
        if self._rng.random() < EXPIRING:
            body |= {"time_in_force": "gtd", "expires_after_s": self._rng.uniform(*EXPIRE_S)}
        return body


class Killer:
    """Kills one thing after the other, again and again; what runs is started again by who keeps it."""

    def __init__(self, place: World, programs: dict[str, KeptAlive], every_s: float) -> None:
        self._place, self._programs, self._every_s = place, programs, every_s
        self.kills: Counter[str] = Counter()
        self.failure: Exception | None = None

    def kill_on(self, is_over: threading.Event) -> None:
        """Kill until it is over; MariaDB is back when this ends."""
        targets = ("scheduler", "web", "worker", "database", "scheduler", "web", "work-horse")
        number = 0
        while not is_over.wait(self._every_s):
            try:
                self._kill(targets[number % len(targets)])
            except ServiceFailed as failure:
                self.failure = failure
                return
            number += 1

    def _kill(self, what: str) -> None:
        if what == "database":
            self._place.server.kill()
            time.sleep(DATABASE_AWAY_S)
            self._place.server.start()
        elif what == "web":
            for pid in self._place.web.list_workers()[:1]:
                self._place.web.kill(pid)
        elif what == "work-horse":
            if not self._programs["worker"].kill_child():
                return
        else:
            with suppress(psutil.Error):
                self._programs[what].kill()
        self.kills[what] += 1


def drill(place: World, history: History, size: Size, seed: int) -> tuple[Clients, Killer]:
    """Place, let the price walk under load and kills, end what is left."""
    rng, people = random.Random(f"{seed} O1"), place.people["load"]  # noqa: S311 - replayable, no secret
    clients = Clients(place, rng, people)
    with programs(place) as running:
        began = time.monotonic()
        clients.place(size.orders)
        print(f"{size.orders} orders placed in {time.monotonic() - began:.1f} s", flush=True)
        killer = Killer(place, running, size.kill_every_s)
        plan = make_plan(rng, users=USERS, trades_per_second=size.trades_per_second, seconds=size.seconds)
        load = Load(plan, drill="O1", ports=[place.web.port], people=people, history=history, rng=rng)
        with beside([killer.kill_on, *[clients.cancel_some] * CANCELLERS]):
            load.start()
            time.sleep(size.seconds)
        if killer.failure is not None:
            raise killer.failure
        load.finish()
        place.web.wait_until_ready()
        wait_for(lambda: not count(place, _OVERDUE), timeout_s=REST_S, what="the end of expired orders")
    still_open = count(place, "status = 'OPEN'")
    print(f"{still_open} are still open; they are cancelled now", flush=True)
    clients.cancel_all()
    return clients, killer


_OVERDUE = "status = 'OPEN' AND expires_at <= UTC_TIMESTAMP(6) - INTERVAL 2 SECOND"


@contextmanager
def programs(place: World) -> Iterator[dict[str, KeptAlive]]:
    """The job worker and the scheduler, kept alive as a service manager does."""
    worker, folder = str(place.code / "worker.py"), place.code.parent
    with ExitStack() as stack:
        kept = {}
        for name, words in (("worker", [worker]), ("scheduler", [worker, "scheduler"])):
            kept[name] = KeptAlive(name, [sys.executable, *words], place.environment, folder)
            stack.callback(kept[name].close)
        yield kept


def count(place: World, condition: str) -> int:
    """How many orders are so."""
    with engine(place).connect() as connection:
        return int(connection.scalar(sa.text(f"SELECT COUNT(*) FROM orders WHERE {condition}")) or 0)  # noqa: S608


def engine(place: World) -> sa.Engine:
    return sa.create_engine(place.database.url, isolation_level="REPEATABLE READ", poolclass=sa.NullPool)


def judge(place: World, history: History, told: Told) -> tuple[OrderBooks, list[Result]]:
    """The checker's verdict on the books, and on each order."""
    with engine(place).connect() as connection:
        found = read_orders(connection)
    return found, [*checker.check_books(found.books, list(history.lines)), *check_orders(found, told)]


def waits_for_fill(found: OrderBooks) -> list[float]:
    """For each order that waited: seconds from the first recorded price that reached it to its fill."""
    prices = sorted(found.books.prices.values(), key=lambda price: price.created_at)
    waits = []
    for row in found.rows.values():
        if row.status != "FILLED" or row.closed_at is None:
            continue
        for price in prices:
            if price.created_at > row.created_at and _is_reached(found, row.action, row.limit_price, price):
                waits.append((row.closed_at - price.created_at).total_seconds())
                break
    return sorted(max(0.0, wait) for wait in waits)


def _is_reached(found: OrderBooks, action: str, limit_price: int, price: Any) -> bool:
    rate = price.btc_usd_cents * found.books.multipliers[action] / (100 * checker.MULTIPLIER_SCALE)
    return rate <= limit_price if action == "buy" else rate >= limit_price


def run(folder: Path, size: Size, seed: int) -> bool:
    """Everything; whether it passed."""
    began = time.monotonic()
    history = History(folder / "history.jsonl")
    people = {"load": [MONEY] * USERS}
    with world(folder, seed=seed, groups=people, price_step_cents=PRICE_STEP_CENTS) as place:
        print(f"ready after {time.monotonic() - began:.1f} s; seed {seed}", flush=True)
        clients, killer = drill(place, history, size, seed)
        found, results = judge(place, history, clients.told)
    history.close()
    states = Counter(row.status for row in found.rows.values())
    waits = waits_for_fill(found)
    facts = {
        **{name.lower(): states[name] for name in ("FILLED", "CANCELLED", "EXPIRED", "OPEN")},
        "trades": figures.count_trades(history.lines),
        "refused cancels": list(clients.told.cancels.values()).count(409),
        "kills": dict(killer.kills),
        "fill after a price s, median and longest": tuple(
            round(wait, 1) for wait in (figures.percentile(waits, 0.5), waits[-1])
        )
        if waits
        else None,
        "seconds": round(time.monotonic() - began, 1),
    }
    print("O1      " + ", ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    for result in results:
        print(result, flush=True)
    lost = [placed for placed in clients.told.placed if placed.order_id is None and not placed.is_refused]
    is_passed = all(result.is_ok for result in results) and not lost and states["FILLED"] > 0
    print("passed" if is_passed else f"FAILED; {len(lost)} orders without an answer", flush=True)
    return is_passed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m drills.orders", description="Orders while all is killed."
    )
    parser.add_argument("--short", action="store_true", help="one to two minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--orders", type=int, help="so many, instead")
    parser.add_argument("--seconds", type=float, help="of trades and kills, instead")
    options = parser.parse_args(arguments)
    size = SHORT if options.short else LONG
    size = replace(size, orders=options.orders or size.orders, seconds=options.seconds or size.seconds)
    return run_drill("orders", lambda folder: run(folder, size, options.seed))


if __name__ == "__main__":
    sys.exit(main())
