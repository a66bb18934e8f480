"""What proving the books costs: `python -m bench.ledger` prints how long each proof of two million transactions takes.

The books are made by bulk SQL in a scratch database of the server that `DB_*` or `TEST_DATABASE_URL` name (by default
root without password on 127.0.0.1:3306), which is dropped at the end. MariaDB only: it has a table of numbers.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import flask_migrate
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

import config
from bench.history import MIGRATIONS, scratch_database
from bittrade import create_app
from bittrade.extensions import db
from bittrade.services import funds, ledger
from bittrade.services.funds import Funds

TRANSACTIONS, USERS, PRICES, BATCH = 2_000_000, 1_000, 2_000, 250_000
DEPOSIT = 10**9
# Bitcoin costs 4,095,000 and brings 3,960,000 rupees: 1,000 rupees buy 24,420 satoshis, which bring 967.
CENTS = 4_500_000
PEOPLE = """INSERT INTO users (id, email, email_normalized, name, password_hash, created_at)
    SELECT seq, CONCAT(seq, '@bench'), CONCAT(seq, '@bench'), 'Bench', '', UTC_TIMESTAMP(6) FROM seq_1_to_{users}"""
BALANCES = """INSERT INTO balances (user_id, seq, available_inr, available_btc, reserved_inr, reserved_btc, collateral_btc,
    borrowed_inr, interest_accrued) SELECT id, 0, 0, 0, 0, 0, 0, 0, 0 FROM users"""
MARKET = """INSERT INTO bitcoin_data (id, btc_usd_cents, source, as_of, created_at)
    SELECT seq, {cents}, 'bench', '2026-01-01', '2026-01-01' FROM seq_1_to_{prices}"""
# The number of a transaction is its id: users take turns, everybody's first two are deposits, then they sell and buy.
TRADES = """INSERT INTO transactions (id, user_id, seq, type, status, is_pending, btc_amount, inr_amount, execution_price,
        receipt, created_at, executed_at)
    SELECT seq, (seq - 1) MOD {users} + 1, (seq - 1) DIV {users} + 1,
        IF((seq - 1) DIV {users} MOD 2, 'MARKET_BUY', 'MARKET_SELL'), 'EXECUTED', 0, 24420,
        IF((seq - 1) DIV {users} MOD 2, 1000, 967), IF((seq - 1) DIV {users} MOD 2, 4095000, 3960000),
        CONCAT('{{"price_id":', seq MOD {prices} + 1, ',"source":"bench","btc_usd_cents":{cents},',
            '"as_of":"2026-01-01T00:00:00+00:00","buy_multiplier":910000,"sell_multiplier":880000,"age_ms":1234,',
            '"order":{{"action":"', IF((seq - 1) DIV {users} MOD 2, 'buy', 'sell'), '","asset":"',
            IF((seq - 1) DIV {users} MOD 2, 'INR', 'BTC'), '","amount":',
            IF((seq - 1) DIV {users} MOD 2, 1000, 24420), '}},"quote_id":null}}'),
        UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)
    FROM seq_{first}_to_{last}"""
LEGS = """INSERT INTO ledger_legs (transaction_id, user_id, account, asset, amount)
    SELECT t.id, IF(leg.seq < 3, t.user_id, NULL), IF(leg.seq < 3, IF(leg.seq = 1, 'available_inr', 'available_btc'),
            'house_trading'), IF(leg.seq MOD 2, 'INR', 'BTC'),
        IF(t.type = 'MARKET_BUY', 1, -1) * IF(leg.seq IN (1, 4), -1, 1) * IF(leg.seq MOD 2, t.inr_amount, t.btc_amount)
    FROM transactions t JOIN seq_1_to_4 leg WHERE t.id BETWEEN {first} AND {last} ORDER BY t.id, leg.seq"""
CLOSE = """UPDATE balances b JOIN (SELECT user_id, MAX(seq) AS seq, SUM(type = 'MARKET_BUY') AS buys,
        SUM(type = 'MARKET_SELL') AS sells FROM transactions GROUP BY user_id) t ON t.user_id = b.user_id
    SET b.seq = t.seq, b.available_inr = {deposit} - 1000 * t.buys + 967 * t.sells,
        b.available_btc = 24420 * (1 + t.buys - t.sells)"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--transactions", type=int, default=TRANSACTIONS, help="default: %(default)s")
    parser.add_argument("--users", type=int, default=USERS, help="default: %(default)s")
    wanted = parser.parse_args()
    with scratch_database() as url:
        app = create_app(config.load(BITTRADE_ENV="testing", DATABASE_URL=url))
        with app.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)
            timed("making the books", lambda: fill(wanted.transactions, wanted.users))
            timed("the whole", ledger.verify)
            timed("what is new: nothing", ledger.verify_recent)
            timed("1,000 more deposits", lambda: deposit(1000, wanted.users))
            timed("what is new: those", ledger.verify_recent)
            timed("chaining all of it", lambda: sum(map(ledger.extend, ledger.list_unchained())))
            digest = timed("a digest", lambda: list(ledger.write_digest()))
            timed("the whole, against it", lambda: ledger.verify(digest=ledger.read_digest(digest)))
            db.engine.dispose()


def timed(name: str, work: Callable[[], Any]) -> Any:
    """Run it and print how long it took; a proof must find the books right."""
    begin, cpu_begin = time.perf_counter(), time.process_time()
    result = work()
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    note = f"{result.transactions:,} transactions" if isinstance(result, ledger.Proof) else ""
    print(f"{name:<24}{seconds:>9.1f} s, of Python's {cpu_seconds:>6.1f} s  {note}", flush=True)
    if isinstance(result, ledger.Proof) and not result.is_right:
        raise SystemExit(f"the books are not right: {result.faults[:5]}, complete: {result.is_complete}")
    return result


def fill(transactions: int, users: int) -> None:
    """Make the people, their deposits and their trades."""
    figures = {"users": users, "prices": PRICES, "cents": CENTS, "deposit": DEPOSIT}
    engine = sa.create_engine(db.engine.url, poolclass=NullPool)  # the application's would give up after 5 s
    with engine.connect() as connection:
        for setting in ("unique_checks=0", "foreign_key_checks=0", "innodb_lock_wait_timeout=50"):
            connection.exec_driver_sql(f"SET SESSION {setting}")
        for statement in (PEOPLE, BALANCES, MARKET):
            connection.exec_driver_sql(statement.format(**figures))
            connection.commit()
        deposit(users, users, inr=DEPOSIT)
        deposit(users, users, inr=0, satoshis=24_420)
        first = 2 * users + 1
        while first <= transactions:
            last = min(first + BATCH - 1, transactions)
            for statement in (TRADES, LEGS):
                connection.exec_driver_sql(statement.format(first=first, last=last, **figures))
            connection.commit()
            first = last + 1
        connection.exec_driver_sql(CLOSE.format(**figures))
        connection.commit()


def deposit(count: int, users: int, *, inr: int = 1, satoshis: int = 0) -> None:
    """Deposit for so many users, one after the other, as operators do."""
    for number in range(count):
        funds.deposit(number % users + 1, Funds(inr, satoshis))


if __name__ == "__main__":
    main()
