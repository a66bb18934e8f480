"""`python -m bench.scaling`: what so many users need, worked out from what one of each thing costs.

    python -m bench.scaling                  the table
    python -m bench.scaling --simulate       how many messages a second one Redis carries to how many processes

The costs are what `make bench`, `bench/fanout.py`, `bench.ledger` and `make drill-cluster` printed on two cores; put your own machine's
figures here. The table in docs/scaling.md is this program's.
"""

import argparse
import math
import socket
import threading
import time
from dataclasses import dataclass

from dev.services import LOOPBACK, PrivateRedis, private_redis

DAY_S = 86_400
MESSAGE = b"x" * 600  # an event of a user's, with its balance
MESSAGE_FRAME = len(b"*3\r\n$7\r\nmessage\r\n$6\r\nevents\r\n$600\r\n\r\n") + len(MESSAGE)


@dataclass(frozen=True, slots=True)
class Costs:
    """What one of each costs, on one core of the machine that was measured."""

    trade_ms: float = 1.2  # of a web process' core; several commit together
    personal_read_ms: float = 0.8
    event_us: float = 13.0  # one event to one socket
    socket_kb: float = 44.0
    trade_kb: float = 1.5  # rows, legs, keys and indexes, for ever
    database_trades_per_s: float = 2000.0  # commits shared by sixteen, one writer with its log on an SSD
    redis_publish_us: float = 16.0  # these two: `--simulate`
    redis_delivery_us: float = 2.2  # to one process


@dataclass(frozen=True, slots=True)
class Habits:
    """What users do at the busiest hour, and over a day."""

    online_share: float = 0.05  # at the busiest hour, each with a socket
    trades_per_day: float = 0.5
    peak_factor: float = 6.0  # the busiest minute against the day's average
    reads_per_online_minute: float = 4.0
    price_every_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Need:
    """What an installation needs at its busiest minute."""

    users: int
    sockets: int
    trades_per_s: float
    web_cores: int
    socket_memory_gb: float
    database_share: float  # of one writer
    redis_share: float  # of one server that carries every event to every process
    growth_gb_a_year: float


def work_out(users: int, costs: Costs = Costs(), habits: Habits = Habits()) -> Need:
    """Return what so many users need."""
    sockets = users * habits.online_share
    trades = users * habits.trades_per_day / DAY_S * habits.peak_factor
    reads = sockets * habits.reads_per_online_minute / 60
    events = sockets / habits.price_every_s + 2 * trades
    busy = (trades * costs.trade_ms + reads * costs.personal_read_ms + events * costs.event_us / 1000) / 1000
    web_cores = max(2, math.ceil(busy / 0.6))  # at 60 % a core still answers quickly
    return Need(
        users=users,
        sockets=round(sockets),
        trades_per_s=trades,
        web_cores=web_cores,
        socket_memory_gb=sockets * costs.socket_kb / 1e6,
        database_share=trades / costs.database_trades_per_s,
        redis_share=2 * trades * (costs.redis_publish_us + web_cores * costs.redis_delivery_us) / 1e6,
        growth_gb_a_year=users * habits.trades_per_day * 365 * costs.trade_kb / 1e6,
    )


def table() -> str:
    """Return the table of docs/scaling.md."""
    lines = [
        "| users | sockets | trades/s | web cores | their sockets' memory | of one writer | of one Redis | growth a year |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for users in (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000):
        need = work_out(users)
        lines.append(
            f"| {users:,} | {need.sockets:,} | {need.trades_per_s:,.1f} | {need.web_cores:,} | {need.socket_memory_gb:,.1f} GB"
            f" | {need.database_share:.1%} | {need.redis_share:.1%} | {need.growth_gb_a_year:,.0f} GB |"
        )
    return "\n".join(lines)


def simulate(processes: int, messages: int = 20_000) -> float:
    """Return how many messages a second one Redis carries, each to every one of so many processes."""
    with private_redis() as server:
        listeners = [threading.Thread(target=_listen, args=(server, messages)) for _ in range(processes)]
        for listener in listeners:
            listener.start()
        with server.client() as client:
            while client.pubsub_numsub("events")[0][1] < processes:
                time.sleep(0.01)
            began = time.monotonic()
            for _ in range(messages // 100):
                pipeline = client.pipeline(transaction=False)
                for _ in range(100):
                    pipeline.publish("events", MESSAGE)
                pipeline.execute()
            for listener in listeners:
                listener.join()
            return processes * messages / (time.monotonic() - began)


def _listen(server: PrivateRedis, messages: int) -> None:
    """Read so many messages from a plain connection: what is measured is Redis, not a client's parser."""
    with socket.create_connection((LOOPBACK, int(server.url.rpartition(":")[2].partition("/")[0]))) as plain:
        plain.sendall(b"SUBSCRIBE events\r\n")
        left = messages * MESSAGE_FRAME
        plain.recv(1000)  # that it is subscribed
        while left > 0:
            left -= len(plain.recv(1 << 20))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description="What so many users need.")
    parser.add_argument("--simulate", action="store_true", help="measure one Redis instead")
    if not parser.parse_args().simulate:
        print(table())
        return
    for processes in (1, 4, 16):
        print(f"{processes} processes: {simulate(processes):,.0f} messages a second reach one")


if __name__ == "__main__":
    main()
