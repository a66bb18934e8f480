"""What matching costs: `python -m bench.orders` prints it for a hundred thousand open limit orders.

A price that fills none, and one that fills a thousand of as many users while another process trades, on a scratch database
of the server that `DB_*` or `TEST_DATABASE_URL` name (by default root without password on 127.0.0.1:3306), which is
dropped at the end. The orders are made by bulk SQL, without legs: matching reads none. MariaDB only: it has a table of numbers.
"""

import argparse
import cProfile
import multiprocessing
import pstats
import secrets
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection

import flask_migrate
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

import config
from bench.history import MIGRATIONS, scratch_database
from bench.ledger import BALANCES, PEOPLE
from bittrade import create_app, wire
from bittrade.domain.pricing import PriceQuote
from bittrade.extensions import db
from bittrade.models import LimitOrderRow
from bittrade.services import auth, funds, market, orders
from bittrade.services.funds import Funds
from bittrade.services.orders import matching

ORDERS, USERS, FILLS = 100_000, 2_000, 1_000
TRIES = 15
# At 91 and 88 rupees a dollar: 3,558,100 to buy and 3,440,800 to sell reach nothing; a bitcoin for 3,549,001 rupees reaches
# the FILLS best of 50,000 buys, whose limits go up to 3,550,000.
NONE_CENTS, SOME_CENTS, LOWEST_BUY, LOWEST_SELL = 3_910_000, 3_900_001, 3_500_000, 3_600_000
RESERVES = """INSERT INTO transactions (id, user_id, seq, type, status, is_pending, btc_amount, inr_amount, execution_price,
        created_at, executed_at)
    SELECT seq, (seq - 1) MOD {users} + 1, (seq - 1) DIV {users} + 1, 'ORDER_RESERVE', 'EXECUTED', 0,
        IF(seq <= {orders} DIV 2, 0, 10000), IF(seq <= {orders} DIV 2, 1000, 0), 1, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)
    FROM seq_1_to_{orders}"""
OPEN = """INSERT INTO orders (id, user_id, action, asset, amount, limit_price, reserved, status, created_at)
    SELECT seq, (seq - 1) MOD {users} + 1, IF(seq <= {orders} DIV 2, 'buy', 'sell'), IF(seq <= {orders} DIV 2, 'INR', 'BTC'),
        IF(seq <= {orders} DIV 2, 1000, 10000), IF(seq <= {orders} DIV 2, {buy} + 50000 - {orders} DIV 2, {sell}) + seq,
        IF(seq <= {orders} DIV 2, 1000, 10000), 'OPEN', UTC_TIMESTAMP(6) FROM seq_1_to_{orders}"""
