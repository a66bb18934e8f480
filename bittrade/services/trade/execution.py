"""From an instruction, a price and a balance to what is posted and answered: the same for one trade and for many."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import wire
from bittrade.domain import trading
from bittrade.domain.pricing import age_ms
from bittrade.domain.receipt import PriceBasis, Receipt
from bittrade.domain.trading import Fill, Limits
from bittrade.errors import ClientOrderIdReused
from bittrade.models import Transaction
from bittrade.services import user_data
from bittrade.services.ledger import Posted, Posting
from bittrade.services.trade.instruction import Instruction


@dataclass(frozen=True, slots=True)
class Deal:
    """An order that was decided, and not yet posted."""

    instruction: Instruction
    basis: PriceBasis
    fill: Fill
    posting: Posting


def order_limits() -> Limits:
    """The smallest and largest order."""
    return Limits(current_app.config["MIN_ORDER_INR"], current_app.config["MAX_ORDER_INR"])


def decide(instruction: Instruction, basis: PriceBasis, held: dict[str, int]) -> Fill:
    """Price an order. Raises InvalidAmount, OrderOutOfRange, InsufficientFunds or PriceMoved."""
    fill = trading.decide(
        instruction.order,
        basis.rates,
        order_limits(),
        available_inr=held["available_inr"],
        available_btc=held["available_btc"],
    )
    if instruction.protection is not None:
        instruction.protection.check(fill.action, fill.price_inr)
    return fill


def make_deal(instruction: Instruction, basis: PriceBasis, held: dict[str, int], now: datetime) -> Deal:
    """Decide an order and write its receipt. Raises like `decide`."""
    fill = decide(instruction, basis, held)
    receipt = Receipt(basis, instruction.order, age_ms(basis.as_of, now), instruction.quote_id)
    posting = Posting(
        type=fill.kind,
        execution_price=fill.price_inr,
        receipt=orjson.dumps(receipt.to_json()).decode(),
        client_order_id=instruction.client_order_id,
    )
    return Deal(instruction, basis, fill, posting)


def answer(deal: Deal, posted: Posted) -> dict[str, Any]:
    """What the client is told of a trade that is posted."""
    return {
        "id": posted.transaction_id,
        **figures(deal.fill, deal.basis, posted.at),
        "status": "EXECUTED",
        "timestamp": wire.timestamp(posted.at),
        "seq": posted.balance["seq"],
        "client_order_id": deal.instruction.client_order_id,
        "quote_id": deal.instruction.quote_id,
        "updated_balance": user_data.balance_document(posted.balance),
    }


def figures(fill: Fill, basis: PriceBasis, now: datetime) -> dict[str, Any]:
    """What an order comes to, and at which price."""
    return {
        "type": fill.kind,
        "action": fill.action.value,
        "btc_amount": fill.satoshis,
        "inr_amount": fill.inr,
        "execution_price": fill.price_inr,
        "source": basis.source,
        "as_of": wire.timestamp(basis.as_of),
        "age_ms": age_ms(basis.as_of, now),
    }


def refuse_reused_id(session: Session, user_id: int, client_order_id: str | None) -> None:
    """Under the balance's lock two orders with one id can't both get past here; the database's index says it too."""
    if client_order_id is None:
        return
    known = session.scalar(
        sa.select(Transaction.id).where(
            Transaction.user_id == user_id, Transaction.client_order_id == client_order_id
        )
    )
    if known is not None:
        raise ClientOrderIdReused(transaction_id=known)
