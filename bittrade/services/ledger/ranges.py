"""How the proof cuts the books into ranges: no statement reads more than about ROWS transactions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from bittrade.models import LedgerLeg, Transaction

ROWS = 4_000  # some 2 MB of text
WINDOWS = 200  # users in one statement


@dataclass(frozen=True, slots=True)
class Range:
    """Which transactions to read; and which legs must be theirs, where that can be said."""

    transactions: sa.ColumnElement[bool]
    legs: sa.ColumnElement[bool] | None = None


def whole_ranges(last_id: int) -> Iterator[Range]:
    """Everything, by ids; the first and the last range are open, so that a leg of any transaction is counted."""
    starts = range(0, last_id + 1, ROWS)
    for start in starts:
        conditions = []
        for column in (Transaction.id, LedgerLeg.transaction_id):
            above = column > start if start else sa.true()
            conditions.append(sa.and_(above, column <= start + ROWS) if start + ROWS <= last_id else above)
        yield Range(*conditions)


def recent_ranges(seqs: Mapping[int, tuple[int, int]]) -> Iterator[Range]:
    """What came after a `seq` up to another, for each user. `seqs`: user → (after, up to)."""
    windows: list[sa.ColumnElement[bool]] = []
    size = 0
    for user_id, (after, until) in seqs.items():
        while after < until:
            upper = min(until, after + ROWS - size)
            windows.append(
                sa.and_(Transaction.user_id == user_id, Transaction.seq > after, Transaction.seq <= upper)
            )
            size += upper - after
            after = upper
            if size >= ROWS or len(windows) >= WINDOWS:
                yield Range(sa.or_(*windows))
                windows, size = [], 0
    if windows:
        yield Range(sa.or_(*windows))
