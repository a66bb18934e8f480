"""Thinning old prices: all of them for some days, then the last of each minute, then the last of each hour, for ever.

In small units of work, so that recording and trading never wait for it, and for a bounded time: what is left over is
done by the next run. The newest price is the last of its minute and hour, so it always stays. So does every price that
a receipt names, for ever and beside them: the books are proven by it, and whoever doubts a trade can look it up.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.candles import surplus
from bittrade.models import BitcoinData, Transaction

MINUTE_S, HOUR_S = 60, 3600
READ_ROWS = 2_000
DELETE_ROWS = 500
RUN_S = 10.0


def thin_prices(*, run_s: float = RUN_S) -> int:
    """Delete what need not be kept any longer; how many rows that were."""
    deadline = time.monotonic() + run_s
    now = wire.now()
    minutes_from = now - timedelta(days=current_app.config["PRICE_RAW_DAYS"])
    hours_from = now - timedelta(days=current_app.config["PRICE_MINUTE_DAYS"])
    deleted = 0
    for interval_s, since, until in (
        (MINUTE_S, hours_from, minutes_from),
        (HOUR_S, wire.EPOCH, hours_from),
    ):
        for ids in _list_surplus(interval_s, since=since, until=until):
            deleted += _delete(ids)
            if time.monotonic() > deadline:
                return deleted
    return deleted


def _list_surplus(interval_s: int, *, since: datetime, until: datetime) -> Iterator[list[int]]:
    """Ids that may go, in batches as they are read. Intervals that reach beyond the stretch stay as they are."""
    begin = wire.EPOCH + timedelta(seconds=-(-_epoch_s(since) // interval_s) * interval_s)
    end = wire.EPOCH + timedelta(seconds=_epoch_s(until) // interval_s * interval_s)
    held: tuple[int, int] | None = None
    cursor = (begin, 0)
    while rows := _read(cursor, end):
        cursor = (rows[-1].as_of, rows[-1].id)
        times = [(row.id, _epoch_s(row.as_of)) for row in rows]
        going, held = surplus([*([held] if held else []), *times], interval_s)
        for start in range(0, len(going), DELETE_ROWS):
            yield going[start : start + DELETE_ROWS]


def _read(after: tuple[datetime, int], end: datetime) -> list[Any]:
    """Return ids and times that no receipt names, by (time, id): ids alone don't follow a clock that was ahead."""
    as_of, row_id = after
    with unit_of_work.reading() as session:
        rows = session.execute(
            sa.select(BitcoinData.id, BitcoinData.as_of)
            .where(
                BitcoinData.as_of >= as_of,
                BitcoinData.as_of < end,
                sa.or_(BitcoinData.as_of > as_of, BitcoinData.id > row_id),
                ~_is_named(),
            )
            .order_by(BitcoinData.as_of, BitcoinData.id)
            .limit(READ_ROWS)
        )
        return list(rows)


def _is_named() -> Any:
    return sa.exists().where(Transaction.price_id == BitcoinData.id)


def _delete(ids: list[int]) -> int:
    def work(session: Session) -> int:
        done = session.execute(sa.delete(BitcoinData).where(BitcoinData.id.in_(ids), ~_is_named()))
        return int(done.rowcount)  # type: ignore[attr-defined]

    return unit_of_work.commit(work)


def _epoch_s(moment: datetime) -> int:
    return (moment - wire.EPOCH) // timedelta(seconds=1)
