"""Ending limit orders without a fill: cancelled by their owner or an operator, or expired."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.orders import OrderStatus
from bittrade.errors import InvalidInput, OrderNotFound
from bittrade.models import LimitOrderRow
from bittrade.services import audit, ledger, user_data
from bittrade.services.orders import book
from bittrade.services.orders.book import Changed

EXPIRED_AT_ONCE = 100
MAX_REASON = 255  # characters; the column holds no more


def cancel_order(user_id: int, order_id: int) -> dict[str, Any]:
    """Cancel an open order; the order as it ended, and the balance. Raises OrderNotFound or OrderNotOpen."""
    changed = unit_of_work.commit_for(user_id, lambda session: _cancel(session, user_id, order_id, None))
    changed.publish()
    return {**changed.order, "updated_balance": user_data.balance_document(changed.balance)}


def cancel_as_operator(order_id: int, *, why: str) -> dict[str, Any]:
    """Cancel anybody's open order. Raises InvalidInput (no reason, or a long one), OrderNotFound or OrderNotOpen."""
    why = audit.read_reason(why)
    if len(why) > MAX_REASON:
        raise InvalidInput(f"Say why in {MAX_REASON} characters", field="why")
    with unit_of_work.reading() as session:
        user_id = session.scalar(sa.select(LimitOrderRow.user_id).where(LimitOrderRow.id == order_id))
    if user_id is None:
        raise OrderNotFound()

    def work(session: Session) -> Changed:
        changed = _cancel(session, user_id, order_id, why)
        audit.record(session, "order_cancelled", user_id=user_id, order_id=order_id, why=why)
        return changed

    changed = unit_of_work.commit_for(user_id, work)
    changed.publish()
    return changed.order


def cancel_all(user_id: int) -> dict[str, Any]:
    """Cancel every open order of a user in one unit of work: all of them or none."""

    def work(session: Session) -> list[Changed]:
        held = ledger.lock_balance(session, user_id)
        is_open = (LimitOrderRow.user_id == user_id, LimitOrderRow.status == OrderStatus.OPEN)
        rows = session.execute(book.select_orders(*is_open).order_by(LimitOrderRow.id)).all()
        changes: list[Changed] = []
        for row in rows:
            changes.append(
                book.release(
                    session, row, held=held, status=OrderStatus.CANCELLED, reason=None, now=wire.now()
                )
            )
            held = changes[-1].balance
        return changes

    changes = unit_of_work.commit_for(user_id, work)
    if changes:
        user_data.publish(user_id, changes[-1].balance)
    for changed in changes:
        changed.publish_order()
    return {"cancelled": len(changes), "orders": [changed.order for changed in changes]}


def close_expired() -> int:
    """End the orders whose time is over; how many."""
    now = wire.now()
    is_over = (LimitOrderRow.status == OrderStatus.OPEN, LimitOrderRow.expires_at <= now)
    with unit_of_work.reading() as session:
        query = sa.select(LimitOrderRow.id, LimitOrderRow.user_id).where(*is_over)
        found = session.execute(query.order_by(LimitOrderRow.expires_at).limit(EXPIRED_AT_ONCE)).all()
    closed = [
        changed
        for order_id, user_id in found
        if (changed := unit_of_work.commit(_expiry(order_id, user_id))) is not None
    ]
    for changed in closed:
        changed.publish()
    return len(closed)


def has_overdue(*, by_s: float) -> bool:
    """Return whether an order that expired is still open `by_s` seconds later: nobody sweeps."""
    deadline = wire.now() - timedelta(seconds=by_s)
    with unit_of_work.reading() as session:
        query = sa.select(LimitOrderRow.id).where(
            LimitOrderRow.status == OrderStatus.OPEN, LimitOrderRow.expires_at <= deadline
        )
        return session.execute(query.limit(1)).first() is not None


def _expiry(order_id: int, user_id: int) -> Any:
    def work(session: Session) -> Changed | None:
        held = ledger.lock_balance(session, user_id)
        row = book.read(session, order_id, user_id)
        if row.status != OrderStatus.OPEN:
            return None  # it was filled or cancelled meanwhile
        return book.release(session, row, held=held, status=OrderStatus.EXPIRED, reason=None, now=wire.now())

    return work


def _cancel(session: Session, user_id: int, order_id: int, reason: str | None) -> Changed:
    held = ledger.lock_balance(session, user_id)
    row = book.read_open(session, order_id, user_id)
    return book.release(session, row, held=held, status=OrderStatus.CANCELLED, reason=reason, now=wire.now())
