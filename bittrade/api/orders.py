"""Limit orders: placing, previewing, listing and cancelling. A market order sent here executes at once, as a trade."""

from typing import Any

from flask import Blueprint

from bittrade.api import limits
from bittrade.api.openapi import documented
from bittrade.api.order_schemas import (
    CancelledOrderAnswer,
    CancelledOrdersAnswer,
    CancelledTransactionAnswer,
    LimitOrderAnswer,
    OrderBody,
    OrderPreviewAnswer,
    OrdersAnswer,
    OrdersQuery,
    PlacedOrderAnswer,
)
from bittrade.api.security import current_user
from bittrade.api.trade import REFUSALS, idempotency_key
from bittrade.domain.money import Asset, parse_amount
from bittrade.domain.orders import LimitOrder
from bittrade.domain.trading import Action, Order
from bittrade.errors import (
    IdempotencyKeyReused,
    InvalidIdempotencyKey,
    InvalidInput,
    InvalidLimitPrice,
    MissingFields,
    NotPending,
    OrderNotFound,
    OrderNotOpen,
    OutcomeUnknown,
    TooBusy,
    TooManyOrders,
    TransactionNotFound,
)
from bittrade.services import orders, trade
from bittrade.services.auth import READ, TRADE
from bittrade.services.orders import OrderRequest
from bittrade.services.trade import Instruction

blueprint = Blueprint("orders", __name__, url_prefix="/api")
TAG = "orders"
PLACING = (*REFUSALS, InvalidLimitPrice, TooManyOrders)
COMMITTING = (OutcomeUnknown, TooBusy)


@blueprint.post("/orders")
@documented(
    PlacedOrderAnswer,
    *PLACING,
    InvalidIdempotencyKey,
    IdempotencyKeyReused,
    *COMMITTING,
    status=201,
    needs_token=True,
    scope=(TRADE,),
    limit=limits.TRADE,
    tag=TAG,
)
def place_order(json: OrderBody) -> Any:
    """Place a limit order: it reserves the most that it can cost, and fills whole once the rate is as good as its limit."""
    user_id, key = current_user().user_id, idempotency_key()
    wanted = parse(json)
    if isinstance(wanted, Instruction):
        traded = trade.place_trade(user_id, wanted, idempotency_key=key)
        answer, is_replay = {**traded.answer, "transactionId": traded.answer["id"]}, traded.is_replay
    else:
        placed = orders.place_order(user_id, wanted, idempotency_key=key)
        answer, is_replay = placed.answer, placed.is_replay
    return answer, 201, {"Idempotent-Replayed": "true"} if is_replay else {}


@blueprint.post("/orders/preview")
@documented(OrderPreviewAnswer, *PLACING, needs_token=True, scope=(TRADE,), limit=limits.TRADE, tag=TAG)
def preview_order(json: OrderBody) -> Any:
    """Return what this order would reserve; moves nothing."""
    user_id, wanted = current_user().user_id, parse(json)
    if isinstance(wanted, Instruction):
        return trade.preview_trade(user_id, wanted)
    return orders.preview_order(user_id, wanted)


@blueprint.get("/orders")
@documented(OrdersAnswer, needs_token=True, scope=(READ,), tag=TAG)
def list_orders(query: OrdersQuery) -> Any:
    """List the user's orders, newest first."""
    return orders.list_orders(
        current_user().user_id, status=query.status, limit=query.limit, before_id=query.before_id
    )


@blueprint.get("/orders/<int:order_id>")
@documented(LimitOrderAnswer, OrderNotFound, needs_token=True, scope=(READ,), tag=TAG)
def get_order(order_id: int) -> Any:
    """Return one order."""
    return orders.get_order(current_user().user_id, order_id)


@blueprint.delete("/orders/<int:order_id>")
@documented(
    CancelledOrderAnswer,
    OrderNotFound,
    OrderNotOpen,
    *COMMITTING,
    needs_token=True,
    scope=(TRADE,),
    limit=limits.TRADE,
    tag=TAG,
)
def cancel_order(order_id: int) -> Any:
    """Cancel an open order and give back what it reserved."""
    return orders.cancel_order(current_user().user_id, order_id)


@blueprint.delete("/orders")
@documented(CancelledOrdersAnswer, *COMMITTING, needs_token=True, scope=(TRADE,), limit=limits.TRADE, tag=TAG)
def cancel_orders() -> Any:
    """Cancel all open orders, all of them or none."""
    return orders.cancel_all(current_user().user_id)


@blueprint.delete("/transactions/<int:transaction_id>/cancel")
@documented(
    CancelledTransactionAnswer,
    TransactionNotFound,
    NotPending,
    *COMMITTING,
    needs_token=True,
    scope=(TRADE,),
    limit=limits.TRADE,
    tag=TAG,
)
def cancel_transaction(transaction_id: int) -> Any:
    """Cancel an open order by the id that its PENDING row of the history has."""
    try:
        before = orders.get_order(current_user().user_id, transaction_id)
        orders.cancel_order(current_user().user_id, transaction_id)
    except OrderNotFound as error:
        raise TransactionNotFound() from error
    except OrderNotOpen as error:
        raise NotPending() from error
    is_buy = before["side"] == "buy"
    released = {"inr_amount": before["reserved_inr"]} if is_buy else {"btc_amount": before["reserved_btc"]}
    return {
        "message": "Order cancelled",
        "transactionId": transaction_id,
        "type": before["type"],
        "funds_released": released,
    }


def parse(body: OrderBody) -> OrderRequest | Instruction:
    """Read either form of the body. Raises the child of InvalidInput that names what is wrong."""
    kind = body.type
    if kind in ("LIMIT_BUY", "LIMIT_SELL", "MARKET_BUY", "MARKET_SELL"):
        order_type, _, side = kind.lower().partition("_")
        order = _later_client_s(body, Action(side))
        price = body.execution_price if body.limit_price is None else body.limit_price
    else:
        order_type, price = kind, body.limit_price
        # The order itself is read as a trade's; what a limit order is besides is read below.
        as_market = "market" if kind == "limit" else kind
        order = Order.parse(
            action=body.side, order_type=as_market, amount=body.amount, currency=body.currency
        )
    if order_type == "market":
        return Instruction(order, body.client_order_id)
    if price is None:
        raise MissingFields("Missing required fields: limit_price")
    return OrderRequest(
        LimitOrder(order, parse_amount(price, Asset.INR), _expiry(body)), body.client_order_id
    )


def _later_client_s(body: OrderBody, side: Action) -> Order:
    """Read what a buy spends or a sell sells, in whole units; the other amount is the client's sum, and ignored."""
    name, asset = ("inr_amount", Asset.INR) if side is Action.BUY else ("btc_amount", Asset.BTC)
    amount = getattr(body, name)
    if amount is None:
        raise MissingFields(f"Missing required fields: {name}")
    return Order(side, asset, parse_amount(amount, Asset.INR))  # satoshis are whole numbers as rupees are


def _expiry(body: OrderBody) -> Any:
    if (body.time_in_force == "gtd") != (body.expires_at is not None):
        raise InvalidInput("time_in_force gtd and expires_at belong together", field="expires_at")
    return body.expires_at
