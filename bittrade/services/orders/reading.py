"""A user's own orders; and everybody's, for operators."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from bittrade import unit_of_work, wire
from bittrade.errors import OrderNotFound
from bittrade.models import LimitOrderRow
from bittrade.services.orders import book


def get_order(user_id: int, order_id: int) -> dict[str, Any]:
    """Return one order of this user. Raises OrderNotFound."""
    with unit_of_work.reading() as session:
        return wire.order(book.read(session, order_id, user_id)._mapping)


def get_for_operator(order_id: int) -> dict[str, Any]:
    """Return anybody's order, with its owner's id. Raises OrderNotFound."""
    with unit_of_work.reading() as session:
        row = session.execute(book.select_orders(LimitOrderRow.id == order_id)).first()
    if row is None:
        raise OrderNotFound()
    return {"user_id": row.user_id, **wire.order(row._mapping)}


def list_for_operator(*, user_id: int | None, status: str | None, limit: int) -> list[dict[str, Any]]:
    """Return everybody's or one user's orders, newest first, each with its owner's id."""
    conditions = [] if user_id is None else [LimitOrderRow.user_id == user_id]
    if status is not None:
        conditions.append(LimitOrderRow.status == status)
    query = book.select_orders(*conditions).order_by(LimitOrderRow.id.desc()).limit(limit)
    with unit_of_work.reading() as session:
        return [{"user_id": row.user_id, **wire.order(row._mapping)} for row in session.execute(query)]


def list_orders(user_id: int, *, status: str | None, limit: int, before_id: int | None) -> dict[str, Any]:
    """Return a page of orders, newest first; `next_before_id` is the cursor of the next one."""
    conditions: list[sa.ColumnElement[bool]] = [LimitOrderRow.user_id == user_id]
    if status is not None:
        conditions.append(LimitOrderRow.status == status)
    if before_id is not None:
        conditions.append(LimitOrderRow.id < before_id)
    with unit_of_work.reading() as session:
        query = book.select_orders(*conditions).order_by(LimitOrderRow.id.desc()).limit(limit + 1)
        rows = [wire.order(row._mapping) for row in session.execute(query)]
    has_more = len(rows) > limit
    return {
        "orders": rows[:limit],
        "limit": limit,
        "hasMore": has_more,
        "next_before_id": rows[limit - 1]["id"] if has_more else None,
    }


def list_changed(user_id: int, order_ids: Collection[int]) -> list[dict[str, Any]]:
    """Return these orders of this user, oldest first."""
    if not order_ids:
        return []
    with unit_of_work.reading() as session:
        query = book.select_orders(LimitOrderRow.user_id == user_id, LimitOrderRow.id.in_(order_ids))
        return [wire.order(row._mapping) for row in session.execute(query.order_by(LimitOrderRow.id))]
