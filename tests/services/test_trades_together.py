"""Trades that commit together: each fails or succeeds by itself, and what can't go together goes alone."""

import logging
import threading
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import messages
from bittrade.domain.money import Asset
from bittrade.domain.trading import Action, Order
from bittrade.errors import (
    BitTradeError,
    ClientOrderIdReused,
    IdempotencyKeyReused,
    InsufficientFunds,
    OutcomeUnknown,
    TokenInvalid,
)
from bittrade.extensions import db
from bittrade.models import Balance, IdempotencyKey, Transaction
from bittrade.services import audit, auth, ledger, trade
from bittrade.services.trade import Instruction
from bittrade.services.trade import together as trades
from bittrade.services.trade.together import Wanted
from tests.fixtures import Person, new_user, set_price, together


@pytest.fixture(autouse=True)
def _price(on_mariadb: Flask) -> None:
    set_price(on_mariadb)


def buy(inr: int = 1000, client_order_id: str | None = None) -> Instruction:
    return Instruction(Order(Action.BUY, Asset.INR, inr), client_order_id)


def wanted(user: Person, instruction: Instruction, key: str | None = None, asker: Any = None) -> Wanted:
    return Wanted(user.id, instruction, key, instruction.fingerprint, asker)


def count(table: Any, user: Person) -> int:
    with db.engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).where(table.user_id == user.id)) or 0)


def rupees(user: Person) -> int:
    with db.engine.connect() as connection:
        return int(connection.scalar(sa.select(Balance.available_inr).where(Balance.user_id == user.id)) or 0)


def test_each_trade_of_a_batch_has_its_own_outcome(on_mariadb: Flask) -> None:
    users = [new_user(on_mariadb, inr=5000) for _ in range(5)]
    trade.place_trade(users[2].id, buy(client_order_id="mine"))
    first = trade.place_trade(users[3].id, buy(), idempotency_key="again")
    trade.place_trade(users[4].id, buy(), idempotency_key="other-body")
    outcomes = trades._execute(
        [
            wanted(users[0], buy(2000), "a-key"),
            wanted(users[1], buy(6000)),
            wanted(users[2], buy(client_order_id="mine")),
            wanted(users[3], buy(), "again"),
            wanted(users[4], buy(2000), "other-body"),
        ]
    )
    assert isinstance(outcomes[0], tuple)
    assert (outcomes[0][0].is_replay, outcomes[0][0].answer["inr_amount"]) == (False, 2000)
    assert isinstance(outcomes[1], InsufficientFunds)
    assert isinstance(outcomes[2], ClientOrderIdReused)
    assert isinstance(outcomes[3], tuple)
    assert (outcomes[3][0].is_replay, outcomes[3][0].answer) == (True, first.answer)
    assert isinstance(outcomes[4], IdempotencyKeyReused)
    assert [rupees(user) for user in users] == [3000, 5000, 4000, 4000, 4000]
    assert count(IdempotencyKey, users[0]) == 1
    assert not ledger.verify().faults


