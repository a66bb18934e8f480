"""Market data: public, and served from the cache where it can be."""

from typing import Any

from flask import Blueprint

from bittrade.api.caching import shared
from bittrade.api.openapi import documented
from bittrade.api.schemas import (
    CandlesAnswer,
    CandlesQuery,
    ChartAnswer,
    CurrentAnswer,
    HistoryQuery,
    MarketStatusAnswer,
    PastPrice,
    RatesAnswer,
    SentimentAnswer,
)
from bittrade.errors import InvalidTimeframe, NoData
from bittrade.services import market

blueprint = Blueprint("market", __name__, url_prefix="/api")


@blueprint.get("/bitcoin/current")
@documented(CurrentAnswer, NoData, tag="market")
@shared
def current() -> Any:
    """Everything about the newest price."""
    return market.get_current()


@blueprint.get("/market-rates")
@documented(RatesAnswer, NoData, tag="market")
@shared
def market_rates() -> Any:
    """The rates at which BitTrade sells (buy_rate_inr) and buys (sell_rate_inr) one bitcoin."""
    return market.get_rates()


@blueprint.get("/bitcoin/chart/<timeframe>")
@documented(ChartAnswer, InvalidTimeframe, NoData, tag="market")
@shared
def chart(timeframe: str) -> Any:
    """The price over 1d, 7d, 30d, 90d or 365d."""
    return market.get_chart(timeframe)


@blueprint.get("/bitcoin/sentiment")
@documented(SentimentAnswer, NoData, tag="market")
@shared
def sentiment() -> Any:
    """The Fear & Greed index of the latest day."""
    return market.get_sentiment()


@blueprint.get("/bitcoin/history")
@documented(list[PastPrice], tag="market")
@shared
def history(query: HistoryQuery) -> Any:
    """The latest recorded prices, newest first."""
    return market.list_history(query.limit)


@blueprint.get("/bitcoin/candles")
@documented(CandlesAnswer, NoData, tag="market")
@shared
def candles(query: CandlesQuery) -> Any:
    """Candles of the recorded prices, oldest first; an interval without a price is there, with nulls."""
    return market.get_candles(query.interval, query.limit)


@blueprint.get("/market/status")
@documented(MarketStatusAnswer, tag="market")
def status() -> Any:
    """Whether the feed is fresh and trading is open; the sources, held and refused prices, and the next runs."""
    return market.get_status()
