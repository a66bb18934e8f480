"""Trading: one unit of work that locks the balance, takes the newest price, and posts what follows."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain import trading
from bittrade.domain.money import PLACES, Asset
from bittrade.domain.pricing import age_ms
from bittrade.domain.receipt import PriceBasis, Receipt
from bittrade.domain.trading import Fill, Limits, Order, Protection
from bittrade.errors import (
    BitTradeError,
    ClientOrderIdReused,
    DatabaseUnavailable,
    OutcomeUnknown,
    TooBusy,
)
from bittrade.models import Transaction
from bittrade.services import audit, idempotency, ledger, market, quotes, settings, user_data
from bittrade.services.ledger import Posted, Posting

ROUTE = "trade"


@dataclass(frozen=True, slots=True)
class Instruction:
    """A client's order with its conditions."""

    order: Order
    client_order_id: str | None = None
    protection: Protection | None = None
    quote_id: str | None = None

    @property
    def fingerprint(self) -> str:
        """Return a hash of its meaning: "1000" and 1000 are the same order, another amount or condition is not.

        The text that is hashed is kept for as long as keys are: whatever is renamed here, it stays, or a retry after a
        deploy would be taken for another order. It looks like Python because that is what the first release hashed.
        """
        order, limit = self.order, self.protection
        protection = (
            limit
            and f"Protection(expected_price={limit.expected_price}, max_slippage_bps={limit.max_slippage_bps})"
        )
        text = (
            f"Instruction(order=Order(action=<Action.{order.action.value.upper()}: '{order.action.value}'>, "
            f"asset=<Asset.{order.asset.value}: '{order.asset.value}'>, amount={order.amount}), "
            f"client_order_id={_quoted(self.client_order_id)}, protection={protection}, "
            f"quote_id={_quoted(self.quote_id)})"
        )
        return hashlib.sha256(text.encode()).hexdigest()


def _quoted(name: str | None) -> str:
    """Return a name, which holds no quote and no backslash, as it stands in the hashed text."""
    return "None" if name is None else f"'{name}'"


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer to an order; `is_replay` when the same key was answered before."""

    answer: dict[str, Any]
    is_replay: bool


def place_trade(user_id: int, instruction: Instruction, *, idempotency_key: str | None = None) -> Placed:
    """Execute a market order, exactly once for one key.

    Raises InsufficientFunds, InvalidAmount, OrderOutOfRange, RatesUnavailable, PriceUncertain, TradingHalted, PriceMoved,
    the quote's errors, IdempotencyKeyReused, ClientOrderIdReused; TokenInvalid where who asks was logged out meanwhile;
    OutcomeUnknown where the database went away during COMMIT (the same key then tells).
    """

    fingerprint = instruction.fingerprint

    def work(session: Session) -> tuple[Placed, Posted | None]:
        held = ledger.lock_balance(session, user_id)
        first = idempotency.find_first_answer(
            session, user_id, route=ROUTE, key=idempotency_key, fingerprint=fingerprint
        )
        if first is not None:
            return Placed(first, is_replay=True), None
        posted, answer = _execute(session, user_id, instruction, held)
        idempotency.keep_answer(
            session, user_id, route=ROUTE, key=idempotency_key, fingerprint=fingerprint, answer=answer
        )
        return Placed(answer, is_replay=False), posted

    try:
        placed, posted = unit_of_work.commit_for(user_id, work)
    except (DatabaseUnavailable, OutcomeUnknown, TooBusy):
        raise  # nobody refused it, and there is nothing to write to, or no time
    except BitTradeError as error:
        audit.record_refusal(
            "trade_refused", cause=f"{user_id} {error.code}", user_id=user_id, code=error.code
        )
        raise
    if posted is not None:
        user_data.publish(user_id, posted.balance)
    return placed


def preview_trade(user_id: int, instruction: Instruction) -> dict[str, Any]:
    """What `place_trade` would do now, and the balance after it; moves nothing, and raises the same refusals."""
    now = wire.now()
    with unit_of_work.reading() as session:
        held = ledger.read_balance(session, user_id)
        refuse_reused_id(session, user_id, instruction.client_order_id)
        if instruction.quote_id is None:
            basis = market.price_for_trade(session, now)
        else:
            basis = quotes.read(session, user_id, instruction.quote_id, now)
    fill = _decide(instruction, basis, held)
    after = ledger.apply(held, fill.entry(user_id), user_id)
    return {**_figures(fill, basis, now), "updated_balance": wire.balance(after)}


def get_rules() -> dict[str, Any]:
    """What every order must keep to, and what the house takes."""
    with unit_of_work.reading() as session:
        values = settings.read_all(session)
    multipliers, limits = settings.multipliers(values), order_limits()
    spread_bps = (multipliers.buy - multipliers.sell) * 10_000 // multipliers.buy
    return {
        "order_types": ["market"],
        "min_order_inr": limits.min_inr,
        "max_order_inr": limits.max_inr,
        "inr_places": PLACES[Asset.INR],
        "btc_places": PLACES[Asset.BTC],
        "inr_step": 1,
        "btc_step_satoshis": 1,
        "buy_multiplier": values["buy_multiplier"],
        "sell_multiplier": values["sell_multiplier"],
        "spread_pct": wire.hundredths(spread_bps),
        "max_price_age_ms": current_app.config["MAX_PRICE_AGE_S"] * 1000,
        "quote_lifetime_ms": current_app.config["QUOTE_LIFETIME_S"] * 1000,
        "trading_halted": settings.TRADING_HALTED in values,
    }


def _execute(
    session: Session, user_id: int, instruction: Instruction, held: dict[str, int]
) -> tuple[Posted, dict[str, Any]]:
    now = wire.now()
    refuse_reused_id(session, user_id, instruction.client_order_id)
    if instruction.quote_id is None:
        basis = market.price_for_trade(session, now)
    else:
        basis = quotes.claim(session, user_id, instruction.quote_id, now)
    fill = _decide(instruction, basis, held)
    receipt = Receipt(basis, instruction.order, age_ms(basis.as_of, now), instruction.quote_id)
    posting = Posting(
        type=fill.kind,
        execution_price=fill.price_inr,
        receipt=orjson.dumps(receipt.to_json()).decode(),
        client_order_id=instruction.client_order_id,
    )
    posted = ledger.post(session, user_id, held=held, entry=fill.entry(user_id), posting=posting, now=now)
    return posted, _answer(instruction, fill, basis, posted)


def _decide(instruction: Instruction, basis: PriceBasis, held: dict[str, int]) -> Fill:
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


def order_limits() -> Limits:
    """The smallest and largest order."""
    return Limits(current_app.config["MIN_ORDER_INR"], current_app.config["MAX_ORDER_INR"])


def _answer(instruction: Instruction, fill: Fill, basis: PriceBasis, posted: Posted) -> dict[str, Any]:
    return {
        "id": posted.transaction_id,
        **_figures(fill, basis, posted.at),
        "status": "EXECUTED",
        "timestamp": wire.timestamp(posted.at),
        "seq": posted.balance["seq"],
        "client_order_id": instruction.client_order_id,
        "quote_id": instruction.quote_id,
        "updated_balance": user_data.balance_document(posted.balance),
    }


def _figures(fill: Fill, basis: PriceBasis, now: datetime) -> dict[str, Any]:
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
