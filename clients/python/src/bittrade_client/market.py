"""Market data: public, no token needed."""

from datetime import datetime

from bittrade_client.asking import Asking, when
from bittrade_client.models import (
    Candle,
    Chart,
    CurrentPrice,
    Health,
    Market,
    MarketStatus,
    PastPrice,
    Rates,
    Sentiment,
    ServerTime,
    TradingRules,
)


class MarketData(Asking):
    """Prices and rules."""

    def price(self) -> Rates:
        """Return the rates of now: what a buyer pays and a seller gets."""
        return Rates.parse(self._get("/api/market-rates"))

    def current(self) -> CurrentPrice:
        """Return the price of now with what the market says besides."""
        return CurrentPrice.parse(self._get("/api/bitcoin/current"))

    def price_history(self, limit: int = 10) -> list[PastPrice]:
        """Return the latest recorded prices, newest first; up to 1000."""
        return [PastPrice.parse(each) for each in self._get("/api/bitcoin/history", limit=limit)]

    def candles(
        self,
        interval: str = "1h",
        limit: int = 100,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        currency: str = "usd",
    ) -> list[Candle]:
        """Return up to 500 candles, oldest first: the latest, the first ones from `since` on, or the last before `until`.

        Intervals are 1m, 5m, 15m, 1h, 4h and 1d; currencies usd and inr.
        """
        answer = self._get(
            "/api/bitcoin/candles",
            interval=interval,
            limit=limit,
            since=when(since),
            until=when(until),
            currency=currency,
        )
        return [Candle.parse(each) for each in answer["candles"]]

    def chart(self, timeframe: str = "1d") -> Chart:
        """Return the price over 1d, 7d, 30d, 90d or 365d."""
        return Chart.parse(self._get(f"/api/bitcoin/chart/{timeframe}"))

    def sentiment(self) -> Sentiment:
        """Return the Fear & Greed index."""
        return Sentiment.parse(self._get("/api/bitcoin/sentiment"))

    def market_status(self) -> MarketStatus:
        """Return whether the feed is fresh and trading is open."""
        return MarketStatus.parse(self._get("/api/market/status"))

    def markets(self) -> list[Market]:
        """Return what can be traded: BTC/INR."""
        return [Market.parse(each) for each in self._get("/api/markets")["markets"]]

    def trading_rules(self) -> TradingRules:
        """Return the smallest and largest order, and the spread."""
        return TradingRules.parse(self._get("/api/trading-rules"))

    def time(self) -> ServerTime:
        """Return the server's clock."""
        return ServerTime.parse(self._get("/api/time"))

    def health(self) -> Health:
        """Return how the server is. Raises ApiError where it is down."""
        return Health.parse(self._get("/api/health"))
