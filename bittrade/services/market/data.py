"""Charts and sentiment: what the sources said, kept and served."""

from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import cache, unit_of_work, wire
from bittrade.domain.pricing import TIMEFRAMES, ChartSeries, SentimentReading
from bittrade.errors import InvalidTimeframe, NoData
from bittrade.models import BitcoinChartData, BitcoinData, BitcoinSentiment

# A chart is overdue when it has missed one of its updates and half of the next.
OVERDUE = 1.5
# A chart that was fetched this part of its period ago need not be fetched again, whoever asks for it.
FRESH_PART = 0.5


# --- serving ------------------------------------------------------------------------------------------------------


def get_chart(timeframe: str) -> dict[str, Any]:
    """The newest chart of a timeframe. Raises InvalidTimeframe or NoData."""
    if timeframe not in TIMEFRAMES:
        raise InvalidTimeframe()
    document, cached = cache.get_or_fill(
        cache.chart_key(timeframe), lambda: _read_chart(timeframe), cache.CHART_TTL_S[timeframe]
    )
    if document is None:
        raise NoData(f"No chart data found for {timeframe}")
    return {**document, "cached": cached}


def get_sentiment() -> dict[str, Any]:
    """The newest Fear & Greed index. Raises NoData before the first."""
    document, cached = cache.get_or_fill(cache.SENTIMENT, _read_sentiment, cache.SENTIMENT_TTL_S)
    if document is None:
        raise NoData("No sentiment data found")
    return {**document, "cached": cached}


# --- recording ----------------------------------------------------------------------------------------------------


def record_sentiment(reading: SentimentReading) -> None:
    """Keep a day's sentiment; the newest reading of a day wins, and the newest day is served."""

    def work(session: Session) -> dict[str, Any]:
        row = session.scalars(
            sa.select(BitcoinSentiment).where(BitcoinSentiment.data_date == reading.data_date)
        ).first()
        if row is None:
            row = BitcoinSentiment(data_date=reading.data_date)
            session.add(row)
        row.fear_greed_value = reading.value
        row.fear_greed_classification = reading.classification
        row.last_updated = wire.now()
        session.flush()
        return _sentiment_document(_find_newest_sentiment(session) or row)

    cache.put(cache.SENTIMENT, unit_of_work.commit(work), cache.SENTIMENT_TTL_S)


def record_chart(series: ChartSeries) -> None:
    """Keep the newest chart of a timeframe."""

    def work(session: Session) -> dict[str, Any]:
        row = session.get(BitcoinChartData, series.timeframe)
        if row is None:
            row = BitcoinChartData(timeframe=series.timeframe)
            session.add(row)
        row.points = orjson.dumps(
            [[_epoch_ms(point.at), point.usd_cents] for point in series.points]
        ).decode()
        row.price_change_bps = series.change_bps
        row.date_from, row.date_to = series.points[0].at, series.points[-1].at
        row.last_updated = wire.now()
        return _chart_document(row)

    document = unit_of_work.commit(work)
    cache.put(cache.chart_key(series.timeframe), document, cache.CHART_TTL_S[series.timeframe])


def is_chart_fresh(timeframe: str) -> bool:
    """Whether the chart was fetched so recently that fetching it again would be waste."""
    with unit_of_work.reading() as session:
        last = session.scalar(
            sa.select(BitcoinChartData.last_updated).where(BitcoinChartData.timeframe == timeframe)
        )
    return last is not None and wire.now() - last < timedelta(
        seconds=cache.CHART_TTL_S[timeframe] * FRESH_PART
    )


def list_missing() -> list[str]:
    """What never came or is overdue: 'price', 'sentiment' or a timeframe."""
    now = wire.now()
    with unit_of_work.reading() as session:
        charts = dict(
            session.execute(sa.select(BitcoinChartData.timeframe, BitcoinChartData.last_updated)).all()
        )
        sentiment = session.scalar(sa.select(sa.func.max(BitcoinSentiment.last_updated)))
        has_price = session.scalar(sa.select(BitcoinData.id).limit(1)) is not None
    missing = [] if has_price else ["price"]
    if _is_overdue(sentiment, cache.SENTIMENT_TTL_S, now):
        missing.append("sentiment")
    return missing + [
        name for name in TIMEFRAMES if _is_overdue(charts.get(name), cache.CHART_TTL_S[name], now)
    ]


def _is_overdue(last: datetime | None, every_s: int, now: datetime) -> bool:
    return last is None or now - last > timedelta(seconds=every_s * OVERDUE)


# --- shapes -------------------------------------------------------------------------------------------------------


def _read_chart(timeframe: str) -> dict[str, Any] | None:
    with unit_of_work.reading() as session:
        row = session.get(BitcoinChartData, timeframe)
        return None if row is None else _chart_document(row)


def _read_sentiment() -> dict[str, Any] | None:
    with unit_of_work.reading() as session:
        row = _find_newest_sentiment(session)
        return None if row is None else _sentiment_document(row)


def _find_newest_sentiment(session: Session) -> BitcoinSentiment | None:
    return session.scalars(
        sa.select(BitcoinSentiment).order_by(BitcoinSentiment.data_date.desc()).limit(1)
    ).first()


def _sentiment_document(row: BitcoinSentiment) -> dict[str, Any]:
    return {
        "id": row.id,
        "fear_greed_value": row.fear_greed_value,
        "fear_greed_classification": row.fear_greed_classification,
        "data_date": wire.day(row.data_date),
        "last_updated": wire.timestamp(row.last_updated),
    }


def _chart_document(row: BitcoinChartData) -> dict[str, Any]:
    points = orjson.loads(row.points)
    return {
        "timeframe": row.timeframe,
        "price_data": [
            {"timestamp": _from_epoch_ms(at), "price": wire.hundredths(cents)} for at, cents in points
        ],
        "data_points_count": len(points),
        "price_change_pct": wire.hundredths(row.price_change_bps),
        "date_from": wire.timestamp(row.date_from),
        "date_to": wire.timestamp(row.date_to),
        "last_updated": wire.timestamp(row.last_updated),
    }


def _epoch_ms(moment: datetime) -> int:
    return (moment - wire.EPOCH) // timedelta(milliseconds=1)


def _from_epoch_ms(value: int) -> str:
    return wire.timestamp(wire.EPOCH + timedelta(milliseconds=value))
