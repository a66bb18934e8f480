"""Candles of any stretch that was recorded, in dollars or in rupees; grouped by the database, in bounded windows."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from bittrade import cache, replica, wire
from bittrade.domain.candles import INTERVALS, Candle, Span, bucket, first_bucket, without_gaps
from bittrade.domain.pricing import rates_for
from bittrade.errors import NoData
from bittrade.models import BitcoinData
from bittrade.services import settings

MAX_CANDLES = 500
TTL_S = 5
ToPrice = Callable[[int], int | float | None]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is read and kept: a span of an interval, in one of the two currencies."""

    interval: str
    span: Span
    is_in_inr: bool

    @property
    def interval_s(self) -> int:
        return INTERVALS[self.interval]

    @property
    def key(self) -> str:
        """Return the name in the cache."""
        span = self.span
        part = "" if span.since is span.until is None else f"_{span.since}_{span.until}_{span.limit}"
        return f"candles_{self.interval}{'_inr' if self.is_in_inr else ''}{part}{replica.mark()}"


def get_candles(
    interval: str,
    limit: int,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    is_in_inr: bool = False,
) -> dict[str, Any]:
    """Return up to `limit` candles, oldest first: the first ones from `since` on; without it the latest before `until`, or
    those up to the one of now. Raises NoData before the first price.

    Up to TTL_S old. An interval without a price is there, with nulls and `samples` 0; before the first recorded price
    there is nothing. Rupees are what a buyer would pay, at the multiplier of now.
    """
    interval_s = INTERVALS[interval]
    span = Span(
        MAX_CANDLES if since is until is None else limit,
        None if since is None else first_bucket(_epoch_ms(since), interval_s),
        None if until is None else first_bucket(_epoch_ms(until), interval_s),
    )
    wanted = _Wanted(interval, span, is_in_inr)
    held, cached = cache.get_or_fill(wanted.key, lambda: _read(wanted), TTL_S)
    if held is None:
        raise NoData("No Bitcoin data found")
    candles = held["candles"] if since is not None else held["candles"][-limit:]
    currency = "inr" if is_in_inr else "usd"
    return {"interval": interval, "currency": currency, "candles": candles, "cached": cached}


def _read(wanted: _Wanted) -> dict[str, Any] | None:
    return replica.read(lambda session: _read_in(session, wanted))


def _read_in(session: Session, wanted: _Wanted) -> dict[str, Any] | None:
    interval_s, now_s = wanted.interval_s, int(wire.now().timestamp())
    oldest = session.scalar(sa.select(BitcoinData.as_of).order_by(BitcoinData.as_of).limit(1))
    if oldest is None:
        return None
    # A source's clock may be ahead of ours: the candle of its price is there too.
    newest = session.scalar(sa.select(BitcoinData.as_of).order_by(BitcoinData.as_of.desc()).limit(1))
    latest = bucket(max(now_s, int((newest or oldest).timestamp())), interval_s)
    window = wanted.span.window(oldest=bucket(int(oldest.timestamp()), interval_s), latest=latest)
    found = _query(session, interval_s, window) if window else {}
    to_price = _to_price(session, is_in_inr=wanted.is_in_inr)
    candles = without_gaps(found, first=window.start, last=window.stop - 1, interval_s=interval_s)
    return {"candles": [_document(candle, interval_s, now_s, to_price) for candle in candles]}


def _query(session: Session, interval_s: int, window: range) -> dict[int, Candle]:
    """Return the candles with a price, by number; grouped by the database.

    Open and close are the rows with the lowest and highest id, as ids follow `as_of`.
    """
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
        .where(
            BitcoinData.as_of >= _moment(window.start * interval_s),
            BitcoinData.as_of < _moment(window.stop * interval_s),
        )
        .group_by(number)
        .subquery()
    )
    first, last = aliased(BitcoinData), aliased(BitcoinData)
    rows = session.execute(
        sa.select(groups, first.btc_usd_cents.label("open"), last.btc_usd_cents.label("close"))
        .join(first, first.id == groups.c.first_id)
        .join(last, last.id == groups.c.last_id)
    ).all()
    return {
        int(row.number): Candle(
            int(row.number) * interval_s, row.open, row.high, row.low, row.close, row.samples
        )
        for row in rows
    }


def _bucket_of(session: Session, interval_s: int) -> sa.ColumnElement[int]:
    """The number of the interval that a row belongs to, in the database's own words; whole numbers throughout."""
    if session.get_bind().dialect.name == "sqlite":
        seconds: Any = sa.cast(sa.func.strftime("%s", BitcoinData.as_of), sa.Integer)
        return seconds.op("/")(sa.literal_column(str(interval_s)))
    seconds = sa.func.timestampdiff(sa.text("SECOND"), sa.literal_column("'1970-01-01'"), BitcoinData.as_of)
    return seconds.op("DIV")(sa.literal_column(str(interval_s)))


def _to_price(session: Session, *, is_in_inr: bool) -> ToPrice:
    """Return what makes a price of cents."""
    if not is_in_inr:
        return wire.hundredths
    multipliers = settings.read_multipliers(session)
    return lambda cents: rates_for(cents, multipliers).buy_inr


def _document(candle: Candle, interval_s: int, now_s: int, to_price: ToPrice) -> dict[str, Any]:
    prices = {"open": candle.open, "high": candle.high, "low": candle.low, "close": candle.close}
    return {
        "timestamp": wire.timestamp(_moment(candle.begins_s)),
        **{name: None if cents is None else to_price(cents) for name, cents in prices.items()},
        "samples": candle.samples,
        "complete": candle.begins_s + interval_s <= now_s,
    }


def _moment(epoch_s: int) -> datetime:
    return wire.EPOCH + timedelta(seconds=epoch_s)


def _epoch_ms(moment: datetime) -> int:
    return (moment - wire.EPOCH) // timedelta(milliseconds=1)
