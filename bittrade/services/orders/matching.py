"""Filling limit orders that the price has reached: a job after each accepted price, and a sweep each few seconds.

However often it runs and wherever it is killed, an order fills once: who fills holds the lock of the user's balance and
finds the order open, and the database refuses a second transaction that closes it.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.database import Meaning, meaning_of
from bittrade.domain.orders import OrderStatus
from bittrade.domain.pricing import Rates
from bittrade.domain.trading import Action
from bittrade.errors import BitTradeError, PriceUncertain, RatesUnavailable, TradingHalted
from bittrade.logs import warn_seldom
from bittrade.models import LimitOrderRow, User
from bittrade.services import ledger, market, user_data
from bittrade.services.orders import book, together
from bittrade.services.orders.book import Changed
from bittrade.services.orders.together import Waiting

log = logging.getLogger(__name__)
BATCH = 64  # orders that commit together: their users wait for one another's COMMIT
NO_PRICE = (TradingHalted, PriceUncertain, RatesUnavailable)
TELL_FOR_S = 2.0  # a balance and a history are read for each user; the next price matters more
MAX_FILLS = 5000  # in one run; the next one, seconds away, goes on


def match() -> int:
    """Fill every open order that the current rates reach, in order of price and age; how many.

    A price that a trade would refuse fills nothing. Raises DatabaseUnavailable where there is no database to write to.
    """
    changes: list[Changed] = []
    alone: list[Waiting] = []
    try:
        for batch in _batches(_list_waiting()):
            filled, left = together.fill_together(batch) if together.is_possible() else _fill_batch(batch)
            changes += filled
            alone += left
        for order in alone:
            changes += _fill_alone(order)
    except NO_PRICE:
        pass  # it may not be traded on, or not any more
    finally:
        _publish(changes)
    return len(changes)


def _list_waiting() -> list[Waiting]:
    with unit_of_work.reading() as session:
        return _list_reached(session, market.price_for_trade(session, wire.now()).rates)


def _list_reached(session: Session, rates: Rates) -> list[Waiting]:
    """Return ids and users of what is reached: the best limit first, then the oldest. One range of an index a side."""
    found: list[Waiting] = []
    for query in reached(rates):
        found += [Waiting(row.id, row.user_id) for row in session.execute(query.limit(MAX_FILLS))]
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


def _batches(waiting: Sequence[Waiting]) -> Iterator[Sequence[Waiting]]:
    for start in range(0, len(waiting), BATCH):
        yield waiting[start : start + BATCH]


def _fill_batch(batch: Sequence[Waiting]) -> tuple[list[Changed], list[Waiting]]:
    """Fill these in one unit of work, for databases that can't do it `together`; where that fails, all go alone."""
    try:
        return unit_of_work.commit(lambda session: _fill(session, batch)), []
    except NO_PRICE:
        raise
    except (BitTradeError, exc.SQLAlchemyError):
        return [], list(batch)


def _fill_alone(order: Waiting) -> list[Changed]:
    """Fill one order: none waits for another's fault."""
    try:
        return unit_of_work.commit(lambda session: _fill(session, [order]))
    except NO_PRICE:
        raise
    except (BitTradeError, exc.SQLAlchemyError) as error:
        if meaning_of(error.__cause__) is Meaning.AWAY:
            raise  # nobody's order can be filled
        message = "orders were not filled, and are tried again each second; order %d: %s"
        warn_seldom(log, message, order.order_id, error, with_traceback=True)
        return []


def _fill(session: Session, batch: Sequence[Waiting]) -> list[Changed]:
    held = ledger.lock_balances(session, {order.user_id for order in batch})
    now = wire.now()
    basis = market.price_for_trade(session, now)
    disabled = set(
        session.scalars(sa.select(User.id).where(User.id.in_(held.keys()), User.disabled_at.is_not(None)))
    )
    numbers = [order.order_id for order in batch]
    rows: dict[int, Any] = {
        row.id: row for row in session.execute(book.select_orders(LimitOrderRow.id.in_(numbers)))
    }
    changes: list[Changed] = []
    for number in numbers:  # in the order in which they are due
        row = rows[number]
        if row.user_id in disabled or not book.is_due(row, basis.rates, now):
            continue  # since it was listed
        changed = book.execute(session, row, held=held[row.user_id], basis=basis, now=now)
        held[row.user_id] = changed.balance
        changes.append(changed)
    return changes


def _publish(changes: list[Changed]) -> None:
    """Publish after the last commit: each order, and each user's balance once, for as long as the next price can wait.

    Whoever is not told their balance in time is told by the process that holds their socket: it looks each second. For
    users without a socket nothing is made (docs/adr/0038).
    """
    newest = {changed.user_id: changed.balance for changed in changes}
    listeners = user_data.find_listeners(newest)
    for changed in changes:
        if changed.user_id in listeners:
            changed.publish_order()
    until = time.monotonic() + TELL_FOR_S
    for user_id in listeners:
        if time.monotonic() >= until:
            return
        user_data.publish(user_id, newest[user_id])
