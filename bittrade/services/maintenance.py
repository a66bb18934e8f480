"""Purging what has served its purpose, in small units of work and for a bounded time; the next run goes on.

Nothing that money depends on is touched: balances, transactions, the ledger and the audit log stay for ever.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.models import BitcoinPriceEvent, IdempotencyKey, LoginFailure, LoginSession, Quote

BATCH_ROWS = 2000
RUN_S = 15.0


@dataclass(frozen=True, slots=True)
class Purge:
    """One table, and which of its rows may go."""

    table: Any
    is_old: sa.ColumnElement[bool]


def _purges(now: datetime) -> tuple[Purge, ...]:
    day = timedelta(days=1)
    return (
        Purge(Quote, Quote.expires_at < now - day),
        # The contract promises 24 h; a client that retries a day later must still find the first answer.
        Purge(IdempotencyKey, IdempotencyKey.created_at < now - 2 * day),
        Purge(
            LoginFailure,
            (LoginFailure.last_failed_at < now - day)
            & (LoginFailure.locked_until.is_(None) | (LoginFailure.locked_until < now)),
        ),
        Purge(LoginSession, LoginSession.expires_at < now - 7 * day),
        Purge(BitcoinPriceEvent, BitcoinPriceEvent.at < now - 90 * day),
    )


def purge(*, run_s: float = RUN_S) -> dict[str, int]:
    """Delete expired rows; return how many went from each table.

    Each table has a budget: its share of the time that is left, so that a large one costs no other its turn; what the
    others leave over goes to those that are not through.
    """
    deadline = time.monotonic() + run_s
    steps = list(_purges(wire.now()))
    deleted = {step.table.__tablename__: 0 for step in steps}
    while steps and time.monotonic() < deadline:
        unfinished = []
        for place, step in enumerate(steps):
            budget_s = (deadline - time.monotonic()) / (len(steps) - place)
            count, is_through = _purge_table(step, until=time.monotonic() + budget_s)
            deleted[step.table.__tablename__] += count
            if not is_through:
                unfinished.append(step)
        steps = unfinished
    return deleted


def _purge_table(step: Purge, *, until: float) -> tuple[int, bool]:
    """Delete a table's expired rows in batches; return how many went, and whether all did."""
    total = 0
    while time.monotonic() < until:
        count = unit_of_work.commit(lambda session: _purge_batch(session, step))
        total += count
        if count < BATCH_ROWS:
            return total, True
    return total, False


def _purge_batch(session: Session, step: Purge) -> int:
    """Read the keys first: a DELETE with a range would lock what lies between, and has no LIMIT on SQLite."""
    key = sa.inspect(step.table).primary_key
    rows = [tuple(row) for row in session.execute(sa.select(*key).where(step.is_old).limit(BATCH_ROWS))]
    if rows:
        session.execute(sa.delete(step.table.__table__).where(sa.tuple_(*key).in_(rows), step.is_old))
    return len(rows)
