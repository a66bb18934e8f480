"""What coming from the original server costs: `python -m bench.importer` prints users and rows a second.

The original's tables are made by bulk SQL, and imported into an empty BitTrade; both are scratch databases of the server
that `DB_*` or `TEST_DATABASE_URL` name (by default root without password on 127.0.0.1:3306), dropped at the end. MariaDB
only: it has a table of numbers.
"""

import argparse
import time

import flask_migrate
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

import config
from bench.history import MIGRATIONS, scratch_database
from bench.ledger import timed
from bittrade import create_app
from bittrade.extensions import db
from bittrade.services import ledger, node_import

USERS, ROWS = 10_000, 200_000
HASH = "$2b$10$" + "a" * 53
TABLES = (
    """CREATE TABLE users (id INT PRIMARY KEY AUTO_INCREMENT, email VARCHAR(100) UNIQUE, name VARCHAR(100),
        password_hash VARCHAR(255), is_admin TINYINT(1) DEFAULT 0, available_inr INT, available_btc BIGINT, reserved_inr INT,
        reserved_btc BIGINT, created_at TIMESTAMP NULL)""",
    """CREATE TABLE transactions (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT, type VARCHAR(30), status VARCHAR(20),
        btc_amount BIGINT, inr_amount INT, execution_price INT, limit_price INT, notes TEXT, created_at TIMESTAMP NULL,
        executed_at TIMESTAMP NULL, INDEX (user_id))""",
)
# Everybody's first two are deposits, then they sell and buy, a thousand rupees at a time.
PEOPLE = """INSERT INTO users (id, email, name, password_hash, available_inr, available_btc, reserved_inr, reserved_btc,
        created_at)
    SELECT seq, CONCAT('person', seq, '@example.com'), CONCAT('Person ', seq), '{hash}', 100000, 24420, 0, 0,
        '2024-01-01 10:00:00' FROM seq_1_to_{users}"""
HISTORY = """INSERT INTO transactions (user_id, type, status, btc_amount, inr_amount, execution_price, created_at, executed_at)
    SELECT (seq - 1) MOD {users} + 1,
        CASE WHEN seq <= {users} THEN 'DEPOSIT_INR' WHEN seq <= 2 * {users} THEN 'DEPOSIT_BTC'
            WHEN (seq - 1) DIV {users} MOD 2 THEN 'MARKET_BUY' ELSE 'MARKET_SELL' END, 'EXECUTED',
        IF(seq <= {users}, 0, 24420), IF(seq <= {users}, 100000, IF(seq <= 2 * {users}, 0, 1000)),
        IF(seq <= 2 * {users}, NULL, 4095000),
        '2024-01-01 10:00:00' + INTERVAL seq SECOND, '2024-01-01 10:00:00' + INTERVAL seq SECOND
    FROM seq_1_to_{rows}"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=USERS, help="default: %(default)s")
    parser.add_argument("--rows", type=int, default=ROWS, help="default: %(default)s")
    wanted = parser.parse_args()
    with scratch_database() as original, scratch_database() as url:
        make_original(original, users=wanted.users, rows=wanted.rows)
        app = create_app(config.load(BITTRADE_ENV="testing", DATABASE_URL=url))
        with app.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)
            timed("the report alone", lambda: node_import.import_node(original, is_dry=True))
            began = time.perf_counter()
            report = timed("the import", lambda: node_import.import_node(original))
            seconds = time.perf_counter() - began
            timed("a second run", lambda: node_import.import_node(original))
            timed("the proof", ledger.verify)
            db.engine.dispose()
    print(f"{report.users / seconds:,.0f} users and {report.transactions / seconds:,.0f} rows a second")


def make_original(url: str, *, users: int, rows: int) -> None:
    """Make the original's tables, with so many users and so many rows of their history."""
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in (*TABLES, PEOPLE, HISTORY):
            connection.exec_driver_sql(statement.format(users=users, rows=rows, hash=HASH))


if __name__ == "__main__":
    main()
