"""Thirty ways to tamper with the books by SQL, and what finds each: the recent proof, the whole, or a kept digest.

The first group can be done with the application's own rights (deploy/grants.sql): rows added to the books, anything
done to balances. The second needs all rights. The table of docs/security.md is made of these names.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import unit_of_work, wire
from bittrade.extensions import db
from bittrade.models import AuditEvent, Balance, BitcoinData, LedgerLeg, Transaction
from bittrade.services import audit, corrections, funds, ledger
from bittrade.services.funds import Funds
from bittrade.services.ledger.chains import extend
from tests.fixtures import Person, new_user, set_price
from tests.services.test_ledger import ORDER, ids, run

T, L, B = Transaction.__table__, LedgerLeg.__table__, Balance.__table__


@dataclass(frozen=True)
class Books:
    """Two users' books, proven and with a digest kept, and then one trade more."""

    victim: Person
    thief: Person
    ids: list[
        int
    ]  # of the victim's transactions: deposits, a buy, a sell, a reversal; and a buy since the proof
    digest: list[str]


@pytest.fixture
def books(inside: Flask) -> Books:
    set_price(inside)
    client = inside.test_client()
    victim, thief = new_user(inside, inr=10_000, btc=50_000), new_user(inside, inr=500)
    for order in (ORDER, {**ORDER, "action": "sell"}):
        assert client.post("/api/trade", json=order, headers=victim.headers).status_code == 201
    funds.deposit(victim.id, Funds(77, 0))
    corrections.reverse_transaction(ids(victim)[-1], why="test")
    assert ledger.verify().is_right
    digest = list(ledger.write_digest())
    assert client.post("/api/trade", json=ORDER, headers=victim.headers).status_code == 201
    return Books(victim, thief, ids(victim), digest)


def faults_of_recent() -> tuple[str, ...]:
    return ledger.verify_recent().faults


def faults_of_whole() -> tuple[str, ...]:
    return ledger.verify().faults


def money(user: Person, **changes: int) -> sa.sql.Executable:
    values = {name: B.c[name] + change for name, change in changes.items()}
    return sa.update(B).where(B.c.user_id == user.id).values(**values)


def leg(transaction_id: int, user: Person | None, account: str, amount: int) -> sa.sql.Executable:
    return sa.insert(L).values(
        transaction_id=transaction_id,
        user_id=None if user is None else user.id,
        account=account,
        asset="INR" if account.endswith("inr") or account.startswith("house") else "BTC",
        amount=amount,
    )


def row_of(user: Person, kind: str, **values: Any) -> sa.sql.Executable:
    """A new row of the user's history, under the next number."""
    with db.engine.connect() as connection:
        seq = connection.scalar(sa.select(B.c.seq).where(B.c.user_id == user.id)) or 0
    now = wire.now()
    usual = {
        "user_id": user.id,
        "seq": seq + 1,
        "type": kind,
        "status": "EXECUTED",
        "is_pending": False,
        "btc_amount": 0,
        "inr_amount": 0,
        "created_at": now,
        "executed_at": now,
    }
    return sa.insert(T).values(**usual | values)


def newest(user: Person) -> int:
    return ids(user)[-1]


def rechain(user: Person) -> None:
    """What a tamperer who knows the chain does at the end: make it anew from the first row on."""
    run(sa.update(B).where(B.c.user_id == user.id).values(chain="", chain_seq=0))
    extend(user.id)


# --- With the application's rights ---------------------------------------------------------------------------------


def raise_a_balance(books: Books) -> None:
    run(money(books.thief, available_inr=1000))


def move_a_balance(books: Books) -> None:
    run(money(books.victim, available_inr=-100), money(books.thief, available_inr=100))


def reserve_without_a_row(books: Books) -> None:
    run(money(books.victim, available_inr=-100, reserved_inr=100))


def lower_the_sequence(books: Books) -> None:
    run(sa.update(B).where(B.c.user_id == books.victim.id).values(seq=B.c.seq - 1))


def forget_the_last_trade_in_the_balance(books: Books) -> None:
    """All that the balance knows of the newest transaction; the row itself can't be removed."""
    with db.engine.connect() as connection:
        moved = connection.execute(
            sa.select(L.c.account, L.c.amount).where(
                L.c.transaction_id == books.ids[-1], L.c.user_id == books.victim.id
            )
        ).all()
    run(money(books.victim, seq=-1, **{row.account: -row.amount for row in moved}))


