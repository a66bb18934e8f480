"""Placing limit orders: one unit of work that reserves the money, and fills at once what the price has reached."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.orders import LimitOrder, OrderStatus
from bittrade.errors import InvalidInput, TooManyOrders
from bittrade.models import LimitOrderRow
from bittrade.services import idempotency, ledger, market, trade, user_data
from bittrade.services.orders import book
from bittrade.services.orders.book import Changed

ROUTE = "orders"
MAX_OPEN_ORDERS = 100


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A client's limit order."""

    placed: LimitOrder
    client_order_id: str | None = None

    @property
    def fingerprint(self) -> str:
        """Return a hash of its meaning: "1000" and 1000 are the same order, another amount or limit is not."""
        order, placed = self.placed.order, self.placed
        expires_at = placed.expires_at and placed.expires_at.isoformat()
        meaning = [order.action, order.asset, order.amount, placed.limit_price, expires_at]
        return hashlib.sha256(orjson.dumps(["limit", *meaning, self.client_order_id])).hexdigest()


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """The answer to an order; `is_replay` when the same key was answered before."""

    answer: dict[str, Any]
    is_replay: bool


def place_order(user_id: int, wanted: OrderRequest, *, idempotency_key: str | None = None) -> PlacedOrder:
    """Reserve the most that an order can cost and let it wait; exactly once for one key.

    Raises InvalidInput's children, InsufficientFunds, TooManyOrders, the reasons for which there is no price to trade
    on, ClientOrderIdReused, IdempotencyKeyReused; OutcomeUnknown where the database went away during COMMIT.
    """

    def work(session: Session) -> tuple[PlacedOrder, Changed | None]:
        held = ledger.lock_balance(session, user_id)
        key = {"route": ROUTE, "key": idempotency_key, "fingerprint": wanted.fingerprint}
        first = idempotency.find_first_answer(session, user_id, **key)  # type: ignore[arg-type]
        if first is not None:
            return PlacedOrder(first, is_replay=True), None
        changed = _place(session, user_id, wanted, held)
        answer = _answer(changed)
        idempotency.keep_answer(session, user_id, **key, answer=answer)  # type: ignore[arg-type]
        return PlacedOrder(answer, is_replay=False), changed

    placed, changed = unit_of_work.commit_for(user_id, work)
    if changed is not None:
        changed.publish()
    return placed


def preview_order(user_id: int, wanted: OrderRequest) -> dict[str, Any]:
    """Return what `place_order` would reserve, and the balance after it; moves nothing, raises the same refusals."""
    placed, now = wanted.placed, wire.now()
    with unit_of_work.reading() as session:
        held = ledger.read_balance(session, user_id)
        trade.refuse_reused_id(session, user_id, wanted.client_order_id)
        basis = _check(session, user_id, placed, now)
    after = ledger.apply(held, placed.reserve_entry(user_id), user_id)
    worst = placed.at_limit()
    return {
        "side": placed.order.action.value,
        "type": placed.kind,
        "limit_price": placed.limit_price,
        "inr_amount": worst.inr,
        "btc_amount": worst.satoshis,
        "reserved_inr": after["reserved_inr"] - held["reserved_inr"],
        "reserved_btc": after["reserved_btc"] - held["reserved_btc"],
        "fills_now": placed.is_reached(basis.rates),
        "updated_balance": wire.balance(after),
    }


def _place(session: Session, user_id: int, wanted: OrderRequest, held: dict[str, int]) -> Changed:
    now = wire.now()
    trade.refuse_reused_id(session, user_id, wanted.client_order_id)
    basis = _check(session, user_id, wanted.placed, now)
    order_id, posted = book.add(
        session, user_id, held=held, placed=wanted.placed, client_order_id=wanted.client_order_id, now=now
    )
    row = book.read(session, order_id, user_id)
    if wanted.placed.is_reached(basis.rates):
        return book.execute(session, row, held=posted.balance, basis=basis, now=now)
    return Changed(user_id, wire.order(row._mapping), posted.balance)


def _check(session: Session, user_id: int, placed: LimitOrder, now: Any) -> Any:
    """Return the price to trade on, for an order that may be placed."""
    if placed.is_expired(now):
        raise InvalidInput("Invalid expires_at: it is over already", field="expires_at")
    basis = market.price_for_trade(session, now)
    placed.check(basis.rates, trade.order_limits())
    open_orders = session.scalar(
        sa.select(sa.func.count())
        .select_from(LimitOrderRow)
        .where(LimitOrderRow.user_id == user_id, LimitOrderRow.status == OrderStatus.OPEN)
    )
    if (open_orders or 0) >= MAX_OPEN_ORDERS:
        raise TooManyOrders(max_open_orders=MAX_OPEN_ORDERS)
    return basis


def _answer(changed: Changed) -> dict[str, Any]:
    return {
        **changed.order,
        "transactionId": changed.order["id"],
        "seq": changed.balance["seq"],
        "updated_balance": user_data.balance_document(changed.balance),
    }
