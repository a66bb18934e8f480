"""Fills that commit together: some dozens of orders in one database transaction of three messages (MariaDB).

As with trades (docs/adr/0039), nothing here waits for a lock, is tried again or knows a special case: whatever can't go
this way is left, untouched, for who fills orders one by one. What is decided and posted is the same code.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from bittrade import messages, unit_of_work, wire
from bittrade.database import Meaning, meaning_of
from bittrade.domain.receipt import PriceBasis
from bittrade.errors import BitTradeError
from bittrade.extensions import db
from bittrade.messages import Query, Transaction, Update
from bittrade.models import LimitOrderRow, User
from bittrade.services import ledger, market, settings
from bittrade.services.ledger import Held, Prepared
from bittrade.services.orders import book
from bittrade.services.orders.book import Changed, Filling

log = logging.getLogger(__name__)
_POOL = "bittrade_fills"
_SETTINGS = Query(settings.every_setting())
_PRICE = Query(market.newest_price())
_ORDERS = Query(
    sa.select(*LimitOrderRow.__table__.columns).where(
        LimitOrderRow.id.in_(sa.bindparam("ids", expanding=True))
    )
)
_DISABLED = Query(
    sa.select(User.id).where(
        User.id.in_(sa.bindparam("user_ids", expanding=True)), User.disabled_at.is_not(None)
    )
)
_ORDER = Update(LimitOrderRow.__table__, "id")


class Waiting(NamedTuple):
    """An order that the price has reached, and whose it is."""

    order_id: int
    user_id: int


def is_possible() -> bool:
    """Return whether this database takes several statements at once and skips locks."""
    return bool(getattr(db.engine.dialect, "is_mariadb", False)) and unit_of_work.is_schema_known()


def fill_together(batch: Sequence[Waiting]) -> tuple[list[Changed], list[Waiting]]:
    """Fill what may be filled of a batch, in its order; what changed, and what has to go alone.

    Raises TradingHalted, PriceUncertain or RatesUnavailable, and then nothing was filled.
    """
    try:
        with messages.transaction(messages.plain_engine(_POOL, size=1)) as transaction:
            return _fill(transaction, batch)
    except BitTradeError:
        raise
    except Exception as error:  # also one at COMMIT: who goes alone finds what was filled, and fills the rest
        cause = error.__cause__ if isinstance(error, messages.CommitFailed) else error
        meaning = meaning_of(cause)
        log.warning(
            "database: %d orders go alone: %s", len(batch), meaning.name, exc_info=meaning is Meaning.BUG
        )
        messages.plain_engine(_POOL, size=1).dispose()
        return [], list(batch)


def _fill(transaction: Transaction, batch: Sequence[Waiting]) -> tuple[list[Changed], list[Waiting]]:
    users = {"user_ids": sorted({order.user_id for order in batch})}
    balances, people, shut, rows, values, prices = transaction.ask(
        *ledger.locks(users["user_ids"]),
        (_DISABLED, users),
        (_ORDERS, {"ids": [order.order_id for order in batch]}),
        (_SETTINGS, {}),
        (_PRICE, {}),
    )
    now = wire.now()
    basis = market.judge(settings.with_defaults(values), prices[0] if prices else None, now)
    disabled = {person.id for person in shut}
    due = {row.id: row for row in rows if row.user_id not in disabled and book.is_due(row, basis.rates, now)}
    held = ledger.read_locks(balances, people)
    made, left = _prepare(batch, due, held, basis, now)
    if not made:
        return [], left
    prepared = [one for _, one in made]
    posted = ledger.insert_together(transaction, prepared, now=now)
    closings = [filling.closing(one) for (filling, _), one in zip(made, posted, strict=True)]
    transaction.commit(
        [
            *ledger.post_together(transaction, prepared, posted, held),
            *(_ORDER.write(transaction, closing.row.id, closing.columns) for closing in closings),
        ]
    )
    unit_of_work.writes().committed_at = time.monotonic()
    return [closing.changed() for closing in closings], left


def _prepare(
    batch: Sequence[Waiting],
    due: Mapping[int, Any],
    held: Mapping[int, Held],
    basis: PriceBasis,
    now: datetime,
) -> tuple[list[tuple[Filling, Prepared]], list[Waiting]]:
    """Decide each order on the balance that the one before has left; what to post, and what has to go alone."""
    balances = {user_id: one.balance for user_id, one in held.items()}
    made: list[tuple[Filling, Prepared]] = []
    left: list[Waiting] = []
    for order in batch:
        if order.user_id not in balances:
            left.append(order)  # somebody else holds that balance
        elif order.order_id in due:
            try:
                filling = book.decide_fill(due[order.order_id], basis, now)
                prepared = ledger.prepare(
                    order.user_id,
                    held=balances[order.user_id],
                    entry=filling.entry,
                    posting=filling.posting,
                    now=now,
                )
            except BitTradeError:
                left.append(order)  # alone, it is told what is wrong with it
                continue
            balances[order.user_id] = prepared.after
            made.append((filling, prepared))
    return made, left
