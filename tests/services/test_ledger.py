"""The books: what is posted, and what their proof finds when somebody has been at them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError

from bittrade import unit_of_work, wire
from bittrade.domain.ledger import HOUSE_CUSTODY, transfer
from bittrade.errors import InsufficientFunds, UnbalancedEntry, UserNotFound
from bittrade.extensions import db
from bittrade.models import Balance, LedgerLeg, Transaction
from bittrade.services import funds, ledger
from bittrade.services.funds import Funds
from bittrade.services.ledger import Posted, Posting
from tests.fixtures import Person, new_user, set_price

ORDER = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}


@pytest.fixture
def trader(inside: Flask) -> Person:
    """Has deposited rupees and bitcoin (entries 1, 2), bought twice (3, 4) and sold (5)."""
    set_price(inside)
    person = new_user(inside, inr=10_000, btc=50_000)
    client = inside.test_client()
    for order in (ORDER, {**ORDER, "amount": "500"}, {**ORDER, "action": "sell"}):
        assert client.post("/api/trade", json=order, headers=person.headers).status_code == 201
    return person


def post(user_id: int, *, inr: int = 0, btc: int = 0) -> Posted:
    entry = transfer(user_id=user_id, house=HOUSE_CUSTODY, inr=inr, btc=btc)
    kind, currency = "WITHDRAW" if inr < 0 or btc < 0 else "DEPOSIT", "INR" if inr else "BTC"
    posting = Posting(type=f"{kind}_{currency}")

    def work(session: sa.orm.Session) -> Posted:
        held = ledger.lock_balance(session, user_id)
        return ledger.post(session, user_id, held=held, entry=entry, posting=posting, now=wire.now())

    return unit_of_work.commit(work)


def run(*statements: sa.sql.Executable) -> None:
    """What somebody with the database's password could do."""
    with db.engine.connect() as connection, _foreign_keys_off(connection), connection.begin():
        for statement in statements:
            connection.execute(statement)


@contextmanager
def _foreign_keys_off(connection: sa.Connection) -> Iterator[None]:
    """They are the session's: the pool must get the connection back as it was."""
    off, on = (
        ("PRAGMA foreign_keys=OFF", "PRAGMA foreign_keys=ON")
        if connection.dialect.name == "sqlite"
        else ("SET SESSION foreign_key_checks=0", "SET SESSION foreign_key_checks=1")
    )
    driver = (
        connection.connection.cursor()
    )  # with SQLAlchemy's, a transaction would begin, in which SQLite keeps them
    driver.execute(off)
    try:
        yield
    finally:
        driver.execute(on)
        driver.close()


def ids(user: Person) -> list[int]:
    with db.engine.connect() as connection:
        return list(
            connection.scalars(
                sa.select(Transaction.id).where(Transaction.user_id == user.id).order_by(Transaction.seq)
            )
        )


def test_what_is_posted_is_in_the_balance_the_history_and_the_legs(inside: Flask) -> None:
    user = new_user(inside)
    first, second, third = post(user.id, inr=1000), post(user.id, btc=7), post(user.id, inr=-400)
    assert [posted.balance["seq"] for posted in (first, second, third)] == [1, 2, 3]
    with db.engine.connect() as connection:
        balance = connection.execute(sa.select(Balance.__table__)).mappings().one()
        legs = connection.execute(
            sa.select(LedgerLeg.transaction_id, LedgerLeg.account, LedgerLeg.user_id, LedgerLeg.amount)
        ).all()
    assert (balance["available_inr"], balance["available_btc"], balance["seq"]) == (600, 7, 3)
    assert sorted(legs, key=str) == sorted(
        [
            (first.transaction_id, "available_inr", user.id, 1000),
            (first.transaction_id, HOUSE_CUSTODY, None, -1000),
            (second.transaction_id, "available_btc", user.id, 7),
            (second.transaction_id, HOUSE_CUSTODY, None, -7),
            (third.transaction_id, "available_inr", user.id, -400),
            (third.transaction_id, HOUSE_CUSTODY, None, 400),
        ],
        key=str,
    )


