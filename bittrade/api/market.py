"""Market data: public, and served from the cache where it can be."""

from datetime import timedelta
from typing import Any

from flask import Blueprint

from bittrade import wire
from bittrade.api.caching import shared
from bittrade.api.market_schemas import (
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
from bittrade.api.openapi import documented
from bittrade.api.program_schemas import MarketsAnswer, TimeAnswer
from bittrade.errors import InvalidTimeframe, NoData
from bittrade.services import market, orders, trade

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
    """Candles of the recorded prices, oldest first; an interval without a price is there, with nulls.

    The latest ones; with `since` the first ones from then on, with `until` the latest before then.
    """
    return market.get_candles(
        query.interval, query.limit, since=query.since, until=query.until, is_in_inr=query.currency == "inr"
    )


@blueprint.get("/time")
@documented(TimeAnswer, tag="market")
def get_time() -> Any:
    """The server's clock."""
    now = wire.now()
    return {"epoch_ms": (now - wire.EPOCH) // timedelta(milliseconds=1), "timestamp": wire.timestamp(now)}


@blueprint.get("/markets")
@documented(MarketsAnswer, tag="market")
def list_markets() -> Any:
    """List what can be traded, how finely, within which limits, and at which spread."""
    return {"markets": [_market(trade.get_rules())]}


@blueprint.get("/market/status")
@documented(MarketStatusAnswer, tag="market")
def status() -> Any:
    """Whether the feed is fresh and trading is open; the sources, held and refused prices, and the next runs."""
    return market.get_status()


def _market(rules: dict[str, Any]) -> dict[str, Any]:
    """Say of the one market what programs ask of any."""
    return {
        "symbol": "BTC/INR",
        "base": "BTC",
        "quote": "INR",
        "type": "spot",
        "active": not rules["trading_halted"],
        "order_types": ["market", "limit"],
        "precision": {"amount": rules["btc_places"], "cost": rules["inr_places"], "price": 0},
        "limits": {
            "cost": {"min": rules["min_order_inr"], "max": rules["max_order_inr"]},
            "open_orders": orders.MAX_OPEN_ORDERS,
        },
        "spread_pct": rules["spread_pct"],
    }
