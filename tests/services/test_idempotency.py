"""Keys that an earlier release kept are known: what is hashed of an order never changes."""

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import wire
from bittrade.domain.money import Asset
from bittrade.domain.trading import Action, Order, Protection
from bittrade.extensions import db
from bittrade.models import IdempotencyKey
from bittrade.services.trade import Instruction
from tests.fixtures import new_user, set_price

# Made by the first release, of the orders beside them.
RECORDED = [
    (
        Instruction(Order(Action.BUY, Asset.INR, 1000)),
        "4519e6ee1da8c0456f17a7d98294502b72af724fd65c4c431d56429d944759bf",
    ),
    (
        Instruction(Order(Action.SELL, Asset.BTC, 50_000), "order-1", Protection(4_095_000, 25), "ab" * 16),
        "498d72c2602575d9d97eca6b1b24570b5ce5d0de77b5e97f67eb3766a55000fe",
    ),
]


@pytest.mark.parametrize(("instruction", "recorded"), RECORDED)
def test_an_order_s_fingerprint_is_what_it_always_was(instruction: Instruction, recorded: str) -> None:
    assert instruction.fingerprint == recorded


def test_a_retry_after_an_upgrade_gets_the_first_answer(
    inside: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_price(inside)
    user = new_user(inside, inr=5000)
    with db.engine.begin() as connection:
        connection.execute(
            sa.insert(IdempotencyKey.__table__).values(
                user_id=user.id,
                route="trade",
                key="from-before",
                fingerprint=RECORDED[0][1],
                answer='{"id": 7}',
                created_at=wire.now(),
            )
        )
    order = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}
    client, headers = inside.test_client(), {**user.headers, "Idempotency-Key": "from-before"}
    monkeypatch.setitem(inside.config, "TESTING", False)  # the recorded answer is shorter than a real one
    again = client.post("/api/trade", json=order, headers=headers)
    assert (again.get_json(), again.headers["Idempotent-Replayed"]) == ({"id": 7}, "true")
    other = client.post("/api/trade", json={**order, "amount": "1001"}, headers=headers)
    assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")
