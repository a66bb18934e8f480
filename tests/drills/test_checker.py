"""The checker is checked: it passes honest books, and fails on each kind of tampering, naming the invariant."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade.extensions import db
from drills import checker
from drills.history import BALANCE, PAGE, TRADE, Line
from drills.plan import buy_for, good_order, new_key
from tests.fixtures import Person


@dataclass
class Witness:
    """A client that keeps the history which the checker reads; each request takes a second of its own."""

    client: FlaskClient
    person: Person
    lines: list[Line]

    def trade(self, body: dict[str, Any], key: str | None, *, is_told: bool = True) -> dict[str, Any]:
        """Send an order; unless `is_told`, the client never learns what became of it."""
        headers = self.person.headers | ({"Idempotency-Key": key} if key else {})
        response = self.client.post("/api/trade", json=body, headers=headers)
        answer: dict[str, Any] = response.get_json()
        line = self._line(TRADE, response.status_code, answer, key=key, order=body)
        line = replace(line, is_replay=response.headers.get("Idempotent-Replayed") == "true")
        self.lines.append(line if is_told else replace(line, status=None, body=None, error="cut"))
        return answer

    def read(self, kind: str) -> None:
        path = {BALANCE: "/api/balance", PAGE: "/api/transactions"}[kind]
        response = self.client.get(path, headers=self.person.headers)
        self.lines.append(self._line(kind, response.status_code, response.get_json()))

    def _line(self, kind: str, status: int, body: dict[str, Any], **more: Any) -> Line:
        at = float(len(self.lines))
        return Line("test", kind, self.person.id, at, at + 0.5, status=status, body=body, **more)


@pytest.fixture
def witness(app: Flask, client: FlaskClient, make_user: Callable[..., Person], price: None) -> Witness:
    """Someone who has bought, sold, retried, been refused, and looked at it all."""
    witness = Witness(client, make_user(inr=1_000_000, btc=50_000_000), [])
    rng = random.Random(1)  # noqa: S311 - the same orders each time
    for number in range(6):
        body, key = good_order(rng), new_key(rng)
        witness.trade(body, key, is_told=number != 3)
        if number in (1, 3):
            witness.trade(body, key)
        witness.read(BALANCE)
        witness.read(PAGE)
    witness.trade(buy_for(90_000_000), new_key(rng))
    witness.trade({**buy_for(1), "amount": "NaN"}, new_key(rng))
    return witness


@pytest.fixture
def tamper(app: Flask) -> Callable[..., int]:
    """Run one statement behind the application's back: the number of rows it changed."""

    def run(statement: str, **values: object) -> int:
        with app.app_context(), db.engine.begin() as connection:
            return connection.execute(sa.text(statement), values).rowcount

    return run


@pytest.fixture
def broken(app: Flask, witness: Witness) -> Callable[[], set[str]]:
    """The names of the invariants that the checker finds broken."""

    def names() -> set[str]:
        with app.app_context(), db.engine.connect() as connection:
            return {result.name for result in checker.check(connection, witness.lines) if not result.is_ok}

    return names


def key_number(number: int) -> str:
    return new_key(random.Random(number))  # noqa: S311 - a key, no secret


def last_trade(witness: Witness) -> dict[str, Any]:
    return [line.body for line in witness.lines if line.is_acknowledged and line.body][-1]


def test_honest_books_pass(broken: Callable[[], set[str]], witness: Witness) -> None:
    assert len([line for line in witness.lines if line.is_acknowledged]) == 7
    assert broken() == set()


@pytest.mark.parametrize("asset", ["INR", "BTC"])
def test_a_changed_ledger_row_is_found(
    asset: str, witness: Witness, tamper: Callable[..., int], broken: Callable[[], set[str]]
) -> None:
    changed = tamper(
        "UPDATE ledger_legs SET amount = amount + 1 WHERE id = (SELECT * FROM"
        " (SELECT MAX(id) FROM ledger_legs WHERE user_id = :user AND asset = :asset) AS newest)",
        user=witness.person.id,
        asset=asset,
    )
    assert changed == 1
    assert {"I1", "I2", "I10"} <= broken()


