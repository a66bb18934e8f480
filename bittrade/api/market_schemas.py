"""What the queries about market data look like, and what answers do; a part of `schemas`."""

from typing import Literal

from pydantic import Field

from bittrade.api.schemas import Answer, Count, Moment, Query


class HistoryQuery(Query):
    limit: Count = Field(10, ge=1, le=1000)


class CandlesQuery(Query):
    interval: Literal["1m", "5m", "15m", "1h", "4h", "1d"] = "1h"
    limit: Count = Field(100, ge=1, le=500)
    since: Moment | None = Field(
        None, description="the first candle begins at or after this; ISO 8601 with a zone"
    )
    until: Moment | None = Field(None, description="the last candle begins before this; ISO 8601 with a zone")
    currency: Literal["usd", "inr"] = Field(
        "usd", description="inr: what a buyer would pay, at the multiplier of now"
    )


class PriceAnswer(Answer):
    btc_usd_price: float
    buy_rate_inr: int
    sell_rate_inr: int
    source: str
    as_of: str = Field(description="when the source says that the price was true")
    age_ms: int
    stale: bool = Field(description="too old to trade on")
    stale_after_ms: int = Field(description="the age from which it is")
    cached: bool


class RatesAnswer(PriceAnswer):
    timestamp: str


class CurrentAnswer(PriceAnswer):
    id: int
    market_cap_usd: int | None
    volume_24h_usd: int | None
    high_24h_usd: float | None
    ath_usd: float | None
    ath_date: str | None
    ath_change_pct: float | None
    market_data_as_of: str | None = Field(
        description="when the six values before were true: exchanges only know the price, so these may be older"
    )
    last_updated: str


class PastPrice(Answer):
    id: int
    btc_usd_price: float
    market_cap_usd: int | None
    created_at: str


class CandleAnswer(Answer):
    timestamp: str = Field(description="when the interval begins")
    open: float | None = Field(description="null where no price was recorded in the interval")
    high: float | None
    low: float | None
    close: float | None
    samples: int = Field(description="recorded prices that it was made of")
    complete: bool = Field(description="whether the interval is over")


class CandlesAnswer(Answer):
    interval: str
    currency: Literal["usd", "inr"]
    candles: list[CandleAnswer] = Field(description="oldest first, without gaps")
    cached: bool


class SourceAnswer(Answer):
    name: str
    price_order: int | None = Field(description="when it is asked for the price; null if never")
    breaker: Literal["closed", "open", "half_open"]
    failures_in_a_row: int
    open_until: str | None
    paused_until: str | None = Field(description="its own Retry-After")
    last_success_at: str | None
    last_failure_at: str | None
    last_failure: str | None
    drift_pct: float | None = Field(
        description="how far its price was from the accepted one when the sources were last compared"
    )
    drift_at: str | None
    succeeded: int
    failed: int
    calls_last_minute: int
    calls_per_minute: int | None
    calls_this_month: int
    calls_per_month: int | None


class PriceEventAnswer(Answer):
    at: str
    provider: str
    outcome: Literal["held", "confirmed", "refuted", "refused"]
    btc_usd_price: float | None = Field(description="null while it is held")
    reason: str
    resolved_at: str | None


class PriceEventsAnswer(Answer):
    counts: dict[str, int]
    latest: list[PriceEventAnswer] = Field(description="newest first, 20 at most")


class MarketStatusAnswer(Answer):
    feed: Literal["fresh", "stale", "none"]
    trading: Literal["open", "halted", "price_uncertain", "no_price"] = Field(
        description="what a trade would meet now"
    )
    source: str | None
    as_of: str | None
    age_ms: int | None
    max_price_age_ms: int
    checked_at: str | None = Field(
        description="when a second source last confirmed the price, within the window"
    )
    sources: list[SourceAnswer]
    prices: PriceEventsAnswer
    next_runs: dict[str, str] | None = Field(description="null while no scheduler runs")
    overdue_jobs: list[str] | None = Field(description="null while no scheduler runs")
    timestamp: str


class ChartPointAnswer(Answer):
    timestamp: str
    price: float


class ChartAnswer(Answer):
    timeframe: str
    price_data: list[ChartPointAnswer]
    data_points_count: int
    price_change_pct: float | None
    date_from: str
    date_to: str
    last_updated: str
    cached: bool


class SentimentAnswer(Answer):
    id: int
    fear_greed_value: int
    fear_greed_classification: str
    data_date: str
    last_updated: str
    cached: bool
