"""The import from the original's database, on a real MariaDB, in both generations of its tables."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import bcrypt
import jwt
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.pool import NullPool

from bittrade.extensions import db
from bittrade.models import Transaction, User
from bittrade.services import funds, ledger
from bittrade.services.funds import Funds
from tests.fixtures import new_user, set_price

USERS = """
    CREATE TABLE users (
        id INT PRIMARY KEY AUTO_INCREMENT, email VARCHAR(100) COLLATE utf8mb4_bin UNIQUE, name VARCHAR(100),
        password_hash VARCHAR(255), is_admin TINYINT(1) DEFAULT 0, available_inr INT, available_btc BIGINT,
        reserved_inr INT, reserved_btc BIGINT {loans}, created_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP
    )"""
LOANS = ", collateral_btc BIGINT DEFAULT 0, borrowed_inr INT DEFAULT 0, interest_accrued INT DEFAULT 0"
HISTORY = """
    CREATE TABLE {name} (
        id INT PRIMARY KEY AUTO_INCREMENT, user_id INT, type VARCHAR(30), status VARCHAR(20), btc_amount BIGINT,
        inr_amount INT, execution_price INT, limit_price INT, notes TEXT, created_at TIMESTAMP NULL,
        executed_at TIMESTAMP NULL
    )"""
PLANS = (
    "CREATE TABLE active_plans (id INT PRIMARY KEY, user_id INT, plan_type VARCHAR(20), status VARCHAR(20))"
)
SETTINGS = "CREATE TABLE settings (`key` VARCHAR(50), value VARCHAR(50))"
PLAIN = "correct horse battery"
HASH = bcrypt.hashpw(PLAIN.encode(), bcrypt.gensalt(4, prefix=b"2b")).decode()


class Original:
    """A scratch database with the original's tables."""

    def __init__(self, url: str, *, history: str = "transactions", loans: str = "") -> None:
        self.url = url
        self._engine = sa.create_engine(url, poolclass=NullPool)
        self._history = history
        self.run(USERS.format(loans=loans), HISTORY.format(name=history), PLANS, SETTINGS)

    def run(self, *statements: str) -> None:
        with self._engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def add(self, table: str, **values: Any) -> None:
        columns = ", ".join(f"`{name}`" for name in values)
        places = ", ".join(f":{name}" for name in values)
        insert = f"INSERT INTO {table} ({columns}) VALUES ({places})"  # noqa: S608 - names of our own
        with self._engine.begin() as connection:
            connection.execute(sa.text(insert), values)

    def user(self, number: int, **values: Any) -> None:
        usual = {
            "email": f"user{number}@example.com",
            "name": f"Person {number}",
            "password_hash": HASH,
            "available_inr": 0,
            "available_btc": 0,
            "reserved_inr": 0,
            "reserved_btc": 0,
            "created_at": "2023-05-06 07:08:09",
        }
        self.add("users", id=number, **(usual | values))

    def row(self, user_id: int | None, kind: str | None, **values: Any) -> None:
        usual = {"status": "EXECUTED", "btc_amount": 0, "inr_amount": 0, "created_at": "2023-06-01 10:00:00"}
        values = usual | values
        if values["status"] == "EXECUTED":
            values.setdefault("executed_at", values["created_at"])
        self.add(self._history, user_id=user_id, type=kind, **values)


@pytest.fixture
def original(new_mariadb: Callable[[], str], mariadb_url: str) -> Original:
    return Original(new_mariadb())


@pytest.fixture
def run(inside: Flask) -> Callable[..., tuple[int, str]]:
    def command(*words: str) -> tuple[int, str]:
        result = inside.test_cli_runner().invoke(args=["import", "node", *words], catch_exceptions=False)
        return result.exit_code, result.output

    return command


