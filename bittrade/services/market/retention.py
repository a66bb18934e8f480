"""Thinning old prices: all of them for some days, then the last of each minute, then the last of each hour, for ever.

In small units of work, so that recording and trading never wait for it, and for a bounded time: what is left over is
done by the next run. The newest price is the last of its minute and hour, so it always stays. So does every price that
a receipt names, because the books are proven by it; the proof notes those long before they would go.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.candles import surplus
from bittrade.models import BitcoinData, TradedPrice

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
    cursor = 0
    while rows := _read(begin, end, after_id=cursor):
        cursor = rows[-1][0]
        going, held = surplus([*([held] if held else []), *rows], interval_s)
        for start in range(0, len(going), DELETE_ROWS):
            yield going[start : start + DELETE_ROWS]


def _read(begin: datetime, end: datetime, *, after_id: int) -> list[tuple[int, int]]:
    """(id, Unix seconds) in order; ids follow `as_of`, as a price that is not newer is never recorded."""
    with unit_of_work.reading() as session:
        rows = session.execute(
            sa.select(BitcoinData.id, BitcoinData.as_of)
            .where(BitcoinData.as_of >= begin, BitcoinData.as_of < end, BitcoinData.id > after_id)
            .order_by(BitcoinData.as_of, BitcoinData.id)
            .limit(READ_ROWS)
        ).all()
    return [(row.id, _epoch_s(row.as_of)) for row in rows]


def _delete(ids: list[int]) -> int:
    def work(session: Session) -> int:
        traded = set(session.scalars(sa.select(TradedPrice.price_id).where(TradedPrice.price_id.in_(ids))))
        unnamed = [number for number in ids if number not in traded]
        session.execute(sa.delete(BitcoinData).where(BitcoinData.id.in_(unnamed)))
        return len(unnamed)

    return unit_of_work.commit(work)


def _epoch_s(moment: datetime) -> int:
    return (moment - wire.EPOCH) // timedelta(seconds=1)
