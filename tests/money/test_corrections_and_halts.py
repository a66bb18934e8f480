"""When something is wrong: reversing entries, a halt, and books that stop trading by themselves."""

import json
import logging

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import unit_of_work
from bittrade.errors import AlreadyReversed, InsufficientFunds, TransactionNotFound
from bittrade.models import AuditEvent, Balance, LedgerLeg
from bittrade.services import halt, health, ledger
from tests.fixtures import together
from tests.money.conftest import Trader


def command(app: Flask, *words: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=list(words))
    return result.exit_code, result.output


def test_a_reversal_undoes_a_trade_and_leaves_it_in_the_history(trader: Trader, app: Flask) -> None:
    before = trader.balance()
    bought = trader.trade("buy", "1000").get_json()
    status, said = command(app, "transaction", "reverse", str(bought["id"]), "--why", "fat finger")
    assert status == 0, said
    after = trader.balance()
    assert {**after, "seq": 0} == {**before, "seq": 0}
    assert after["seq"] == before["seq"] + 2
    rows = trader.get("/api/transactions").get_json()["transactions"]
    assert [row["type"] for row in rows[:2]] == ["REVERSAL", "MARKET_BUY"]
    assert rows[0]["reverses_id"] == bought["id"]
    with app.app_context():
        assert not ledger.verify().faults


def test_a_transaction_is_reversed_once_and_a_reversal_never(trader: Trader, app: Flask) -> None:
    bought = trader.trade("buy", "1000").get_json()
    results = together(
        5, lambda _: command(app, "transaction", "reverse", str(bought["id"]), "--why", "x")[0]
    )
    assert sorted(results) == [0, 1, 1, 1, 1]
    status, said = command(app, "transaction", "reverse", str(bought["id"]), "--why", "x")
    assert (status, AlreadyReversed.message in said) == (1, True)
    reversal = trader.get("/api/transactions", type="REVERSAL").get_json()["transactions"][0]
    status, said = command(app, "transaction", "reverse", str(reversal["id"]), "--why", "x")
    assert status == 1
    assert "can't be reversed" in said


def test_what_was_spent_cannot_be_reversed(trader: Trader, app: Flask) -> None:
    deposit = trader.get("/api/transactions", type="DEPOSIT_INR").get_json()["transactions"][0]
    trader.trade("buy", "1000")
    status, said = command(app, "transaction", "reverse", str(deposit["id"]), "--why", "x")
    assert status == 1
    assert InsufficientFunds(asset="INR", required=1, available=0).message in said
    assert (
        command(app, "transaction", "reverse", "999999", "--why", "x")[1]
        .strip()
        .endswith(TransactionNotFound.message)
    )


def test_halted_trading_refuses_trades_quotes_and_previews_until_resumed(trader: Trader, app: Flask) -> None:
    held = trader.post("/api/quote").get_json()["quote_id"]
    before = trader.balance()
    assert command(app, "trading", "halt", "--why", "drill")[0] == 0
    body = {"action": "buy", "type": "market", "amount": "100", "currency": "inr"}
    for answer in (
        trader.post("/api/trade", body),
        trader.post("/api/trade", {**body, "quote_id": held}),
        trader.post("/api/trade/preview", body),
        trader.post("/api/quote"),
    ):
        assert (answer.status_code, answer.get_json()["code"]) == (503, "trading_halted")
        assert int(answer.headers["Retry-After"]) > 0
    assert trader.balance() == before
    assert trader.get("/api/trading-rules").get_json()["trading_halted"] is True
    assert command(app, "trading", "resume", "--why", "over")[0] == 0
    assert trader.trade("buy", "100").status_code == 201


def test_halting_and_resuming_are_in_the_audit_log_with_their_operator(trader: Trader, app: Flask) -> None:
    command(app, "trading", "halt", "--why", "drill")
    command(app, "trading", "resume", "--why", "over")
    with app.app_context(), unit_of_work.reading() as session:
        rows = session.execute(
            sa.select(AuditEvent.action, AuditEvent.actor, AuditEvent.facts)
            .where(AuditEvent.action.like("trading_%"))
            .order_by(AuditEvent.id)
        ).all()
    assert [(row.action, json.loads(row.facts)["why"]) for row in rows] == [
        ("trading_halted", "drill"),
        ("trading_resumed", "over"),
    ]
    assert all(row.actor.startswith("operator ") for row in rows)


def test_books_that_do_not_add_up_halt_trading_and_say_so_loudly(
    trader: Trader, app: Flask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.trade("buy", "1000")
    with app.app_context():
        assert not halt.verify_or_halt().faults
        stolen = (
            sa.update(Balance)
            .where(Balance.user_id == trader.person.id)
            .values(available_btc=Balance.available_btc + 1)
        )
        unit_of_work.commit(lambda session: session.execute(stolen))
        with caplog.at_level(logging.CRITICAL):
            assert halt.verify_or_halt().faults
        assert "available_btc" in caplog.text
        monkeypatch.setattr(health, "_memory", health._Memory())
    assert trader.trade("buy", "100").get_json()["code"] == "trading_halted"
    report = trader.get("/api/health").get_json()
    assert (report["status"], report["trading"]) == ("DEGRADED", "halted")


def test_the_command_that_verifies_fails_on_a_tampered_leg(trader: Trader, app: Flask) -> None:
    trader.trade("buy", "1000")
    status, said = command(app, "ledger", "verify")
    assert (status, "the books are right" in said) == (0, True)
    with app.app_context():
        forged = (
            sa.update(LedgerLeg)
            .where(LedgerLeg.user_id.is_(None), LedgerLeg.asset == "INR")
            .values(amount=LedgerLeg.amount + 1)
        )
        unit_of_work.commit(lambda session: session.execute(forged))
    status, said = command(app, "ledger", "verify")
    assert status == 1
    assert "INR sums to" in said