@contextmanager
def logged_in(app: Flask, email: str, password: str = PLAIN) -> Iterator[dict[str, str]]:
    answer = app.test_client().post("/api/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    yield {"Authorization": f"Bearer {answer.get_json()['token']}"}


def get(app: Flask, path: str, headers: dict[str, str]) -> Any:
    answer = app.test_client().get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def small(original: Original) -> None:
    """One ordinary user whose balance follows from the history."""
    original.user(7, email="Ann@Example.com", name="Ann", available_inr=1500, available_btc=5_024_420)
    original.row(7, "DEPOSIT_INR", inr_amount=2500)
    original.row(7, "DEPOSIT_BTC", btc_amount=5_000_000, created_at="2023-06-02 10:00:00")
    original.row(
        7,
        "MARKET_BUY",
        inr_amount=1000,
        btc_amount=24_420,
        execution_price=4_095_000,
        created_at="2023-06-03 10:00:00",
    )


def test_a_user_comes_with_password_balance_and_history(
    inside: Flask, original: Original, run: Callable[..., tuple[int, str]]
) -> None:
    small(original)
    status, said = run("--from", original.url)
    assert status == 0, said
    assert "imported 1 users, 3 past transactions, ₹1500 and 5024420 satoshis" in said
    assert "0 remarks" in said
    assert "the books are right" in said
    with logged_in(inside, "ann@example.com") as headers:
        balance = get(inside, "/api/balance", headers)
        assert (balance["available_inr"], balance["available_btc"]) == (1500, 5_024_420)
        rows = get(inside, "/api/transactions", headers)["transactions"]
    assert [(row["type"], row["inr_change"], row["btc_change"]) for row in rows] == [
        ("DEPOSIT_BTC", 0, 5_024_420),
        ("DEPOSIT_INR", 1500, 0),
        ("MARKET_BUY", 0, 0),
        ("DEPOSIT_BTC", 0, 0),
        ("DEPOSIT_INR", 0, 0),
    ]
    bought = rows[2]
    assert (bought["inr_amount"], bought["btc_amount"], bought["execution_price"]) == (
        1000,
        24_420,
        4_095_000,
    )
    assert (bought["created_at"], bought["status"]) == ("2023-06-03T10:00:00.000Z", "EXECUTED")
    assert (bought["imported_id"], bought["imported_type"]) == (3, "MARKET_BUY")


def test_the_new_database_may_be_of_either_kind(on_both_databases: Flask, original: Original) -> None:
    small(original)
    result = on_both_databases.test_cli_runner().invoke(
        args=["import", "node"], env={"BITTRADE_IMPORT_FROM": original.url}, catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert "the books are right" in result.output
    with logged_in(on_both_databases, "ann@example.com") as headers:
        rows = get(on_both_databases, "/api/transactions", headers)["transactions"]
    assert [row["seq"] for row in rows] == [5, 4, 3, 2, 1]


def test_an_old_hash_is_replaced_at_the_first_login_and_works_on(
    inside: Flask, original: Original, run: Callable[..., tuple[int, str]]
) -> None:
    long = "ä" * 40 + "only 72 bytes count"
    original.user(
        1, password_hash=bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4, prefix=b"2a")).decode()
    )
    original.user(2)
    assert run("--from", original.url)[0] == 0
    for number, password in ((1, long), (2, PLAIN)):
        for _ in range(2):
            with logged_in(inside, f"user{number}@example.com", password):
                pass
            with db.engine.connect() as connection:
                hashed = connection.scalar(sa.select(User.password_hash).where(User.id == number))
            assert hashed.startswith("bt1$")
    wrong = {"email": "user2@example.com", "password": PLAIN + "x"}
    assert inside.test_client().post("/api/auth/login", json=wrong).status_code == 401


def test_a_token_that_the_original_made_is_good(
    inside: Flask, original: Original, run: Callable[..., tuple[int, str]]
) -> None:
    small(original)
    run("--from", original.url)
    claims = {"id": 7, "email": "Ann@Example.com", "exp": datetime.now(UTC) + timedelta(hours=1)}
    token = jwt.encode(claims, inside.config["JWT_SECRET"], "HS256")
    assert get(inside, "/api/balance", {"Authorization": f"Bearer {token}"})["available_inr"] == 1500