def test_many_at_once_are_posted_in_fewer_transactions(
    on_mariadb: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [new_user(on_mariadb, inr=5000) for _ in range(12)]
    for user in users:
        trade.place_trade(user.id, buy(100))
    sizes: list[int] = []
    first_is_in, others_wait = threading.Event(), threading.Event()
    run = trades._Batch.run

    def slow(batch: Any, transaction: Any) -> None:
        sizes.append(len(batch.outcomes))
        if len(sizes) == 1:
            first_is_in.set()
            assert others_wait.wait(60)
        run(batch, transaction)

    monkeypatch.setattr(trades._Batch, "run", slow)
    group = trades._group()

    def one(number: int) -> None:
        if number:
            assert first_is_in.wait(60)
        with on_mariadb.app_context():
            trade.place_trade(users[number].id, buy(), idempotency_key="k")

    def open_the_door() -> None:
        while len(group._waiting) < len(users) - 1:
            first_is_in.wait(0.01)
            threading.Event().wait(0.01)
        others_wait.set()

    opener = threading.Thread(target=open_the_door)
    opener.start()
    together(len(users), one)
    opener.join(60)
    assert sizes == [1, len(users) - 1]
    assert {rupees(user) for user in users} == {3900}
    assert not ledger.verify().faults


def test_whose_balance_is_held_elsewhere_goes_alone_and_holds_up_nobody(on_mariadb: Flask) -> None:
    held, free = (new_user(on_mariadb, inr=5000) for _ in range(2))
    with db.engine.connect() as holder:
        holder.execute(sa.select(Balance.seq).where(Balance.user_id == held.id).with_for_update())
        outcomes = trades._execute([wanted(held, buy()), wanted(free, buy())])
    assert outcomes[0] is None
    assert isinstance(outcomes[1], tuple)
    assert (rupees(held), rupees(free)) == (5000, 4000)


def test_a_token_that_has_ended_moves_nothing(on_mariadb: Flask) -> None:
    gone, here = (new_user(on_mariadb, inr=5000) for _ in range(2))
    askers = [auth.authenticate(user.token) for user in (gone, here)]
    auth.logout(askers[0])
    outcomes = trades._execute([wanted(gone, buy(), asker=askers[0]), wanted(here, buy(), asker=askers[1])])
    assert isinstance(outcomes[0], TokenInvalid)
    assert isinstance(outcomes[1], tuple)
    assert (rupees(gone), rupees(here)) == (5000, 4000)


def test_an_error_before_the_commit_leaves_nothing_and_all_go_alone(
    on_mariadb: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    users = [new_user(on_mariadb, inr=5000) for _ in range(2)]
    commit = messages.Transaction.commit

    def refused(transaction: Any, statements: list[str]) -> None:
        commit(transaction, [*statements, "UPDATE balances SET available_inr = -1 LIMIT 1"])

    monkeypatch.setattr(messages.Transaction, "commit", refused)
    with caplog.at_level(logging.WARNING):
        outcomes = trades._execute([wanted(user, buy(), "k") for user in users])
    assert outcomes == [None, None]
    assert [count(Transaction, user) for user in users] == [1, 1]  # the deposit
    answers = [trade.place_trade(user.id, buy(), idempotency_key="k") for user in users]
    assert [answer.is_replay for answer in answers] == [False, False]
    assert not ledger.verify().faults


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_connection_that_is_lost_at_the_commit_leaves_the_outcome_unknown(
    on_mariadb: Flask, monkeypatch: pytest.MonkeyPatch, is_durable: bool
) -> None:
    user, poor = new_user(on_mariadb, inr=5000), new_user(on_mariadb)
    send = messages.Transaction._send

    def lost(transaction: Any, statements: list[str], answers: list[Any]) -> Any:
        if statements[-1] == "COMMIT":
            if is_durable:
                send(transaction, statements, answers)
                answers.clear()
            raise transaction._connection.dbapi_connection.OperationalError(2013, "Lost connection")
        return send(transaction, statements, answers)

    monkeypatch.setattr(messages.Transaction, "_send", lost)
    outcomes = trades._execute([wanted(user, buy(), "k"), wanted(poor, buy())])
    monkeypatch.setattr(messages.Transaction, "_send", send)
    assert isinstance(outcomes[0], OutcomeUnknown)
    assert isinstance(outcomes[1], InsufficientFunds)
    again = trade.place_trade(user.id, buy(), idempotency_key="k")
    assert again.is_replay is is_durable
    assert rupees(user) == 4000


def test_one_user_s_many_trades_never_spend_the_same_rupee(on_mariadb: Flask) -> None:
    user = new_user(on_mariadb, inr=5000)

    def one(_number: int) -> str:
        with on_mariadb.app_context():
            try:
                trade.place_trade(user.id, buy())
            except BitTradeError as error:
                return error.code
        return "done"

    said = together(12, one)
    assert sorted(said) == sorted(["done"] * 5 + ["insufficient_funds"] * 7)
    assert rupees(user) == 0
    assert not ledger.verify().faults


def test_the_usual_trade_goes_in_three_messages(on_mariadb: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    user = new_user(on_mariadb, inr=5000)
    trade.place_trade(user.id, buy())
    sent: list[str] = []
    send = messages.Transaction._send

    def noting(transaction: Any, statements: list[str], answers: list[Any]) -> Any:
        sent.append(statements[-1].split()[0])
        return send(transaction, statements, answers)

    monkeypatch.setattr(messages.Transaction, "_send", noting)
    with audit.asked_by(auth.authenticate(user.token)):
        trade.place_trade(user.id, buy(), idempotency_key="k")
    assert sent == ["SELECT", "INSERT", "COMMIT"]


def test_a_connection_that_died_costs_nobody_a_trade(on_mariadb: Flask) -> None:
    user = new_user(on_mariadb, inr=5000)
    trade.place_trade(user.id, buy())
    raw = messages.plain_engine("bittrade_trades", size=1).raw_connection()
    with db.engine.connect() as connection:
        connection.exec_driver_sql(f"KILL {raw.driver_connection.thread_id()}")  # type: ignore[union-attr]
    raw.close()
    assert not trade.place_trade(user.id, buy(), idempotency_key="k").is_replay
    assert trade.place_trade(user.id, buy(), idempotency_key="k").is_replay
    assert rupees(user) == 3000