def overwrite_the_chain(books: Books) -> None:
    run(sa.update(B).where(B.c.user_id == books.victim.id).values(chain="0" * 64))


def add_legs_to_anothers_transaction(books: Books) -> None:
    """Balanced, and both balances fit."""
    number = books.ids[0]
    run(
        leg(number, books.victim, "available_inr", -100),
        leg(number, books.thief, "available_inr", 100),
        money(books.victim, available_inr=-100),
        money(books.thief, available_inr=100),
    )


def add_legs_to_ones_own_old_transaction(books: Books) -> None:
    number = ids(books.thief)[0]
    run(
        leg(number, books.thief, "available_inr", 100),
        leg(number, None, "house_custody", -100),
        money(books.thief, available_inr=100),
    )


def add_house_legs_alone(books: Books) -> None:
    run(leg(books.ids[-1], None, "house_trading", 5), leg(books.ids[-1], None, "house_custody", -5))


def invent_a_deposit(books: Books) -> None:
    """With legs, a balance and a chain that fit."""
    run(row_of(books.thief, "DEPOSIT_INR", inr_amount=900))
    number = newest(books.thief)
    run(
        leg(number, books.thief, "available_inr", 900),
        leg(number, None, "house_custody", -900),
        money(books.thief, available_inr=900, seq=1),
    )
    extend(books.thief.id)


def invent_a_withdrawal(books: Books) -> None:
    run(row_of(books.victim, "WITHDRAW_INR", inr_amount=9))
    number = newest(books.victim)
    run(
        leg(number, books.victim, "available_inr", -9),
        leg(number, None, "house_custody", 9),
        money(books.victim, available_inr=-9, seq=1),
    )
    extend(books.victim.id)


def _reversal(books: Books, user: Person, reverses_id: int, amount: int) -> None:
    run(row_of(user, "REVERSAL", inr_amount=abs(amount), reverses_id=reverses_id))
    number = newest(user)
    run(
        leg(number, user, "available_inr", amount),
        leg(number, None, "house_custody", -amount),
        money(user, available_inr=amount, seq=1),
    )
    extend(user.id)


def reverse_more_than_there_was(books: Books) -> None:
    _reversal(books, books.thief, ids(books.thief)[0], 5000)


def reverse_anothers_transaction(books: Books) -> None:
    _reversal(books, books.thief, books.ids[0], 77)


def reverse_without_telling_anyone(books: Books) -> None:
    """The exact opposite of a transaction, but no operator did it."""
    _reversal(books, books.thief, ids(books.thief)[0], -500)


def _invent_a_trade(books: Books, **receipt: Any) -> None:
    """A bitcoin for 91 rupees, with legs, a balance and a chain that fit, and a receipt from which all follows."""
    order = {"action": "buy", "asset": "INR", "amount": 91}
    lie = {**_receipt(books.ids[-1]), "btc_usd_cents": 100, "order": order, **receipt}
    lie = {name: value for name, value in lie.items() if value is not None}
    row = {"inr_amount": 91, "btc_amount": 100_000_000, "execution_price": 91, "receipt": json.dumps(lie)}
    run(row_of(books.thief, "MARKET_BUY", **row))
    number = newest(books.thief)
    house = {"transaction_id": number, "account": "house_trading"}
    run(
        leg(number, books.thief, "available_inr", -91),
        leg(number, books.thief, "available_btc", 100_000_000),
        sa.insert(L).values(asset="INR", amount=91, **house),
        sa.insert(L).values(asset="BTC", amount=-100_000_000, **house),
        money(books.thief, available_inr=-91, available_btc=100_000_000, seq=1),
    )
    extend(books.thief.id)


def trade_at_a_price_that_never_was(books: Books) -> None:
    _invent_a_trade(books, price_id=10**6)


def trade_at_another_price_than_was_recorded(books: Books) -> None:
    _invent_a_trade(books)


def trade_on_a_receipt_that_names_no_price(books: Books) -> None:
    _invent_a_trade(books, price_id=None)


def trade_at_a_price_of_no_time(books: Books) -> None:
    _invent_a_trade(books, as_of="yesterday")


