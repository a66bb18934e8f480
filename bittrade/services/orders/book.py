"""The rows of limit orders and the movements of their money, inside a caller's unit of work. It never commits.

Whoever calls what writes here holds the lock of the user's balance: that lock alone decides between a fill and a cancel.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import broadcast, wire
from bittrade.domain.ledger import Entry
from bittrade.domain.money import Asset
from bittrade.domain.orders import LimitOrder, OrderStatus
from bittrade.domain.pricing import Rates, age_ms
from bittrade.domain.receipt import PriceBasis, Receipt
from bittrade.domain.trading import Action, Fill, Order, fill
from bittrade.domain.transaction_types import ORDER_RELEASE, ORDER_RESERVE
from bittrade.errors import OrderNotFound, OrderNotOpen
from bittrade.models import LimitOrderRow, Transaction
from bittrade.services import ledger, user_data
from bittrade.services.ledger import Posted, Posting

_COLUMNS = tuple(LimitOrderRow.__table__.columns)
# How an order ended, in figures: the transaction that closed it.
_CLOSING = (Transaction.inr_amount, Transaction.btc_amount, Transaction.execution_price)


@dataclass(frozen=True, slots=True)
class Changed:
    """An order that changed in a unit of work: what to publish once that is committed."""

    user_id: int
    order: dict[str, Any]
    balance: dict[str, int]

    def publish(self) -> None:
        """Publish the balance, the history and the order to their owner."""
        user_data.publish(self.user_id, self.balance)
        self.publish_order()

    def publish_order(self) -> None:
        """Publish the order alone."""
        broadcast.order_changed(self.user_id, self.order)


def limit_order(row: Any) -> LimitOrder:
    """Return the pure value of a row."""
    return LimitOrder(
        Order(Action(row.action), Asset(row.asset), row.amount), row.limit_price, row.expires_at
    )


def is_due(row: Any, rates: Rates, now: datetime) -> bool:
    """Return whether an order is open, not over, and reached by these rates."""
    placed = limit_order(row)
    return row.status == OrderStatus.OPEN and not placed.is_expired(now) and placed.is_reached(rates)


def select_orders(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Return the query of orders as `wire.order` reads them."""
    return (
        sa.select(*_COLUMNS, *_CLOSING)
        .outerjoin(Transaction, Transaction.id == LimitOrderRow.closed_by_id)
        .where(*conditions)
    )


def read(session: Session, order_id: int, user_id: int) -> Any:
    """Return one order of this user. Raises OrderNotFound."""
    row = None
    if order_id <= ledger.MAX_BALANCE:  # no column holds more: SQLite's driver would not even ask
        query = select_orders(LimitOrderRow.id == order_id, LimitOrderRow.user_id == user_id)
        row = session.execute(query).first()
    if row is None:
        raise OrderNotFound()
    return row


def read_open(session: Session, order_id: int, user_id: int) -> Any:
    """Return one open order of this user. Raises OrderNotFound or OrderNotOpen."""
    row = read(session, order_id, user_id)
    if row.status != OrderStatus.OPEN:
        raise OrderNotOpen(order=wire.order(row._mapping))
    return row


def add(
    session: Session,
    user_id: int,
    *,
    held: dict[str, int],
    placed: LimitOrder,
    client_order_id: str | None,
    now: datetime,
) -> tuple[int, Posted]:
    """Reserve the order's money and write its row; its id and the balance. Raises InsufficientFunds."""
    posting = Posting(
        type=ORDER_RESERVE,
        execution_price=placed.limit_price,
        client_order_id=client_order_id,
    )
    posted = ledger.post(
        session, user_id, held=held, entry=placed.reserve_entry(user_id), posting=posting, now=now
    )
    session.execute(
        sa.insert(LimitOrderRow.__table__).values(
            id=posted.transaction_id,
            user_id=user_id,
            client_order_id=client_order_id,
            action=placed.order.action.value,
            asset=placed.order.asset.value,
            amount=placed.order.amount,
            limit_price=placed.limit_price,
            reserved=placed.reserve,
            status=OrderStatus.OPEN,
            expires_at=placed.expires_at,
            created_at=now,
        )
    )
    return posted.transaction_id, posted


@dataclass(frozen=True, slots=True)
class Filling:
    """An order that is to be filled, and what is posted for it."""

    row: Any
    fill: Fill
    entry: Entry
    posting: Posting

    def closing(self, posted: Posted) -> "Closing":
        """Return how its order ended, once it is posted."""
        return Closing(self.row, posted, OrderStatus.FILLED, fill=self.fill)


@dataclass(frozen=True, slots=True)
class Closing:
    """How an order ended, and by which transaction."""

    row: Any
    posted: Posted
    status: OrderStatus
    reason: str | None = None
    fill: Fill | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """Return what changes in its row."""
        return {
            "status": self.status.value,
            "closed_at": self.posted.at,
            "closed_by_id": self.posted.transaction_id,
            "reason": self.reason,
        }

    def changed(self) -> Changed:
        """Return what to publish."""
        figures: dict[str, int | None] = dict.fromkeys(("inr_amount", "btc_amount", "execution_price"))
        if (fill := self.fill) is not None:
            figures = {
                "inr_amount": fill.inr,
                "btc_amount": fill.satoshis,
                "execution_price": fill.price_inr,
            }
        order = wire.order({**self.row._asdict(), **self.columns, **figures})
        return Changed(self.row.user_id, order, self.posted.balance)


def decide_fill(row: Any, basis: PriceBasis, now: datetime) -> Filling:
    """Fill an open order at the current rate: spend what it reserved, return the rest. Nothing is posted yet."""
    placed = limit_order(row)
    filled = fill(placed.order, basis.rates)
    receipt = Receipt(basis, placed.order, age_ms(basis.as_of, now))
    posting = Posting(
        type=placed.kind,
        execution_price=filled.price_inr,
        receipt=orjson.dumps(receipt.to_json()).decode(),
        order_id=row.id,
    )
    return Filling(row, filled, placed.fill_entry(row.user_id, filled), posting)


def execute(session: Session, row: Any, *, held: dict[str, int], basis: PriceBasis, now: datetime) -> Changed:
    """Fill an open order at the current rate, and close it."""
    made = decide_fill(row, basis, now)
    posted = ledger.post(session, row.user_id, held=held, entry=made.entry, posting=made.posting, now=now)
    return _close(session, made.closing(posted))


def release(
    session: Session,
    row: Any,
    *,
    held: dict[str, int],
    status: OrderStatus,
    reason: str | None,
    now: datetime,
) -> Changed:
    """Give back what an open order reserved, and close it as cancelled or expired."""
    placed = limit_order(row)
    posting = Posting(
        type=ORDER_RELEASE,
        order_id=row.id,
    )
    entry = placed.release_entry(row.user_id)
    posted = ledger.post(session, row.user_id, held=held, entry=entry, posting=posting, now=now)
    return _close(session, Closing(row, posted, status, reason))


def _close(session: Session, closing: Closing) -> Changed:
    is_it = LimitOrderRow.id == closing.row.id
    session.execute(sa.update(LimitOrderRow).where(is_it).values(**closing.columns))
    return closing.changed()
