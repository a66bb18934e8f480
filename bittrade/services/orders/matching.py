"""Filling limit orders that the price has reached: a job after each accepted price, and a sweep each few seconds.

However often it runs and wherever it is killed, an order fills once: who fills holds the lock of the user's balance and
finds the order open, and the database refuses a second transaction that closes it.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.orders import OrderStatus
from bittrade.domain.pricing import Rates
from bittrade.domain.trading import Action
from bittrade.errors import BitTradeError, PriceUncertain, RatesUnavailable, TradingHalted
from bittrade.logs import warn_seldom
from bittrade.models import LimitOrderRow, User
from bittrade.services import ledger, market, user_data
from bittrade.services.orders import book
from bittrade.services.orders.book import Changed

log = logging.getLogger(__name__)
BATCH = 50  # orders that commit together
NO_PRICE = (TradingHalted, PriceUncertain, RatesUnavailable)
TELL_FOR_S = 2.0  # a balance and a history are read for each user; the next price matters more
MAX_FILLS = 5000  # in one run; the next one, seconds away, goes on


def match() -> int:
    """Fill every open order that the current rates reach, in order of price and age; how many.

    A price that a trade would refuse fills nothing.
    """
    with unit_of_work.reading() as session:
        try:
            rates = market.price_for_trade(session, wire.now()).rates
        except NO_PRICE:
            return 0
        waiting = _list_reached(session, rates)
    changes: list[Changed] = []
    for batch in _batches(waiting):
        filled = _fill_batch(batch)
        if filled is None:
            break  # the price may not be traded on any more
        changes += filled
    _publish(changes)
    return len(changes)


def _list_reached(session: Session, rates: Rates) -> list[tuple[int, int]]:
    """Return ids and users of what is reached: the best limit first, then the oldest. One range of an index a side."""
    found: list[tuple[int, int]] = []
    for query in reached(rates):
        found += [(row.id, row.user_id) for row in session.execute(query.limit(MAX_FILLS))]
    return found


def reached(rates: Rates, *conditions: sa.ColumnElement[bool]) -> list[Any]:
    """Return the queries, one a side, of what these rates reach: the best limit first, then the oldest.

    The orders of a disabled user wait. The join is an outer one so that the database can only begin with the orders.
    """
    queries: list[Any] = []
    for action, condition, order in (
        (Action.BUY, LimitOrderRow.limit_price >= rates.buy_inr, LimitOrderRow.limit_price.desc()),
        (Action.SELL, LimitOrderRow.limit_price <= rates.sell_inr, LimitOrderRow.limit_price.asc()),
    ):
        query = (
            sa.select(LimitOrderRow.id, LimitOrderRow.user_id)
            .outerjoin(User, User.id == LimitOrderRow.user_id)
            .where(LimitOrderRow.status == OrderStatus.OPEN, LimitOrderRow.action == action.value, condition)
            .where(User.disabled_at.is_(None), *conditions)
        )
        queries.append(query.order_by(order, LimitOrderRow.id))
    return queries


def _batches(waiting: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    rest = iter(waiting)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _fill_batch(batch: list[tuple[int, int]]) -> list[Changed] | None:
    """Fill these together; where that fails, one by one, so that no order waits for another's fault."""
    try:
        return unit_of_work.commit(lambda session: _fill(session, batch))
    except NO_PRICE:
        return None
    except (BitTradeError, exc.SQLAlchemyError) as error:
        if len(batch) == 1:
            message = "orders were not filled, and are tried again each second; order %d: %s"
            warn_seldom(log, message, batch[0][0], error, with_traceback=True)
            return []
    changes: list[Changed] = []
    for order in batch:
        changes += _fill_batch([order]) or []
    return changes


def _fill(session: Session, batch: list[tuple[int, int]]) -> list[Changed]:
    held = ledger.lock_balances(session, {user_id for _, user_id in batch})
    now = wire.now()
    basis = market.price_for_trade(session, now)
    numbers = [order_id for order_id, _ in batch]
    disabled = set(
        session.scalars(sa.select(User.id).where(User.id.in_(held.keys()), User.disabled_at.is_not(None)))
    )
    rows: dict[int, Any] = {
        row.id: row for row in session.execute(book.select_orders(LimitOrderRow.id.in_(numbers)))
    }
    changes: list[Changed] = []
    for number in numbers:  # in the order in which they are due
        row = rows[number]
        placed = book.limit_order(row)
        if row.status != OrderStatus.OPEN or placed.is_expired(now) or not placed.is_reached(basis.rates):
            continue
        if row.user_id in disabled:
            continue  # since it was listed
        changed = book.execute(session, row, held=held[row.user_id], basis=basis, now=now)
        held[row.user_id] = changed.balance
        changes.append(changed)
    return changes


def _publish(changes: list[Changed]) -> None:
    """Publish after the last commit: each order, and each user's balance once, for as long as the next price can wait.

    Whoever is not told their balance in time is told by the process that holds their socket: it looks each second.
    """
    for changed in changes:
        changed.publish_order()
    newest = {changed.user_id: changed.balance for changed in changes}
    until = time.monotonic() + TELL_FOR_S
    for user_id, balance in newest.items():
        if time.monotonic() >= until:
            return
        user_data.publish(user_id, balance)