def test_an_entry_that_would_overdraw_leaves_nothing_behind(inside: Flask) -> None:
    user = new_user(inside, inr=100)
    with pytest.raises(InsufficientFunds) as refused:
        post(user.id, inr=-101)
    assert (refused.value.facts["required"], refused.value.facts["available"]) == (101, 100)
    assert len(ids(user)) == 1
    assert ledger.verify().faults == ()


def test_nobody_s_balance_cannot_be_locked(inside: Flask) -> None:
    with pytest.raises(UserNotFound):
        post(424_242, inr=1)


def test_the_database_itself_refuses_a_balance_below_zero(on_both_databases: Flask) -> None:
    user = new_user(on_both_databases, inr=100)
    with on_both_databases.app_context(), pytest.raises(DBAPIError):
        run(sa.update(Balance).where(Balance.user_id == user.id).values(available_inr=-1))


def test_the_database_itself_refuses_a_second_entry_of_one_number(on_both_databases: Flask) -> None:
    user = new_user(on_both_databases, inr=100, btc=1)
    with on_both_databases.app_context():
        funds.deposit(user.id, Funds(1, 0))
        with pytest.raises(DBAPIError):
            run(sa.update(Transaction).where(Transaction.user_id == user.id).values(seq=1))


@pytest.mark.parametrize("value", [1.0, 0.5, True, "1"])
def test_a_float_never_reaches_a_money_column(inside: Flask, value: object) -> None:
    user = new_user(inside, inr=100)
    with pytest.raises(Exception, match="Money is an int"):
        run(sa.update(Balance).where(Balance.user_id == user.id).values(available_inr=value))


# --- The proof ----------------------------------------------------------------------------------------------------


def test_the_books_are_right_after_deposits_trades_and_withdrawals(on_both_databases: Flask) -> None:
    set_price(on_both_databases)
    users = [new_user(on_both_databases, inr=5000, btc=40_000) for _ in range(3)]
    client = on_both_databases.test_client()
    for user in users:
        assert client.post("/api/trade", json=ORDER, headers=user.headers).status_code == 201
    with on_both_databases.app_context():
        funds.withdraw(users[0].id, Funds(10, 10))
        proof = ledger.verify()
    assert proof.faults == ()
    assert (proof.transactions, proof.balances) == (11, 3)


def test_empty_books_are_right(inside: Flask) -> None:
    assert ledger.verify().faults == ()


def test_an_untouched_trader_s_books_are_right(trader: Person) -> None:
    assert ledger.verify().faults == ()


def test_a_tampered_leg_is_found(trader: Person) -> None:
    last = ids(trader)[-1]
    of_user = (LedgerLeg.transaction_id == last, LedgerLeg.user_id == trader.id)
    run(sa.update(LedgerLeg).where(*of_user, LedgerLeg.asset == "INR").values(amount=LedgerLeg.amount + 1))
    faults = "\n".join(ledger.verify().faults)
    assert f"transaction {last}" in faults
    assert "INR sums to" in faults
    assert f"user {trader.id}: available_inr" in faults


def test_two_legs_that_were_tampered_with_so_that_they_still_balance_are_found(trader: Person) -> None:
    legs = sa.update(LedgerLeg).where(LedgerLeg.transaction_id == ids(trader)[0], LedgerLeg.asset == "INR")
    run(
        legs.where(LedgerLeg.user_id == trader.id).values(amount=LedgerLeg.amount + 1),
        legs.where(LedgerLeg.user_id.is_(None)).values(amount=LedgerLeg.amount - 1),
    )
    assert any(f"user {trader.id}: available_inr" in fault for fault in ledger.verify().faults)


@pytest.mark.parametrize("account", ["available_inr", "available_btc", "reserved_inr", "borrowed_inr"])
def test_a_tampered_balance_is_found(trader: Person, account: str) -> None:
    column = getattr(Balance, account)
    run(sa.update(Balance).where(Balance.user_id == trader.id).values({account: column + 1}))
    assert any(f"user {trader.id}: {account}" in fault for fault in ledger.verify().faults)


def test_a_deleted_leg_is_found(trader: Person) -> None:
    run(
        sa.delete(LedgerLeg).where(
            LedgerLeg.transaction_id == ids(trader)[2], LedgerLeg.user_id.is_(None), LedgerLeg.asset == "BTC"
        )
    )
    assert any(f"transaction {ids(trader)[2]}" in fault for fault in ledger.verify().faults)


