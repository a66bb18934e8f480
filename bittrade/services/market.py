"""Market data: what the sources said, kept and served. A price carries its age, and a trade refuses an old one."""

import logging
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import broadcast, cache, unit_of_work, wire
from bittrade.domain.pricing import (
    TIMEFRAMES,
    ChartSeries,
    PriceQuote,
    Rates,
    SentimentReading,
    age_ms,
    rates_for,
)
from bittrade.domain.receipt import PriceBasis
from bittrade.errors import InvalidTimeframe, NoData, ProviderError, RatesUnavailable, TradingHalted
from bittrade.models import BitcoinChartData, BitcoinData, BitcoinSentiment
from bittrade.providers.alternative_me import AlternativeMe
from bittrade.providers.coingecko import CoinGecko
from bittrade.providers.http import HttpClient
from bittrade.services import settings

log = logging.getLogger(__name__)
SIMULATOR = "simulator"
# A chart is overdue when it has missed one of its updates and half of the next.
OVERDUE = 1.5


# --- serving ------------------------------------------------------------------------------------------------------


def get_current() -> dict[str, Any]:
    """Everything about the newest price. Raises NoData before the first."""
    document, cached = _latest()
    return {**document, **_freshness(document), "cached": cached}


def get_rates() -> dict[str, Any]:
    """The buy and sell rate. Raises NoData before the first price."""
    document, cached = _latest()
    return {**_price_event(document), "cached": cached}


def find_price_event() -> dict[str, Any] | None:
    """The payload of `btc_price_update`, or None before the first price."""
    try:
        return _price_event(_latest()[0])
    except NoData:
        return None


def get_chart(timeframe: str) -> dict[str, Any]:
    """The newest chart of a timeframe. Raises InvalidTimeframe or NoData."""
    if timeframe not in TIMEFRAMES:
        raise InvalidTimeframe()
    held = cache.get(cache.chart_key(timeframe))
    if held is not None:
        return {**held, "cached": True}
    with unit_of_work.reading() as session:
        row = session.get(BitcoinChartData, timeframe)
    if row is None:
        raise NoData(f"No chart data found for {timeframe}")
    document = _chart_document(row)
    cache.put(cache.chart_key(timeframe), document, cache.CHART_TTL_S[timeframe])
    return {**document, "cached": False}


def get_sentiment() -> dict[str, Any]:
    """The newest Fear & Greed index. Raises NoData before the first."""
    held = cache.get(cache.SENTIMENT)
    if held is not None:
        return {**held, "cached": True}
    with unit_of_work.reading() as session:
        row = session.scalars(
            sa.select(BitcoinSentiment).order_by(BitcoinSentiment.data_date.desc()).limit(1)
        ).first()
    if row is None:
        raise NoData("No sentiment data found")
    document = _sentiment_document(row)
    cache.put(cache.SENTIMENT, document, cache.SENTIMENT_TTL_S)
    return {**document, "cached": False}


def list_history(limit: int) -> list[dict[str, Any]]:
    """The latest prices, newest first."""
    now = wire.now()
    with unit_of_work.reading() as session:
        rows = session.execute(
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
        ).all()
    return [
        {
            "id": row.id,
            "btc_usd_price": wire.hundredths(row.btc_usd_cents),
            "market_cap_usd": row.market_cap_usd,
            "created_at": wire.timestamp(row.created_at),
            "source": row.source,
            "as_of": wire.timestamp(row.as_of),
            **_age(row.as_of, now),
        }
        for row in rows
    ]


def find_price_age_ms() -> int | None:
    """How old the newest price is; None before the first. Asks the database."""
    with unit_of_work.reading() as session:
        as_of = session.scalar(sa.select(BitcoinData.as_of).order_by(BitcoinData.id.desc()).limit(1))
    return None if as_of is None else age_ms(as_of, wire.now())


def price_for_trade(session: Session, now: datetime) -> PriceBasis:
    """The newest price, from the database: the cache may be wrong, a trade may not.

    Raises TradingHalted, or RatesUnavailable where there is none or it is too old.
    """
    values = refuse_if_halted(session)
    row = session.execute(
        sa.select(BitcoinData.id, BitcoinData.source, BitcoinData.btc_usd_cents, BitcoinData.as_of)
        .order_by(BitcoinData.id.desc())
        .limit(1)
    ).first()
    if row is None:
        raise RatesUnavailable()
    age = age_ms(row.as_of, now)
    if age > _max_age_ms():
        raise RatesUnavailable(price_age_ms=age)
    return PriceBasis(row.id, row.source, row.btc_usd_cents, row.as_of, settings.multipliers(values))


def refuse_if_halted(session: Session) -> dict[str, str]:
    """The settings, unless they say that trading is halted. Raises TradingHalted."""
    values = settings.read_all(session)
    if settings.TRADING_HALTED in values:
        raise TradingHalted()
    return values


# --- recording ----------------------------------------------------------------------------------------------------