def add_a_row_that_no_balance_knows(books: Books) -> None:
    run(row_of(books.victim, "WITHDRAW_INR", inr_amount=5))


def _receipt(number: int) -> dict[str, Any]:
    with db.engine.connect() as connection:
        receipt: dict[str, Any] = json.loads(
            connection.scalar(sa.select(T.c.receipt).where(T.c.id == number))
        )
    return receipt


def remove_the_price_of_a_receipt(books: Books) -> None:
    """The application may thin prices out, but not those that a proof has seen a receipt name."""
    run(sa.delete(BitcoinData.__table__))


# --- With all rights -----------------------------------------------------------------------------------------------


def change_an_amount(books: Books) -> None:
    run(sa.update(T).where(T.c.id == books.ids[0]).values(inr_amount=T.c.inr_amount + 1))


def change_legs_so_that_they_balance(books: Books) -> None:
    legs = sa.update(L).where(L.c.transaction_id == books.ids[0], L.c.asset == "INR")
    run(
        legs.where(L.c.user_id.is_not(None)).values(amount=L.c.amount + 1),
        legs.where(L.c.user_id.is_(None)).values(amount=L.c.amount - 1),
        money(books.victim, available_inr=1),
        sa.update(T).where(T.c.id == books.ids[0]).values(inr_amount=T.c.inr_amount + 1),
    )


def change_a_time(books: Books) -> None:
    run(sa.update(T).where(T.c.id == books.ids[1]).values(created_at=wire.EPOCH, executed_at=wire.EPOCH))


def change_a_client_order_id(books: Books) -> None:
    run(sa.update(T).where(T.c.id == books.ids[2]).values(client_order_id="mine"))


def change_a_receipt(books: Books) -> None:
    receipt = {**_receipt(books.ids[2]), "age_ms": 1}
    run(sa.update(T).where(T.c.id == books.ids[2]).values(receipt=json.dumps(receipt)))


def swap_two_numbers(books: Books) -> None:
    first, second = books.ids[0], books.ids[1]
    seqs = {number: seq for seq, number in enumerate(books.ids, start=1)}
    for number, seq in ((first, -1), (second, seqs[first]), (first, seqs[second])):
        run(sa.update(T).where(T.c.id == number).values(seq=seq))


def move_an_account(books: Books) -> None:
    run(
        sa.update(L)
        .where(L.c.user_id == books.victim.id, L.c.amount == 50_000)
        .values(account="reserved_btc"),
        money(books.victim, available_btc=-50_000, reserved_btc=50_000),
    )


def move_the_house_s_account(books: Books) -> None:
    run(sa.update(L).where(L.c.account == "house_custody").values(account="house_trading"))


def give_a_transaction_to_another(books: Books) -> None:
    run(sa.update(T).where(T.c.id == books.ids[-1]).values(user_id=books.thief.id, seq=2))


def remove_the_last_transaction_and_its_traces(books: Books) -> None:
    """Row, legs, balance, sequence and chain: as if it had never been. It was proven before."""
    ledger.verify_recent()
    _remove_last(books)
    rechain(books.victim)


def _remove_last(books: Books) -> None:
    number = newest(books.victim)
    with db.engine.connect() as connection:
        moved = connection.execute(
            sa.select(L.c.account, L.c.amount).where(
                L.c.transaction_id == number, L.c.user_id == books.victim.id
            )
        ).all()
    run(
        sa.delete(L).where(L.c.transaction_id == number),
        sa.delete(T).where(T.c.id == number),
        money(books.victim, seq=-1, **{row.account: -row.amount for row in moved}),
    )


def remove_a_leg_s_transaction(books: Books) -> None:
    run(sa.delete(T).where(T.c.id == books.ids[-1]), money(books.victim, seq=-1))


def remove_an_audit_row(books: Books) -> None:
    run(sa.delete(AuditEvent.__table__).where(AuditEvent.action == "deposit"))


def change_a_recorded_price(books: Books) -> None:
    run(sa.update(BitcoinData.__table__).values(btc_usd_cents=BitcoinData.btc_usd_cents + 1))


def lift_the_checkpoints_too(books: Books) -> None:
    """Change the past, make the chain and the checkpoints fit: nothing in the database contradicts it."""
    change_a_client_order_id(books)
    run(sa.text("DELETE FROM ledger_checkpoints"))
    rechain(books.victim)