def test_a_ledger_row_moved_to_another_account_is_found(
    witness: Witness, tamper: Callable[..., int], broken: Callable[[], set[str]]
) -> None:
    """Every asset still sums to zero; only the accounts tell."""
    assert tamper(
        "UPDATE ledger_legs SET account = 'reserved_inr' WHERE transaction_id = :id AND user_id = :user AND asset = 'INR'",
        id=last_trade(witness)["id"],
        user=witness.person.id,
    )
    assert {"I1", "I2", "I10"} <= broken()


def test_a_changed_balance_is_found(
    witness: Witness, tamper: Callable[..., int], broken: Callable[[], set[str]]
) -> None:
    assert tamper(
        "UPDATE balances SET available_inr = available_inr + 1 WHERE user_id = :id", id=witness.person.id
    )
    assert broken() == {"I2", "I10"}


def test_a_key_that_was_executed_twice_is_found(witness: Witness, broken: Callable[[], set[str]]) -> None:
    """The second execution posts honest books: only its missing key betrays it."""
    first = next(line for line in witness.lines if line.is_acknowledged)
    witness.trade(first.order or {}, None)
    witness.lines.pop()  # no client knows of it
    assert broken() == {"I4"}


def test_two_answers_to_one_key_are_found(witness: Witness, broken: Callable[[], set[str]]) -> None:
    first = next(line for line in witness.lines if line.is_acknowledged)
    answer = witness.trade(first.order or {}, key_number(2))
    witness.lines[-1] = replace(witness.lines[-1], key=first.key)
    assert answer["id"] != (first.body or {})["id"]
    assert "I4" in broken()


def test_a_dropped_acknowledged_trade_is_found(
    witness: Witness, tamper: Callable[..., int], broken: Callable[[], set[str]]
) -> None:
    """Dropped with everything that belongs to it, and the balance as it was before: the books alone look right."""
    trade = last_trade(witness)
    ours = {"id": trade["id"], "user": witness.person.id}
    for asset in ("inr", "btc"):
        assert tamper(
            f"UPDATE balances SET available_{asset} = available_{asset} -"  # noqa: S608 - our own names
            " (SELECT amount FROM ledger_legs WHERE transaction_id = :id AND user_id = :user AND asset = :asset)"
            " WHERE user_id = :user",
            asset=asset.upper(),
            **ours,
        )
    assert tamper("UPDATE balances SET seq = seq - 1 WHERE user_id = :user", user=ours["user"])
    key = "DELETE FROM idempotency_keys WHERE user_id = :user AND answer LIKE :answer"
    assert tamper(key, user=ours["user"], answer=f'%"id":{trade["id"]},%')
    assert tamper("DELETE FROM ledger_legs WHERE transaction_id = :id", id=trade["id"]) == 4
    assert tamper("DELETE FROM transactions WHERE id = :id", id=trade["id"])
    found = broken()
    assert "I5" in found
    assert not found & {"I1", "I2", "I3", "I10"}


@pytest.mark.parametrize("figure", ["btc_amount", "inr_amount", "execution_price", "seq", "timestamp"])
def test_an_answer_with_other_figures_is_found(
    figure: str, witness: Witness, broken: Callable[[], set[str]]
) -> None:
    number, line = next((n, line) for n, line in enumerate(witness.lines) if line.is_acknowledged)
    lie = "2024-07-20T10:30:00.000Z" if figure == "timestamp" else (line.body or {})[figure] + 1
    witness.lines[number] = replace(line, body={**(line.body or {}), figure: lie})
    assert "I4b" in broken()


def test_an_answer_with_another_balance_is_found(witness: Witness, broken: Callable[[], set[str]]) -> None:
    number, line = next((n, line) for n, line in enumerate(witness.lines) if line.is_acknowledged)
    body = line.body or {}
    balance = {**body["updated_balance"], "available_inr": 0}
    witness.lines[number] = replace(line, body={**body, "updated_balance": balance})
    assert broken() == {"I4b"}


def test_a_trade_that_was_not_what_was_ordered_is_found(
    witness: Witness, broken: Callable[[], set[str]]
) -> None:
    number, line = next((n, line) for n, line in enumerate(witness.lines) if line.is_acknowledged)
    witness.lines[number] = replace(line, order={**(line.order or {}), "amount": 77})
    assert "I4b" in broken()


