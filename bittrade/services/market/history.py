"""The past, from our own rows: the latest prices, and candles of any stretch that was recorded."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from bittrade import cache, replica, wire
from bittrade.domain.candles import INTERVALS, Candle, bucket, without_gaps
from bittrade.errors import NoData
from bittrade.models import BitcoinData
from bittrade.services.market import price as market_price

MAX_CANDLES = 500
CANDLES_TTL_S = 5


def list_history(limit: int) -> list[dict[str, Any]]:
    """The latest prices, newest first."""
    now = wire.now()
    newest = (
        sa.select(
            BitcoinData.id,
            BitcoinData.btc_usd_cents,
            BitcoinData.market_cap_usd,
            BitcoinData.created_at,
            BitcoinData.as_of,
            BitcoinData.source,
        )
        .order_by(BitcoinData.id.desc())
        .limit(limit)
    )
    rows = replica.read(lambda session: session.execute(newest).all())
    return [
        {
            "id": row.id,
            "btc_usd_price": wire.hundredths(row.btc_usd_cents),
            "market_cap_usd": row.market_cap_usd,
            "created_at": wire.timestamp(row.created_at),
            "source": row.source,
            "as_of": wire.timestamp(row.as_of),
            **market_price.age_document(row.as_of, now),
        }
        for row in rows
    ]


def get_candles(interval: str, limit: int) -> dict[str, Any]:
    """The last `limit` candles, oldest first, up to the one of now. Raises NoData before the first price.

    Up to CANDLES_TTL_S old. An interval without a price is there, with nulls and `samples` 0; before the first recorded
    price there is nothing.
    """
    held, cached = cache.get_or_fill(
        f"candles_{interval}{replica.mark()}", lambda: _read_candles(interval), CANDLES_TTL_S
    )
    if held is None:
        raise NoData("No Bitcoin data found")
    return {"interval": interval, "candles": held["candles"][-limit:], "cached": cached}


def _read_candles(interval: str) -> dict[str, Any] | None:
    interval_s = INTERVALS[interval]
    now_s = int(wire.now().timestamp())
    last = bucket(now_s, interval_s)
    oldest = last - MAX_CANDLES + 1

    def read(session: Session) -> tuple[dict[int, Candle], bool]:
        recorded = _query_candles(session, interval_s, since_s=oldest * interval_s)
        found = {bucket(candle.begins_s, interval_s): candle for candle in recorded}
        return found, _has_price_before(session, oldest * interval_s)

    found, has_older = replica.read(read)
    if not found and not has_older:
        return None
    first = oldest if has_older else min(found)
    candles = without_gaps(
        found, first=first, last=max(last, max(found, default=last)), interval_s=interval_s
    )
    return {"candles": [_candle_document(candle, interval_s, now_s) for candle in candles]}


def _query_candles(session: Session, interval_s: int, *, since_s: int) -> list[Candle]:
    """Grouped by the database: open and close are the rows with the lowest and highest id, as ids follow `as_of`."""
    number = _bucket_of(session, interval_s).label("number")
    groups = (
        sa.select(
            number,
            sa.func.min(BitcoinData.id).label("first_id"),
            sa.func.max(BitcoinData.id).label("last_id"),
            sa.func.max(BitcoinData.btc_usd_cents).label("high"),
            sa.func.min(BitcoinData.btc_usd_cents).label("low"),
            sa.func.count().label("samples"),
        )
        .where(BitcoinData.as_of >= _moment(since_s))
        .group_by(number)
        .subquery()
    )
    first, last = aliased(BitcoinData), aliased(BitcoinData)
    rows = session.execute(
        sa.select(groups, first.btc_usd_cents.label("open"), last.btc_usd_cents.label("close"))
        .join(first, first.id == groups.c.first_id)
        .join(last, last.id == groups.c.last_id)
    ).all()
    return [
        Candle(int(row.number) * interval_s, row.open, row.high, row.low, row.close, row.samples)
        for row in rows
    ]


def _bucket_of(session: Session, interval_s: int) -> sa.ColumnElement[int]:
    """The number of the interval that a row belongs to, in the database's own words; whole numbers throughout."""
    if session.get_bind().dialect.name == "sqlite":
        seconds: Any = sa.cast(sa.func.strftime("%s", BitcoinData.as_of), sa.Integer)
        return seconds.op("/")(sa.literal_column(str(interval_s)))
    seconds = sa.func.timestampdiff(sa.text("SECOND"), sa.literal_column("'1970-01-01'"), BitcoinData.as_of)
    return seconds.op("DIV")(sa.literal_column(str(interval_s)))


def _has_price_before(session: Session, moment_s: int) -> bool:
    return (
        session.scalar(sa.select(BitcoinData.id).where(BitcoinData.as_of < _moment(moment_s)).limit(1))
        is not None
    )


def _candle_document(candle: Candle, interval_s: int, now_s: int) -> dict[str, Any]:
    return {
        "timestamp": wire.timestamp(_moment(candle.begins_s)),
        "open": wire.hundredths(candle.open),
        "high": wire.hundredths(candle.high),
        "low": wire.hundredths(candle.low),
        "close": wire.hundredths(candle.close),
        "samples": candle.samples,
        "complete": candle.begins_s + interval_s <= now_s,
    }


def _moment(epoch_s: int) -> datetime:
    return wire.EPOCH + timedelta(seconds=epoch_s)
