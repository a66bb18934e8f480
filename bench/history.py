"""What a long history costs: `python -m bench.history` prints ratios of a million rows to a thousand.

One user's history, read through the API in this process, on a scratch database of the server that `DB_*` or
`TEST_DATABASE_URL` name (by default root without password on 127.0.0.1:3306), which is dropped at the end. Pages of
100 rows are never cached, so that this is what the database does. Compare the ratios, not the milliseconds.
"""

import argparse
import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask_migrate
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

import config
from bittrade import create_app
from bittrade.domain.ledger import BALANCE_ACCOUNTS
from bittrade.extensions import db
from bittrade.models import Balance
from bittrade.services import auth, statement
from bittrade.services.statement import Place
from dev.services import connect_database, database_server_url

MIGRATIONS = str(Path(__file__).resolve().parent.parent / "migrations")
SMALL, LARGE = 1_000, 1_000_000
LIMIT = 100
TRIES = 15
COPY = """
    INSERT INTO transactions (user_id, seq, type, status, is_pending, btc_amount, inr_amount, execution_price,
                              created_at, executed_at)
    SELECT user_id, seq + :held, type, status, is_pending, btc_amount, inr_amount, execution_price, created_at,
           executed_at FROM transactions ORDER BY seq LIMIT :missing"""
FIRST = """
    INSERT INTO transactions (user_id, seq, type, status, is_pending, btc_amount, inr_amount, execution_price,
                              created_at, executed_at)
    VALUES (:user_id, 1, 'MARKET_BUY', 'EXECUTED', 0, 24420, 1000, 4095000, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))"""

LEGS = """
    INSERT INTO ledger_legs (transaction_id, user_id, account, asset, amount)
    SELECT id, :owner, :account, :asset, :amount FROM transactions WHERE seq > :after AND seq <= :until"""
EACH = (("INR", "available_inr", "house_trading", -1000), ("BTC", "available_btc", "house_trading", 24_420))
AT_ONCE = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=int, default=LARGE, help="the long history's rows (default: %(default)s)"
    )
    rows = parser.parse_args().rows
    with scratch_database() as url:
        app = create_app(config.load(BITTRADE_ENV="testing", DATABASE_URL=url))
        with app.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)
            token, user = auth.register(email="bench@example.com", password=secrets.token_hex(), name="Bench")
            app.testing = False  # answers are checked against their schemas only in tests
            short = measure(app, token, user["id"], fill(user["id"], SMALL))
            long = measure(app, token, user["id"], fill(user["id"], rows))
            db.engine.dispose()
    print(f"{'median of ' + str(TRIES):<28}{SMALL:>10} rows{rows:>12} rows{'ratio':>8}")
    for name, milliseconds in long.items():
        print(f"{name:<28}{short[name]:>12.1f} ms{milliseconds:>14.1f} ms{milliseconds / short[name]:>8.2f}")


@contextmanager
def scratch_database() -> Iterator[str]:
    server = database_server_url(os.environ)
    name = f"bittrade_bench_{secrets.token_hex(4)}"
    with connect_database(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with connect_database(server) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")


def fill(user_id: int, rows: int) -> int:
    """Copy the user's rows until there are so many."""
    with db.engine.begin() as connection:
        before = held = connection.scalar(sa.text("SELECT COUNT(*) FROM transactions")) or 0
        if held == 0:
            connection.execute(sa.text(FIRST), {"user_id": user_id})
            held = 1
        while held < rows:
            missing = min(held, rows - held, 100_000)
            connection.execute(sa.text(COPY), {"held": held, "missing": missing})
            held += missing
        connection.execute(sa.update(Balance).where(Balance.user_id == user_id).values(seq=held))
    for after in range(before, held, AT_ONCE):
        add_legs(user_id, after=after, until=min(after + AT_ONCE, held))
    with db.engine.begin() as connection:
        connection.execute(sa.text("ANALYZE TABLE transactions, ledger_legs"))
    return held


def add_legs(user_id: int, *, after: int, until: int) -> None:
    """Give each of these transactions the legs of a trade."""
    with db.engine.begin() as connection:
        for asset, account, house, amount in EACH:
            for owner, name, moved in ((user_id, account, amount), (None, house, -amount)):
                leg = {"owner": owner, "account": name, "asset": asset, "amount": moved}
                connection.execute(sa.text(LEGS), {**leg, "after": after, "until": until})


def measure(app: Flask, token: str, user_id: int, rows: int) -> dict[str, float]:
    """Milliseconds of each kind of read."""
    client, headers = app.test_client(), {"Authorization": f"Bearer {token}"}
    deep = cursor_of(rows)

    def page(**query: Any) -> Callable[[], None]:
        return lambda: read(client, "/api/transactions", headers, limit=LIMIT, **query)

    middle = Place(rows // 2, 0, dict.fromkeys(BALANCE_ACCOUNTS, 0))

    def statement_page(is_ascending: bool) -> None:
        statement.read_page(user_id, rows, limit=LIMIT, is_ascending=is_ascending, after=middle)

    return {
        "page 1": timed(page()),
        "a deep page by cursor": timed(page(before_id=deep)),
        "the CSV's first byte": timed(lambda: first_byte(client, headers)),
        "a deep page, oldest first": timed(page(order="asc", after_id=deep - LIMIT - 1)),
        "the statement, page 1": timed(lambda: read(client, "/api/ledger", headers, "entries", limit=LIMIT)),
        "its middle, newest first": timed(lambda: statement_page(False)),
        "its middle, oldest first": timed(lambda: statement_page(True)),
    }


def cursor_of(rows: int) -> int:
    """Where page 1,000 begins, or the last page of a history that has fewer."""
    offset = min(1000 * LIMIT, rows - LIMIT)
    with db.engine.connect() as connection:
        found: int = connection.scalar(
            sa.text("SELECT id FROM transactions ORDER BY id DESC LIMIT 1 OFFSET :offset"),
            {"offset": offset - 1},
        )
    return found


def read(
    client: FlaskClient, path: str, headers: dict[str, str], name: str = "transactions", **query: Any
) -> None:
    answer = client.get(path, headers=headers, query_string=query)
    if answer.status_code != 200 or len(answer.get_json()[name]) != LIMIT:
        raise SystemExit(f"{path} {query}: {answer.status_code} {answer.get_data(as_text=True)[:200]}")


def first_byte(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.get("/api/transactions.csv", headers=headers, buffered=False)
    lines = iter(answer.response)
    next(lines)  # the heading costs nothing: the first rows count
    next(lines)
    answer.close()


def timed(work: Callable[[], None]) -> float:
    work()
    spans = []
    for _ in range(TRIES):
        begin = time.perf_counter()
        work()
        spans.append((time.perf_counter() - begin) * 1000)
    return statistics.median(spans)


if __name__ == "__main__":
    main()
