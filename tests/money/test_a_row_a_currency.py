"""A deposit or withdrawal is a row for each currency, all or none of them; every row says which way its money went."""

import pytest
from flask import Flask

from bittrade.errors import InsufficientFunds
from bittrade.services import corrections, funds, ledger
from bittrade.services.funds import Funds
from tests.fixtures import Person
from tests.money.conftest import Trader


def moves(rows: list[dict]) -> list[tuple[str, int, int, str | None]]:
    return [(row["type"], row["inr_change"], row["btc_change"], row["reverses_type"]) for row in rows]


@pytest.fixture
def holder(app: Flask, make_user: object) -> Trader:
    """Has deposited ₹2,500 and 0.05 bitcoin."""
    person: Person = make_user(inr=2500, btc=5_000_000)  # type: ignore[operator]
    return Trader(person, app.test_client())


def test_rupees_and_bitcoin_that_came_together_are_two_rows(holder: Trader, app: Flask) -> None:
    rows = holder.get("/api/transactions").get_json()["transactions"]
    assert moves(rows) == [("DEPOSIT_BTC", 0, 5_000_000, None), ("DEPOSIT_INR", 2500, 0, None)]
    assert [(row["seq"], row["inr_amount"], row["btc_amount"]) for row in rows] == [
        (2, 0, 5_000_000),
        (1, 2500, 0),
    ]
    assert holder.get("/api/portfolio").get_json()["holdings_btc"] == 5_000_000
    missed = holder.get("/api/events", after=0).get_json()
    assert [row["type"] for row in missed["transactions"]] == ["DEPOSIT_INR", "DEPOSIT_BTC"]
    with app.app_context():
        funds.withdraw(holder.person.id, Funds(500, 1))
        assert ledger.verify().faults == ()
    rows = holder.get("/api/transactions").get_json()["transactions"]
    assert moves(rows[:2]) == [("WITHDRAW_BTC", 0, -1, None), ("WITHDRAW_INR", -500, 0, None)]


@pytest.mark.parametrize("wanted", [Funds(2501, 1), Funds(1, 5_000_001)])
def test_a_withdrawal_that_one_currency_cannot_pay_moves_neither(
    holder: Trader, app: Flask, wanted: Funds
) -> None:
    before = holder.balance()
    with app.app_context(), pytest.raises(InsufficientFunds):
        funds.withdraw(holder.person.id, wanted)
    assert holder.balance() == before
    assert len(holder.get("/api/transactions").get_json()["transactions"]) == 2


def test_a_reversal_says_which_way_it_went(trader: Trader, app: Flask) -> None:
    bought = trader.trade("buy", "1000").get_json()
    deposit = trader.get("/api/transactions", type="DEPOSIT_INR").get_json()["transactions"][0]
    with app.app_context():
        corrections.reverse_transaction(bought["id"], why="a test")
        corrections.reverse_transaction(deposit["id"], why="a test")
    rows = trader.get("/api/transactions").get_json()["transactions"]
    assert moves(rows[:3]) == [
        ("REVERSAL", -100_000, 0, "DEPOSIT_INR"),
        ("REVERSAL", 1000, -24_420, "MARKET_BUY"),
        ("MARKET_BUY", -1000, 24_420, None),
    ]
    one = trader.get(f"/api/transactions/{rows[0]['id']}").get_json()
    assert moves([one]) == moves(rows[:1])


def test_the_names_of_before_filter_both_currencies(holder: Trader, app: Flask) -> None:
    with app.app_context():
        funds.withdraw(holder.person.id, Funds(1, 1))

    def kinds(name: str) -> list[str]:
        rows = holder.get("/api/transactions", type=name).get_json()["transactions"]
        return [row["type"] for row in rows]

    assert kinds("DEPOSIT") == ["DEPOSIT_BTC", "DEPOSIT_INR"]
    assert kinds("WITHDRAWAL") == ["WITHDRAW_BTC", "WITHDRAW_INR"]
    assert kinds("WITHDRAW_INR") == ["WITHDRAW_INR"]