def test_a_second_run_brings_what_is_new_and_nothing_twice(
    inside: Flask, original: Original, run: Callable[..., tuple[int, str]]
) -> None:
    small(original)
    run("--from", original.url)
    with inside.app_context():
        funds.withdraw(7, Funds(500, 0))  # life goes on
    original.user(9, available_inr=11)
    status, said = run("--from", original.url)
    assert status == 0, said
    assert "imported 1 users, 0 past transactions, ₹11 and 0 satoshis; 1 users were here already" in said
    with db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Transaction)) == 3 + 2 + 1 + 1
    with logged_in(inside, "ann@example.com") as headers:
        assert get(inside, "/api/balance", headers)["available_inr"] == 1000


def test_a_dry_run_reports_and_writes_nothing(
    inside: Flask, original: Original, run: Callable[..., tuple[int, str]]
) -> None:
    small(original)
    original.user(8, available_inr=-3)
    status, said = run("--from", original.url, "--dry-run")
    assert status == 0
    assert "user 8: available_inr is -3" in said
    with db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(User)) == 0


def test_what_is_odd_is_named_and_never_stops_the_import(
    inside: Flask, original: Original, run: Callable[..., tuple[int, str]]
) -> None:
    original.user(1, email="bob@example.com", available_inr=-300, available_btc=7)
    original.user(2, email="BOB@example.com", available_inr=40)
    original.user(3, email=None, name=None, available_inr=5, available_btc=None)
    original.user(4, email="no e-mail", name="\u202ehidden\u0007", password_hash="md5:xyz", is_admin=1)
    original.user(5, reserved_inr=100, reserved_btc=9, available_inr=1)
    original.row(5, "DEPOSIT_INR", inr_amount=101)
    original.row(5, "DEPOSIT_BTC", btc_amount=9)
    original.row(5, "LIMIT_BUY", status="PENDING", inr_amount=100)
    original.row(5, "MARKET_SELL")
    original.row(5, "SEND_BTC_TO_FRIEND", status="odd", btc_amount=-4)
    original.row(5, None, status=None, created_at=None)
    original.row(99, "DEPOSIT_INR", inr_amount=1)
    original.row(None, "DEPOSIT_INR", inr_amount=1)
    original.add("active_plans", id=1, user_id=5, plan_type="DCA_BUY", status="ACTIVE")
    original.add("settings", key="buy_multiplier", value="92")
    status, said = run("--from", original.url)
    assert status == 0, said
    for remark in (
        "user 1: available_inr is -300: it opens at 0, a debt of 300 is not carried over",
        "user 1: the history comes to ₹0 and 0 satoshis, the balance opens at ₹0 and 7",
        "user 2: the e-mail 'BOB@example.com' is that of user 1 too: it is user-2@import.invalid now",
        "user 3: the e-mail None is none: it is user-3@import.invalid now",
        "user 3: the name None is none: it is 'User 3' now",
        "user 3: available_btc is missing: it opens at 0",
        "user 4: the password's hash is not bcrypt's",
        "is none: it is 'hidden' now",
        "user 4: was an administrator there, and is none here",
        "user 5: ₹100 and 9 satoshis were reserved: they are free now",
        "user 5, row 3 of the history: a LIMIT_BUY was pending: it is CANCELLED here",
        "user 5, row 4 of the history: a MARKET_SELL of nothing",
        "user 5, row 5 of the history: the status 'odd' is unknown: it is FAILED here",
        "user 5, row 5 of the history: btc_amount is -4: it is 4 here",
        "user 5, row 6 of the history: created_at is missing",
        "user None is missing: 1 rows of the history are left behind",
        "user 99 is missing: 1 rows of the history are left behind",
        "user 5: 1 recurring plans are left behind",
        "buy_multiplier is 92 there and 91 here: flask --app wsgi settings set buy_multiplier 92",
    ):
        assert remark in said, said
    assert "user 5: the history comes" not in said
    assert "the books are right" in said
    with logged_in(inside, "user5@example.com") as headers:
        balance = get(inside, "/api/balance", headers)
        assert (balance["available_inr"], balance["available_btc"], balance["reserved_inr"]) == (101, 9, 0)
        rows = get(inside, "/api/transactions", headers)["transactions"]
    assert {row["status"] for row in rows} == {"EXECUTED", "CANCELLED", "FAILED"}
    assert {row["type"] for row in rows} >= {"IMPORTED", "LIMIT_BUY", "MARKET_SELL"}
    refused = {"email": "user4@example.com", "password": "md5:xyz"}
    assert inside.test_client().post("/api/auth/login", json=refused).status_code == 401