@pytest.mark.parametrize("which", [0, 1, -1], ids=["first", "middle", "last"])
def test_a_deleted_transaction_is_found(trader: Person, which: int) -> None:
    number = ids(trader)[which]
    run(
        sa.delete(LedgerLeg).where(LedgerLeg.transaction_id == number),
        sa.delete(Transaction).where(Transaction.id == number),
    )
    assert any(f"user {trader.id}" in fault for fault in ledger.verify().faults)


def test_a_transaction_whose_legs_are_all_gone_is_found(trader: Person) -> None:
    run(sa.delete(LedgerLeg).where(LedgerLeg.transaction_id == ids(trader)[2]))
    assert ledger.verify().faults


def test_a_gap_in_the_sequence_is_found(trader: Person) -> None:
    run(
        sa.update(Transaction).where(Transaction.id == ids(trader)[-1]).values(seq=Transaction.seq + 5),
    )
    assert any(f"user {trader.id}" in fault and "numbered" in fault for fault in ledger.verify().faults)


def test_a_sequence_that_runs_behind_its_history_is_found(trader: Person) -> None:
    run(sa.update(Balance).where(Balance.user_id == trader.id).values(seq=Balance.seq - 1))
    assert any(f"user {trader.id}" in fault for fault in ledger.verify().faults)


def test_legs_of_somebody_without_a_balance_are_found(trader: Person) -> None:
    run(sa.delete(Balance).where(Balance.user_id == trader.id))
    assert ledger.verify().faults


def test_one_user_s_fault_is_not_laid_at_another_s_door(inside: Flask, trader: Person) -> None:
    other = new_user(inside, inr=100)
    run(sa.update(Balance).where(Balance.user_id == other.id).values(available_inr=99))
    faults = ledger.verify().faults
    assert any(f"user {other.id}:" in fault for fault in faults)
    assert not any(f"user {trader.id}:" in fault for fault in faults)


def test_a_buy_that_was_booked_as_a_sell_is_found(inside: Flask, trader: Person) -> None:
    bought = ids(trader)[2]
    legs = LedgerLeg.transaction_id == bought
    with db.engine.connect() as connection:
        moved = dict(
            connection.execute(
                sa.select(LedgerLeg.account, LedgerLeg.amount).where(legs, LedgerLeg.user_id == trader.id)
            ).all()
        )
    run(
        sa.update(LedgerLeg).where(legs).values(amount=-LedgerLeg.amount),
        sa.update(Balance)
        .where(Balance.user_id == trader.id)
        .values(
            available_inr=Balance.available_inr - 2 * moved["available_inr"],
            available_btc=Balance.available_btc - 2 * moved["available_btc"],
        ),
    )
    assert any("its legs moved" in fault for fault in ledger.verify().faults)


def test_a_leg_of_an_account_that_does_not_exist_is_found(inside: Flask, trader: Person) -> None:
    run(sa.update(LedgerLeg).where(LedgerLeg.account == HOUSE_CUSTODY).values(account="house_custody_x"))
    assert any("there is no account" in fault for fault in ledger.verify().faults)


def test_a_broken_rule_of_the_database_is_a_bug_and_not_an_outage(
    on_both_databases: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_both_databases.app_context():
        user = new_user(on_both_databases)
        broken = sa.update(Balance).where(Balance.user_id == user.id).values(available_inr=-1)
        with pytest.raises(DBAPIError):
            unit_of_work.commit(lambda session: session.execute(broken))


def test_an_entry_that_is_not_of_its_type_is_not_posted(inside: Flask) -> None:
    user = new_user(inside, inr=100)
    entry = transfer(user_id=user.id, house=HOUSE_CUSTODY, inr=-1)

    def work(session: sa.orm.Session) -> Posted:
        held = ledger.lock_balance(session, user.id)
        return ledger.post(
            session, user.id, held=held, entry=entry, posting=Posting("DEPOSIT_INR"), now=wire.now()
        )

    with pytest.raises(UnbalancedEntry, match="DEPOSIT_INR does not change available_inr by -1"):
        unit_of_work.commit(work)
    assert len(ids(user)) == 1