def record_price(quote: PriceQuote) -> bool:
    """Keep a price, unless a newer one is known; True when it changed the rates. Then everyone is told."""
    if quote.source == SIMULATOR and current_app.config["IS_PRODUCTION"]:
        raise ProviderError("the price simulator is not a source in production")

    received_at = wire.now()
    as_of = min(quote.as_of, received_at)  # a source's clock may be ahead of ours

    def work(session: Session) -> tuple[dict[str, Any], bool] | None:
        before = session.scalars(sa.select(BitcoinData).order_by(BitcoinData.id.desc()).limit(1)).first()
        if before is not None and as_of <= before.as_of:
            return None  # a slow answer that was overtaken, or the same quote again
        row = BitcoinData(
            btc_usd_cents=quote.btc_usd_cents,
            market_cap_usd=quote.market_cap_usd,
            volume_24h_usd=quote.volume_24h_usd,
            high_24h_usd_cents=quote.high_24h_usd_cents,
            ath_usd_cents=quote.ath_usd_cents,
            ath_date=quote.ath_date,
            ath_change_bps=quote.ath_change_bps,
            source=quote.source,
            as_of=as_of,
            created_at=received_at,
        )
        session.add(row)
        session.flush()
        multipliers = settings.read_multipliers(session)
        is_changed = before is None or rates_for(before.btc_usd_cents, multipliers) != rates_for(
            quote.btc_usd_cents, multipliers
        )
        return _price_document(row, rates_for(row.btc_usd_cents, multipliers)), is_changed

    recorded = unit_of_work.commit(work)
    if recorded is None:
        return False
    document, is_changed = recorded
    _publish_price(document, is_changed)
    return is_changed


def publish_rates() -> None:
    """Tell everyone the rates again, from the database: the multipliers changed."""
    document = _read_latest()
    if document is not None:
        _publish_price(document, is_changed=True)


def record_sentiment(reading: SentimentReading) -> None:
    """Keep a day's sentiment; the newest reading of a day wins."""

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
        return _sentiment_document(row)

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


# --- fetching -----------------------------------------------------------------------------------------------------


def update_price() -> bool:
    """Fetch the price and record it; True when the rates changed. Raises ProviderError."""
    return record_price(_coingecko().fetch_price())


def update_sentiment() -> None:
    """Fetch the sentiment and record it. Raises ProviderError."""
    record_sentiment(
        AlternativeMe(current_app.config["FEAR_GREED_API_URL"], http=HttpClient()).fetch_sentiment()
    )


def update_chart(timeframe: str) -> None:
    """Fetch one chart and record it. Raises ProviderError."""
    record_chart(_coingecko().fetch_chart(timeframe))


def fill_missing() -> list[str]:
    """Fetch whatever has never come or is overdue: a fresh install, or an upstream that was away at its hour."""
    filled = []
    for name in list_missing():
        try:
            if name == "price":
                update_price()
            elif name == "sentiment":
                update_sentiment()
            else:
                update_chart(name)
            filled.append(name)
        except ProviderError as error:
            log.warning("could not fill %s: %s", name, error.message)
    return filled


def list_missing() -> list[str]:
    """Names of what `fill_missing` would fetch: 'price', 'sentiment' or a timeframe."""
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


def _coingecko() -> CoinGecko:
    config = current_app.config
    return CoinGecko(config["COINGECKO_API_URL"], http=HttpClient(), api_key=config["COINGECKO_API_KEY"])


# --- shapes -------------------------------------------------------------------------------------------------------


def _latest() -> tuple[dict[str, Any], bool]:
    """The newest price's document and whether it came from the cache. Raises NoData."""
    held = cache.get(cache.LATEST_PRICE)
    if held is not None:
        return held, True
    document = _read_latest()
    if document is None:
        raise NoData("No Bitcoin data found")
    cache.put(cache.LATEST_PRICE, document, cache.LATEST_PRICE_TTL_S)
    return document, False


def _read_latest() -> dict[str, Any] | None:
    with unit_of_work.reading() as session:
        row = session.scalars(sa.select(BitcoinData).order_by(BitcoinData.id.desc()).limit(1)).first()
        return (
            None
            if row is None
            else _price_document(row, rates_for(row.btc_usd_cents, settings.read_multipliers(session)))
        )


def _publish_price(document: dict[str, Any], is_changed: bool) -> None:
    cache.put(cache.LATEST_PRICE, document, cache.LATEST_PRICE_TTL_S)
    if is_changed:
        broadcast.price_changed(_price_event(document))


def _price_document(row: BitcoinData, rates: Rates) -> dict[str, Any]:
    return {
        "id": row.id,
        **wire.rates(row.btc_usd_cents, rates),
        "market_cap_usd": row.market_cap_usd,
        "volume_24h_usd": row.volume_24h_usd,
        "high_24h_usd": wire.hundredths(row.high_24h_usd_cents),
        "ath_usd": wire.hundredths(row.ath_usd_cents),
        "ath_date": wire.day(row.ath_date),
        "ath_change_pct": wire.hundredths(row.ath_change_bps),
        "last_updated": wire.timestamp(row.created_at),
        "source": row.source,
        "as_of": wire.timestamp(row.as_of),
    }


def _price_event(document: dict[str, Any]) -> dict[str, Any]:
    kept = ("btc_usd_price", "buy_rate_inr", "sell_rate_inr", "source", "as_of")
    return {
        **{key: document[key] for key in kept},
        **_freshness(document),
        "timestamp": wire.timestamp(wire.now()),
    }


def _freshness(document: dict[str, Any]) -> dict[str, Any]:
    return _age(datetime.fromisoformat(document["as_of"]), wire.now())


def _age(as_of: datetime, now: datetime) -> dict[str, Any]:
    age = age_ms(as_of, now)
    return {"age_ms": age, "stale": age > _max_age_ms()}


def _max_age_ms() -> int:
    return current_app.config["MAX_PRICE_AGE_S"] * 1000


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