def test_the_older_generation_has_operations_and_loans(
    inside: Flask, new_mariadb: Callable[[], str], run: Callable[..., tuple[int, str]], mariadb_url: str
) -> None:
    original = Original(new_mariadb(), history="operations", loans=LOANS)
    original.user(
        1, available_inr=900, available_btc=5, collateral_btc=1000, borrowed_inr=800, interest_accrued=3
    )
    original.row(1, "LOAN_BORROW", inr_amount=800)
    status, said = run("--from", original.url)
    assert status == 0, said
    assert "the books are right" in said
    with logged_in(inside, "user1@example.com") as headers:
        balance = get(inside, "/api/balance", headers)
        rows = get(inside, "/api/transactions", headers)["transactions"]
        assert get(inside, "/api/portfolio", headers)["holdings_btc"] == 1005
    assert (balance["collateral_btc"], balance["borrowed_inr"], balance["interest_accrued"]) == (1000, 800, 3)
    assert [row["type"] for row in rows] == ["OPENING", "DEPOSIT_BTC", "DEPOSIT_INR", "IMPORTED"]
    assert rows[-1]["imported_type"] == "LOAN_BORROW"


def test_who_was_imported_trades_on_and_the_books_stay_right(
    inside: Flask, original: Original, run: Callable[..., tuple[int, str]]
) -> None:
    small(original)
    run("--from", original.url)
    set_price(inside)
    order = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}
    with logged_in(inside, "ann@example.com") as headers:
        assert inside.test_client().post("/api/trade", json=order, headers=headers).status_code == 201
        export = inside.test_client().get("/api/transactions.csv", headers=headers).get_data(as_text=True)
        pages = [get(inside, f"/api/transactions?limit=2&page={page}", headers) for page in (1, 2, 3, 4)]
    assert export.rstrip().endswith("# end of export: 6 transactions")
    assert [len(page["transactions"]) for page in pages] == [2, 2, 2, 0]
    proof = ledger.verify()
    assert (proof.faults, proof.unchained) == ((), 0)
    assert ledger.verify_recent().faults == ()


def test_a_past_row_that_is_changed_afterwards_is_found(
    inside: Flask, original: Original, run: Callable[..., tuple[int, str]]
) -> None:
    small(original)
    run("--from", original.url)
    with db.engine.begin() as connection:
        forged = sa.update(Transaction).where(Transaction.imported_id == 3).values(inr_amount=1)
        connection.execute(forged)
    assert ledger.verify().faults


def test_an_import_needs_an_empty_bittrade_and_the_original_s_tables(
    inside: Flask, original: Original, run: Callable[..., tuple[int, str]], new_mariadb: Callable[[], str]
) -> None:
    for wrong, reason in (
        ("postgres://x/y", "BitTrade runs on MariaDB"),
        (new_mariadb(), "That is not the original's database"),
        ("mysql://root@127.0.0.1:9/x", "refused"),
    ):
        status, said = run("--from", wrong)
        assert (status, reason in said) == (1, True), said
    new_user(inside)
    status, said = run("--from", original.url)
    assert (status, "is not empty" in said) == (1, True), said
