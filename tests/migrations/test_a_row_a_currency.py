"""Rows of before there was one for each currency: after the upgrade a client sees what it would see had it always been
so, and the books are right."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError

from bittrade.domain.money import Asset
from bittrade.domain.pricing import Multipliers
from bittrade.domain.receipt import PriceBasis, Receipt
from bittrade.domain.trading import Action, Order
from bittrade.extensions import db
from bittrade.models import Balance
from bittrade.services import auth, ledger
from tests.fixtures import MIGRATIONS, PASSWORD, Person
from tests.migrations.conftest import upgrade

# seq, type, what came (+) or went (-), the seq that is reversed
OLD = [
    (1, "DEPOSIT", 2500, 5_000_000, None),
    (2, "MARKET_BUY", -1000, 24_420, None),
    (3, "DEPOSIT", 700, 0, None),
    (4, "WITHDRAWAL", -100, -2_000_000, None),
    (5, "REVERSAL", 100, 2_000_000, 4),
    (6, "DEPOSIT", 0, 9, None),
    (7, "REVERSAL", 1000, -24_420, 2),
    (8, "WITHDRAWAL", -1, 0, None),
]
SPLIT = [
    (1, "DEPOSIT_INR", 2500, 0, None),
    (2, "DEPOSIT_BTC", 0, 5_000_000, None),
    (3, "MARKET_BUY", -1000, 24_420, None),
    (4, "DEPOSIT_INR", 700, 0, None),
    (5, "WITHDRAW_INR", -100, 0, None),
    (6, "WITHDRAW_BTC", 0, -2_000_000, None),
    (7, "REVERSAL", 100, 0, "WITHDRAW_INR"),
    (8, "REVERSAL", 0, 2_000_000, "WITHDRAW_BTC"),
    (9, "DEPOSIT_BTC", 0, 9, None),
    (10, "REVERSAL", 1000, -24_420, "MARKET_BUY"),
    (11, "WITHDRAW_INR", -1, 0, None),
]

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BASIS = PriceBasis(1, "coingecko", 45_000_00, THEN, Multipliers(91_0000, 88_0000))
RECEIPT = Receipt(BASIS, Order(Action.BUY, Asset.INR, 1000), 10, None)
TRADED = {"price": 4_095_000, "receipt": json.dumps(RECEIPT.to_json())}


def fill(user_id: int, *rows: tuple[int, str, int, int, int | None]) -> None:
    """Write the history and the books as they were written then."""
    ids: dict[int, int] = {}
    with db.engine.begin() as connection:
        for seq, kind, inr, btc, reverses in rows:
            moment = (THEN + timedelta(minutes=seq)).replace(tzinfo=None)
            connection.execute(
                sa.text(
                    "INSERT INTO transactions (user_id, seq, type, status, is_pending, btc_amount, inr_amount, "
                    "reverses_id, created_at, executed_at, execution_price, receipt) "
                    "VALUES (:user_id, :seq, :kind, 'EXECUTED', 0, :btc, :inr, :reverses, :now, :now, :price, :receipt)"
                ),
                {"user_id": user_id, "seq": seq, "kind": kind, "btc": abs(btc), "inr": abs(inr)}
                | {"reverses": ids.get(reverses or 0), "now": moment}
                | (TRADED if kind == "MARKET_BUY" else {"price": None, "receipt": None}),
            )
            if kind != "MARKET_BUY":
                note(connection, user_id, kind, moment, abs(inr), abs(btc))
            ids[seq] = connection.scalar(sa.text("SELECT max(id) FROM transactions"))
            house = "house_trading" if kind.startswith("MARKET") or reverses == 2 else "house_custody"
            for asset, account, amount in (("INR", "available_inr", inr), ("BTC", "available_btc", btc)):
                for owner, name, moved in ((user_id, account, amount), (None, house, -amount)):
                    if moved:
                        connection.execute(
                            sa.text(
                                "INSERT INTO ledger_legs (transaction_id, user_id, account, asset, amount) "
                                "VALUES (:id, :owner, :name, :asset, :moved)"
                            ),
                            {"id": ids[seq], "owner": owner, "name": name, "asset": asset, "moved": moved},
                        )
        totals = {"available_inr": sum(row[2] for row in rows), "available_btc": sum(row[3] for row in rows)}
        mine = sa.update(Balance).where(Balance.user_id == user_id)
        connection.execute(mine.values(seq=len(rows), **totals))


ACTIONS = {"DEPOSIT": "deposit", "WITHDRAWAL": "withdrawal", "REVERSAL": "transaction_reversed"}


def note(connection: sa.Connection, user_id: int, kind: str, at: datetime, inr: int, btc: int) -> None:
    """Write what the audit log said of a movement."""
    connection.execute(
        sa.text(
            "INSERT INTO audit_events (at, action, actor, user_id, facts) VALUES (:at, :action, 'x', :user_id, :facts)"
        ),
        {"at": at, "action": ACTIONS[kind], "user_id": user_id}
        | {"facts": json.dumps({"inr": inr, "satoshis": btc})},
    )


def register(email: str) -> Person:
    token, user = auth.register(email=email, password=PASSWORD, name="A Person")
    return Person(user["id"], email, PASSWORD, "A Person", token)


@pytest.fixture
def before(empty: Flask) -> tuple[Flask, Person, Person]:
    """An app whose database is of then: one person with everything, one whose rows need no split."""
    upgrade()
    person, other = register("old@example.com"), register("other@example.com")
    flask_migrate.downgrade(directory=MIGRATIONS, revision="0004")
    fill(person.id, *OLD)
    fill(other.id, (1, "DEPOSIT", 50, 0, None))
    return empty, person, other


def history(app: Flask, person: Person, **query: Any) -> dict[str, Any]:
    answer = app.test_client().get("/api/transactions", headers=person.headers, query_string=query)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.get_json()
    return body


def seen(row: dict[str, Any]) -> tuple[int, str, int, int, str | None]:
    return row["seq"], row["type"], row["inr_change"], row["btc_change"], row["reverses_type"]


def test_old_rows_become_a_row_for_each_currency(before: tuple[Flask, Person, Person]) -> None:
    app, person, other = before
    upgrade()
    assert [seen(row) for row in reversed(history(app, person)["transactions"])] == SPLIT
    assert [seen(row) for row in history(app, other)["transactions"]] == [(1, "DEPOSIT_INR", 50, 0, None)]
    assert ledger.verify().faults == ()
    balance = app.test_client().get("/api/balance", headers=person.headers).get_json()
    assert (balance["seq"], balance["available_inr"], balance["available_btc"]) == (11, 3199, 5_000_009)
    folded = app.test_client().get("/api/portfolio", headers=person.headers).get_json()
    assert (folded["holdings_btc"], folded["realised_gain_inr"]) == (5_000_009, 0)


def by_cursor(app: Flask, person: Person, limit: int) -> list[int]:
    page = history(app, person, limit=limit)
    seqs = [row["seq"] for row in page["transactions"]]
    while page["next_before_id"]:
        page = history(app, person, limit=limit, before_id=page["next_before_id"])
        seqs += [row["seq"] for row in page["transactions"]]
    return seqs


def by_page(app: Flask, person: Person, limit: int) -> list[int]:
    pages = [history(app, person, limit=limit, page=number) for number in range(1, 13)]
    return [row["seq"] for page in pages for row in page["transactions"]]


def test_both_ways_of_paging_pass_over_each_row_once(before: tuple[Flask, Person, Person]) -> None:
    app, person, _ = before
    upgrade()
    wanted = [row[0] for row in reversed(SPLIT)]
    for limit in (1, 2, 3, 4):
        assert by_cursor(app, person, limit) == wanted
        assert by_page(app, person, limit) == wanted


def test_an_upgrade_that_died_before_it_was_noted_can_be_run_again(
    before: tuple[Flask, Person, Person],
) -> None:
    app, person, _ = before
    upgrade()
    once = [seen(row) for row in history(app, person)["transactions"]]
    with db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0004'"))
    upgrade()
    assert [seen(row) for row in history(app, person)["transactions"]] == once
    assert ledger.verify().faults == ()


def test_the_names_of_then_can_no_longer_be_written(before: tuple[Flask, Person, Person]) -> None:
    upgrade()
    with pytest.raises(DBAPIError), db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE transactions SET type = 'DEPOSIT'"))


def test_the_way_back_keeps_the_books_right(before: tuple[Flask, Person, Person]) -> None:
    upgrade()
    flask_migrate.downgrade(directory=MIGRATIONS, revision="0004")
    with db.engine.connect() as connection:
        kinds = set(connection.scalars(sa.text("SELECT DISTINCT type FROM transactions")))
    assert kinds == {"DEPOSIT", "WITHDRAWAL", "MARKET_BUY", "REVERSAL"}
    upgrade()
    with db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT max(seq) FROM transactions")) == 11
