"""Fills that commit together: the same as one by one, in fair order, each once, and none for another's fault."""

from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import messages
from bittrade.errors import DatabaseUnavailable
from bittrade.extensions import db
from bittrade.messages import CommitFailed
from bittrade.models import Balance, LimitOrderRow
from bittrade.services import halt, ledger, orders
from bittrade.services.orders import matching, together
from bittrade.services.orders.together import Waiting
from tests.fixtures import new_user, set_price
from tests.orders.conftest import SELL, Customer, fall

CHANGING = ("id", "filled_transaction_id", "created_at", "filled_at")


@pytest.fixture
def customers(on_mariadb: Flask) -> list[Customer]:
    set_price(on_mariadb)
    return [Customer(new_user(on_mariadb, inr=10_000, btc=500_000), on_mariadb) for _ in range(3)]


def place_some(customers: list[Customer]) -> list[int]:
    """Seven buys that a fall reaches, two or three of each customer; their ids in the order in which they are due."""
    limits = (3_900_000, 4_000_000, 3_950_000, 3_900_000, 4_000_000, 3_700_000, 3_999_999)
    placed = [
        (-limit, customers[number % 3].place(limit_price=limit)["id"]) for number, limit in enumerate(limits)
    ]
    return [order_id for _, order_id in sorted(placed)]


def list_filled() -> list[int]:
    """The filled orders in the order of the transactions that closed them."""
    with db.engine.connect() as connection:
        query = sa.select(LimitOrderRow.id).where(LimitOrderRow.status == "FILLED")
        return list(connection.scalars(query.order_by(LimitOrderRow.closed_by_id)))


def waiting(order_ids: list[int]) -> list[Waiting]:
    with db.engine.connect() as connection:
        rows = connection.execute(sa.select(LimitOrderRow.id, LimitOrderRow.user_id)).all()
    users = {row.id: row.user_id for row in rows}
    return [Waiting(order_id, users[order_id]) for order_id in order_ids]


def verify() -> None:
    """The books are right and every chain is whole."""
    assert ledger.verify().faults == ()
    assert ledger.list_unchained() == []


def test_several_orders_of_several_users_fill_in_fair_order(
    on_mariadb: Flask, customers: list[Customer], monkeypatch: pytest.MonkeyPatch
) -> None:
    due = place_some(customers)
    customers[0].place(limit_price=3_000_000)
    sold = customers[1].place(SELL, limit_price=4_095_000)["id"]
    fall(on_mariadb)
    monkeypatch.setattr(matching, "_fill_alone", None)  # nobody needs it
    assert orders.match() == 7
    assert list_filled() == due
    assert customers[1].get(f"/api/orders/{sold}")["status"] == "OPEN"
    verify()
    assert orders.match() == 0


def test_together_comes_to_what_one_by_one_comes_to(on_mariadb: Flask, customers: list[Customer]) -> None:
    bodies = (
        {"limit_price": 4_000_000, "amount": 777},
        {"limit_price": 3_700_000, "amount": "0.0001", "currency": "btc"},
    )
    due = [[customer.place(**body)["id"] for body in bodies] for customer in customers[:2]]  # type: ignore[arg-type]
    fall(on_mariadb)
    in_batch, left = together.fill_together(waiting(due[0]))
    one_by_one = [changed for order in waiting(due[1]) for changed in matching._fill_alone(order)]
    assert left == []
    for these, those in zip(in_batch, one_by_one, strict=True):
        assert _figures(these.order) == _figures(those.order)
        assert these.balance == those.balance
        receipts = [
            customers[number].get(f"/api/transactions/{changed.order['filled_transaction_id']}/receipt")
            for number, changed in enumerate((these, those))
        ]
        for receipt in receipts:
            assert receipt.pop("recomputed") is True
            for name in ("transaction_id", "order_id", "age_ms"):
                receipt.pop(name, None)
        assert receipts[0] == receipts[1]
    for customer in customers[:2]:
        assert customer.holdings() == customers[0].holdings()
    verify()


def _figures(order: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in order.items() if name not in CHANGING}


def test_whose_balance_is_held_elsewhere_is_left_and_holds_up_nobody(
    on_mariadb: Flask, customers: list[Customer]
) -> None:
    due = place_some(customers)
    fall(on_mariadb)
    held = customers[0].person.id
    with db.engine.connect() as holder:
        holder.execute(sa.select(Balance.seq).where(Balance.user_id == held).with_for_update())
        changes, left = together.fill_together(waiting(due))
    assert {order.user_id for order in left} == {held}
    assert len(changes) + len(left) == 7
    assert orders.match() == len(left)
    verify()


@pytest.mark.parametrize("is_durable", [False, True])
def test_a_commit_that_fails_fills_each_order_once(
    on_mariadb: Flask, customers: list[Customer], monkeypatch: pytest.MonkeyPatch, *, is_durable: bool
) -> None:
    due = place_some(customers)
    fall(on_mariadb)
    commit = messages.Transaction.commit

    def lost(transaction: Any, statements: list[str]) -> None:
        if is_durable:
            commit(transaction, statements)
        raise CommitFailed from OSError("the connection is gone")

    monkeypatch.setattr(messages.Transaction, "commit", lost)
    assert orders.match() == (0 if is_durable else 7)
    assert sorted(list_filled()) == sorted(due)
    verify()


def test_a_price_that_may_not_be_traded_on_any_more_fills_nothing(
    on_mariadb: Flask, customers: list[Customer], monkeypatch: pytest.MonkeyPatch
) -> None:
    place_some(customers)
    fall(on_mariadb)
    listed = matching._list_waiting()
    halt.halt_trading("the books are being looked at")
    monkeypatch.setattr(matching, "_list_waiting", lambda: listed)
    assert orders.match() == 0
    assert list_filled() == []


def test_without_a_database_the_run_ends_at_the_first_order(
    on_mariadb: Flask, customers: list[Customer], monkeypatch: pytest.MonkeyPatch
) -> None:
    place_some(customers)
    fall(on_mariadb)
    asked: list[int] = []

    def away(_session: Any, batch: list[Waiting]) -> None:
        asked.append(batch[0].order_id)
        raise sa.exc.OperationalError("", None, pymysql.OperationalError(2003, "Can't connect"))

    monkeypatch.setattr(together, "_fill", lambda *_: away(*_))
    monkeypatch.setattr(matching, "_fill", away)
    with pytest.raises(DatabaseUnavailable):
        orders.match()
    assert len(asked) == 2
    monkeypatch.undo()
    assert orders.match() == 7