HELD = """UPDATE balances SET seq = {orders} DIV {users}, available_inr = 100000, available_btc = 1000000,
    reserved_inr = 1000 * {orders} DIV {users}, reserved_btc = 10000 * {orders} DIV {users}"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--orders", type=int, default=ORDERS, help="default: %(default)s")
    parser.add_argument("--profile", action="store_true", help="say where the time of the fills went")
    wanted = parser.parse_args()
    with scratch_database() as url:
        app = create_app(config.load(BITTRADE_ENV="testing", DATABASE_URL=url))
        with app.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)
            fill(wanted.orders)
            app.testing = False  # answers are checked against their schemas only in tests
            fill_none(wanted.orders)
            fill_some(url, is_profiled=wanted.profile)
            db.engine.dispose()


def fill(count: int) -> None:
    """Make the people and their open orders."""
    figures = {"users": USERS, "orders": count, "buy": LOWEST_BUY, "sell": LOWEST_SELL}
    engine = sa.create_engine(db.engine.url, poolclass=NullPool)  # the application's would give up
    with engine.begin() as connection:
        for setting in ("unique_checks=0", "foreign_key_checks=0", "innodb_lock_wait_timeout=50"):
            connection.exec_driver_sql(f"SET SESSION {setting}")
        for statement in (PEOPLE, BALANCES, RESERVES, OPEN, HELD):
            connection.exec_driver_sql(statement.format(**figures))
        connection.exec_driver_sql("ANALYZE TABLE orders, users, balances, transactions").all()


def record(cents: int) -> datetime:
    """Record a price; when that was."""
    market.record_price(PriceQuote(btc_usd_cents=cents, as_of=wire.now(), source="bench"))
    return datetime.now(UTC)


def fill_none(count: int) -> None:
    """A price that reaches nothing."""
    record(NONE_CENTS)
    times = []
    for _ in range(TRIES + 1):
        began = time.perf_counter()
        if orders.match():
            raise SystemExit("a price that should fill none has filled something")
        times.append((time.perf_counter() - began) * 1000)
    print(
        f"{count:,} open orders, a price that fills none: median {statistics.median(times[1:]):.1f} ms",
        end="",
    )
    print(f", slowest {max(times[1:]):.1f} ms; limit 50 ms", flush=True)


def fill_some(url: str, *, is_profiled: bool) -> None:
    """A price that reaches a thousand orders of a thousand users, while somebody trades in another process."""
    with trading(url) as trades:
        recorded_at = record(SOME_CENTS)
        profile = cProfile.Profile()
        began = time.perf_counter()
        filled = profile.runcall(orders.match) if is_profiled else orders.match()
        whole_s = time.perf_counter() - began
    with db.engine.connect() as connection:
        closed = sa.select(LimitOrderRow.closed_at, LimitOrderRow.limit_price, LimitOrderRow.id)
        rows = connection.execute(
            closed.where(LimitOrderRow.status == "FILLED").order_by(LimitOrderRow.closed_by_id)
        ).all()
    seconds = [(row.closed_at - recorded_at).total_seconds() for row in rows]
    is_fair = [row.id for row in rows] == [
        row.id for row in sorted(rows, key=lambda r: (-r.limit_price, r.id))
    ]
    print(f"a price that fills {filled:,} of as many users, in batches of {matching.BATCH}: ", end="")
    print(f"the last after {max(seconds):.2f} s, the run took {whole_s:.2f} s; limit 2 s; ", end="")
    print(f"in fair order: {'yes' if is_fair else 'NO'}")
    print(f"trades meanwhile: {len(trades)}, median {statistics.median(trades or [0]):.0f} ms, ", end="")
    print(f"slowest {max(trades, default=0):.0f} ms", flush=True)
    if is_profiled:
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)


@contextmanager
def trading(url: str) -> Iterator[list[float]]:
    """Let a process of its own trade, as a web worker does; how long each trade took, in ms, once it is over."""
    token, user = auth.register(email="bench@example.com", password=secrets.token_hex(), name="Bench")
    funds.deposit(user["id"], Funds(10_000_000, 0))
    ours, theirs = multiprocessing.Pipe()
    trader = multiprocessing.get_context("spawn").Process(target=trade_on, args=(url, token, theirs))
    trader.start()
    trades: list[float] = []
    try:
        ours.recv()  # it has begun
        yield trades
        ours.send("enough")
        trades += ours.recv()
    finally:
        trader.join(30)
        trader.kill()


def trade_on(url: str, token: str, ours: Connection) -> None:
    """Buy for 100 rupees again and again."""
    app = create_app(config.load(BITTRADE_ENV="testing", DATABASE_URL=url))
    app.testing = False
    client, headers = app.test_client(), {"Authorization": f"Bearer {token}"}
    body = {"action": "buy", "type": "market", "amount": 100, "currency": "inr"}
    client.post("/api/trade", json=body, headers=headers)
    ours.send("ready")
    trades = []
    while not ours.poll():
        began = time.perf_counter()
        if client.post("/api/trade", json=body, headers=headers).status_code == 201:
            trades.append((time.perf_counter() - began) * 1000)
    ours.send(trades)


if __name__ == "__main__":
    main()