def test_an_outcome_that_stayed_unknown_is_found(witness: Witness, broken: Callable[[], set[str]]) -> None:
    witness.trade(buy_for(1_000), key_number(3), is_told=False)
    assert broken() == {"I6"}


def test_a_refusal_that_was_executed_is_found(witness: Witness, broken: Callable[[], set[str]]) -> None:
    witness.trade(buy_for(1_000), key_number(3))
    witness.lines[-1] = replace(witness.lines[-1], status=400, body={"error": "no", "code": "no"})
    assert broken() == {"I6"}


def test_a_trade_that_nobody_sent_is_found(witness: Witness, broken: Callable[[], set[str]]) -> None:
    witness.trade(buy_for(1_000), key_number(3))
    witness.lines.pop()
    assert broken() == {"I6"}


def test_a_price_that_was_never_recorded_is_found(
    witness: Witness, tamper: Callable[..., int], broken: Callable[[], set[str]]
) -> None:
    assert tamper("UPDATE bitcoin_data SET btc_usd_cents = btc_usd_cents + 1")
    assert broken() == {"I8"}


def test_a_stale_price_is_found(
    witness: Witness, tamper: Callable[..., int], broken: Callable[[], set[str]]
) -> None:
    assert tamper("UPDATE bitcoin_data SET as_of = '2024-07-20 10:30:00.000000'")
    assert broken() == {"I8"}


def test_a_trade_at_another_price_is_found(
    witness: Witness, tamper: Callable[..., int], broken: Callable[[], set[str]]
) -> None:
    change = "UPDATE transactions SET execution_price = execution_price - 1 WHERE id = :id"
    assert tamper(change, id=last_trade(witness)["id"])
    assert {"I4b", "I8"} <= broken()


@pytest.mark.parametrize("kind", [BALANCE, PAGE])
def test_a_read_older_than_an_acknowledged_trade_is_found(
    kind: str, witness: Witness, broken: Callable[[], set[str]]
) -> None:
    """It began after the trade's answer, and shows what was true before."""
    older = next(line for line in witness.lines if line.kind == kind)
    at = float(len(witness.lines))
    witness.lines.append(replace(older, started_s=at, ended_s=at + 0.5))
    assert broken() == {"I9"}


def test_a_read_that_began_before_the_trades_answer_may_be_older(
    witness: Witness, broken: Callable[[], set[str]]
) -> None:
    older = next(line for line in witness.lines if line.kind == BALANCE)
    witness.lines.append(replace(older, ended_s=float(len(witness.lines))))
    assert broken() == set()


def test_a_balance_that_never_was_is_found(witness: Witness, broken: Callable[[], set[str]]) -> None:
    number, line = [(n, line) for n, line in enumerate(witness.lines) if line.kind == BALANCE][-1]
    witness.lines[number] = replace(line, body={**(line.body or {}), "available_btc": 1})
    assert broken() == {"I9"}


def test_a_page_with_a_gap_is_found(witness: Witness, broken: Callable[[], set[str]]) -> None:
    number, line = [(n, line) for n, line in enumerate(witness.lines) if line.kind == PAGE][-1]
    rows = (line.body or {})["transactions"]
    witness.lines[number] = replace(line, body={**(line.body or {}), "transactions": [rows[0], *rows[2:]]})
    assert broken() == {"I9"}


def test_a_gap_in_the_sequence_is_found(
    witness: Witness, tamper: Callable[..., int], broken: Callable[[], set[str]]
) -> None:
    assert tamper("UPDATE transactions SET seq = seq + 1 WHERE id = :id", id=last_trade(witness)["id"])
    assert "I10" in broken()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": 500}, "a 500"),
        ({"status": 503, "retry_after": None}, "a 503 that does not say when to come back"),
        ({"status": 503, "retry_after": "3600"}, "a 503 that says to come back in an hour"),
        ({"expects": "refused"}, "a bad order that was executed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_was_not_promised_is_found(
    change: dict[str, Any], why: str, witness: Witness, broken: Callable[[], set[str]]
) -> None:
    line = [line for line in witness.lines if line.is_acknowledged][-1]
    witness.lines.append(replace(line, **change))
    assert "answers" in broken(), why