def remove_the_last_and_the_checkpoints(books: Books) -> None:
    """As if the newest two had never been."""
    _remove_last(books)
    _remove_last(books)
    run(sa.text("DELETE FROM ledger_checkpoints"))
    rechain(books.victim)


Tampering = Callable[[Books], None]
RECENT, WHOLE, DIGEST = "recent", "whole", "digest"
WITH_THE_APPLICATION_S_RIGHTS: tuple[tuple[Tampering, str], ...] = (
    (raise_a_balance, RECENT),
    (move_a_balance, RECENT),
    (reserve_without_a_row, RECENT),
    (lower_the_sequence, RECENT),
    (forget_the_last_trade_in_the_balance, RECENT),
    (overwrite_the_chain, RECENT),
    (add_legs_to_anothers_transaction, RECENT),
    (add_legs_to_ones_own_old_transaction, RECENT),
    (add_house_legs_alone, RECENT),
    (invent_a_deposit, RECENT),
    (invent_a_withdrawal, RECENT),
    (reverse_more_than_there_was, RECENT),
    (reverse_anothers_transaction, RECENT),
    (reverse_without_telling_anyone, RECENT),
    (trade_at_a_price_that_never_was, RECENT),
    (trade_at_another_price_than_was_recorded, RECENT),
    (trade_on_a_receipt_that_names_no_price, RECENT),
    (trade_at_a_price_of_no_time, RECENT),
    (add_a_row_that_no_balance_knows, RECENT),
)
WITH_ALL_RIGHTS: tuple[tuple[Tampering, str], ...] = (
    (remove_the_price_of_a_receipt, WHOLE),
    (change_an_amount, WHOLE),
    (change_legs_so_that_they_balance, RECENT),
    (change_a_time, WHOLE),
    (change_a_client_order_id, WHOLE),
    (change_a_receipt, WHOLE),
    (swap_two_numbers, WHOLE),
    (move_an_account, RECENT),
    (move_the_house_s_account, WHOLE),
    (give_a_transaction_to_another, RECENT),
    (remove_the_last_transaction_and_its_traces, RECENT),
    (remove_a_leg_s_transaction, RECENT),
    (remove_an_audit_row, WHOLE),
    (change_a_recorded_price, RECENT),
    (lift_the_checkpoints_too, DIGEST),
    (remove_the_last_and_the_checkpoints, DIGEST),
)
TABLE = WITH_THE_APPLICATION_S_RIGHTS + WITH_ALL_RIGHTS


@pytest.mark.parametrize(("tamper", "found_by"), TABLE, ids=lambda value: getattr(value, "__name__", value))
def test_a_tampering_is_found(books: Books, tamper: Tampering, found_by: str) -> None:
    tamper(books)
    if found_by == RECENT:
        assert faults_of_recent()
    if found_by != DIGEST:
        assert faults_of_whole()
    else:
        assert not faults_of_whole()  # else the digest would not be what finds it
    assert ledger.verify(digest=ledger.read_digest(books.digest)).faults or found_by != DIGEST


@pytest.mark.parametrize(
    ("amount", "is_victims", "fault"),
    [(-400, False, "it is not the opposite of"), (-77, True, "which can't be reversed by it")],
)
def test_a_reversal_is_held_to_what_it_names_whoever_vouches_for_it(
    books: Books, amount: int, is_victims: bool, fault: str
) -> None:
    reverses_id = books.ids[0] if is_victims else ids(books.thief)[0]
    _reversal(books, books.thief, reverses_id, amount)
    unit_of_work.commit(lambda session: audit.record(session, "transaction_reversed", user_id=books.thief.id))
    for found in (faults_of_recent(), faults_of_whole()):
        assert [text.partition(": ")[0] for text in found] == [f"transaction {newest(books.thief)}"]
        assert fault in found[0]


def test_untouched_books_are_right_in_every_way(books: Books) -> None:
    assert faults_of_recent() == ()
    assert faults_of_whole() == ()
    assert ledger.verify(digest=ledger.read_digest(books.digest)).faults == ()


def test_there_are_thirty_ways() -> None:
    assert len(TABLE) >= 30
