"""Trading: orders, previews, quotes and the rules for them."""

import re
from typing import Any

from flask import Blueprint, request

from bittrade.api import limits
from bittrade.api.openapi import documented
from bittrade.api.schemas import PreviewAnswer, QuoteAnswer, RulesAnswer, TradeAnswer, TradeBody
from bittrade.api.security import current_user
from bittrade.domain.trading import Order, Protection
from bittrade.errors import (
    ClientOrderIdReused,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidAction,
    InvalidAmount,
    InvalidCurrency,
    InvalidIdempotencyKey,
    InvalidOrderType,
    OrderOutOfRange,
    OutcomeUnknown,
    PriceMoved,
    PriceUncertain,
    QuoteExpired,
    QuoteNotFound,
    QuoteUsed,
    RatesUnavailable,
    TooBusy,
    TooManyQuotes,
    TradingHalted,
)
from bittrade.services import orders, quotes, trade
from bittrade.services.auth import TRADE
from bittrade.services.trade import Instruction

blueprint = Blueprint("trade", __name__, url_prefix="/api")
NO_PRICE = (RatesUnavailable, PriceUncertain, TradingHalted)
REFUSALS = (
    InvalidAction,
    InvalidOrderType,
    InvalidCurrency,
    InvalidAmount,
    OrderOutOfRange,
    InsufficientFunds,
    ClientOrderIdReused,
    PriceMoved,
    QuoteNotFound,
    QuoteExpired,
    QuoteUsed,
    *NO_PRICE,
)


@blueprint.post("/trade")
@documented(
    TradeAnswer,
    *REFUSALS,
    InvalidIdempotencyKey,
    IdempotencyKeyReused,
    OutcomeUnknown,
    TooBusy,
    status=201,
    needs_token=True,
    scope=(TRADE,),
    limit=limits.TRADE,
    tag="trade",
)
def place_trade(json: TradeBody) -> Any:
    """Buy or sell at the current rate. Send an Idempotency-Key header to be able to retry safely."""
    user_id, key = current_user().user_id, idempotency_key()
    placed = trade.place_trade(user_id, _instruction(json), idempotency_key=key)
    return placed.answer, 201, {"Idempotent-Replayed": "true"} if placed.is_replay else {}


@blueprint.post("/trade/preview")
@documented(PreviewAnswer, *REFUSALS, needs_token=True, scope=(TRADE,), limit=limits.TRADE, tag="trade")
def preview_trade(json: TradeBody) -> Any:
    """Exactly what this trade would do now; moves nothing."""
    return trade.preview_trade(current_user().user_id, _instruction(json))


@blueprint.post("/quote")
@documented(
    QuoteAnswer,
    *NO_PRICE,
    TooBusy,
    TooManyQuotes,
    status=201,
    needs_token=True,
    scope=(TRADE,),
    limit=limits.TRADE,
    tag="trade",
)
def make_quote() -> Any:
    """Hold the current rates for some seconds, for one trade of this user. Takes no body."""
    return quotes.make_quote(current_user().user_id).document(), 201


@blueprint.get("/trading-rules")
@documented(RulesAnswer, tag="trade")
def trading_rules() -> Any:
    """The smallest and largest order, the steps, and the spread."""
    return {**trade.get_rules(), "max_open_orders": orders.MAX_OPEN_ORDERS}


def _instruction(body: TradeBody) -> Instruction:
    order = Order.parse(action=body.action, order_type=body.type, amount=body.amount, currency=body.currency)
    protection = None
    if body.expected_price is not None:
        protection = Protection(body.expected_price, body.max_slippage_bps or 0)
    return Instruction(order, body.client_order_id, protection, body.quote_id)


def idempotency_key() -> str | None:
    """The request's Idempotency-Key. Raises InvalidIdempotencyKey."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise InvalidIdempotencyKey()
    return key
