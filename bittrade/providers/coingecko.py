"""CoinGecko: the price of a bitcoin and its charts.

`fetch_*` crosses the network, `parse_*` is pure; neither knows the database or Flask. A price that is doubtful in any
way is refused here; whether a believable price may be *used* (its age, its jump) is decided in `domain.pricing`.
"""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from urllib.parse import urlsplit

from bittrade.domain.pricing import TIMEFRAMES, ChartPoint, ChartSeries, PriceQuote, cents
from bittrade.errors import ProviderError
from bittrade.providers.http import Answer, HttpClient

SOURCE = "coingecko"
SIMULATOR = "simulator"
COIN = "bitcoin"
MAX_BTC_USD = Decimal(10_000_000)  # a hundred times today's price: beyond it the figure is a mistake
MAX_USD_TOTAL = Decimal(10) ** 16  # market cap and volume; fits a BIGINT
MAX_FUTURE = timedelta(minutes=5)  # clocks differ a little; more is a lie
MAX_QUOTE_AGE = timedelta(minutes=5)
MAX_POINTS = 5_000
MIN_POINTS = 2
# How old the newest point of a chart may be, for CoinGecko's granularity: 5 minutes to 1 day, hourly to 90, then daily.
MAX_CHART_AGE = {1: timedelta(hours=1), 7: timedelta(hours=6), 30: timedelta(hours=6), 90: timedelta(hours=6)}
MAX_DAILY_CHART_AGE = timedelta(days=2)
ISO_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


class CoinGecko:
    """The client for one base URL, with or without a key (the pro host wants another header than the demo plan)."""

    def __init__(self, base_url: str, *, http: HttpClient, api_key: str = "") -> None:
        self._base_url = base_url.rstrip("/")
        self._http = http
        is_pro = (urlsplit(base_url).hostname or "").startswith("pro-api.")
        self._headers = {"x-cg-pro-api-key" if is_pro else "x-cg-demo-api-key": api_key} if api_key else {}

    def fetch_price(self) -> PriceQuote:
        """Fetch the current price. Raises ProviderError."""
        answer = self._get("/coins/markets", {"vs_currency": "usd", "ids": COIN})
        return parse_price(answer.data, now=answer.received_at, source=_source_of(answer))

    def fetch_chart(self, timeframe: str) -> ChartSeries:
        """Fetch the chart of a key of TIMEFRAMES. Raises ProviderError."""
        days = TIMEFRAMES[timeframe]
        answer = self._get(f"/coins/{COIN}/market_chart", {"vs_currency": "usd", "days": str(days)})
        return parse_chart(answer.data, timeframe=timeframe, now=answer.received_at)

    def _get(self, path: str, params: dict[str, str]) -> Answer:
        return self._http.get_json(self._base_url + path, source=SOURCE, params=params, headers=self._headers)


def _source_of(answer: Answer) -> str:
    return SIMULATOR if answer.server.startswith("bittrade-simulator") else SOURCE


def parse_price(
    data: Any, *, now: datetime, source: str = SOURCE, max_age: timedelta = MAX_QUOTE_AGE
) -> PriceQuote:
    """Validate an answer of `/coins/markets`. Raises ProviderError."""
    coin = _find_coin(data)
    as_of = _timestamp(coin.get("last_updated"), "last_updated")
    _check_recent(as_of, now=now, max_age=max_age, what="price")
    return PriceQuote(
        btc_usd_cents=_price_cents(coin.get("current_price")),
        as_of=min(as_of, now),  # a clock ahead of ours must not make a price younger than new
        source=source,
        market_cap_usd=_whole_usd(coin.get("market_cap")),
        volume_24h_usd=_whole_usd(coin.get("total_volume")),
        high_24h_usd_cents=_optional_cents(coin.get("high_24h")),
        ath_usd_cents=_optional_cents(coin.get("ath")),
        ath_date=_optional_date(coin.get("ath_date")),
        ath_change_bps=_basis_points(coin.get("ath_change_percentage")),
    )


def parse_chart(data: Any, *, timeframe: str, now: datetime) -> ChartSeries:
    """Validate an answer of `/coins/bitcoin/market_chart`; the points come out oldest first. Raises ProviderError."""
    rows = data.get("prices") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not MIN_POINTS <= len(rows) <= MAX_POINTS:
        raise ProviderError(f"{SOURCE}: the chart has no prices, or too few or too many")
    # The same moment twice: the later row wins.
    points = {point.at: point for point in map(_chart_point, rows)}
    ordered = tuple(points[at] for at in sorted(points))
    days = TIMEFRAMES[timeframe]
    _check_recent(ordered[-1].at, now=now, max_age=MAX_CHART_AGE.get(days, MAX_DAILY_CHART_AGE), what="chart")
    if ordered[0].at < now - timedelta(days=days + 2):
        raise ProviderError(f"{SOURCE}: the chart begins before the days that were asked for")
    return ChartSeries(timeframe=timeframe, points=ordered)


def _find_coin(data: Any) -> dict[str, Any]:
    if not isinstance(data, list):
        raise ProviderError(f"{SOURCE}: the markets are not a list")
    for coin in data:
        if isinstance(coin, dict) and coin.get("id") == COIN:
            return coin
    raise ProviderError(f"{SOURCE}: {COIN} is missing from the markets")


def _chart_point(row: Any) -> ChartPoint:
    if not isinstance(row, list) or len(row) != 2 or type(row[0]) is not int:
        raise ProviderError(f"{SOURCE}: a chart point is not a pair of time and price")
    try:
        at = datetime.fromtimestamp(row[0] / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise ProviderError(f"{SOURCE}: a chart point has no believable time") from None
    return ChartPoint(at=at, usd_cents=_price_cents(row[1]))


def _decimal(value: Any) -> Decimal | None:
    """A JSON number as Decimal; None for everything else. True is an int in Python, but no price."""
    return Decimal(value) if type(value) is int or isinstance(value, Decimal) else None


def _price_cents(value: Any) -> int:
    price = _decimal(value)
    if price is None:
        raise ProviderError(f"{SOURCE}: a price is missing or not a number")
    if not 0 < price <= MAX_BTC_USD or (amount := cents(price)) <= 0:
        raise ProviderError(f"{SOURCE}: a price is not between 1 cent and {MAX_BTC_USD} USD")
    return amount


# What follows only decorates a price. An unusable decoration becomes None: it must not stop trading.


def _optional_cents(value: Any) -> int | None:
    amount = _decimal(value)
    return cents(amount) if amount is not None and 0 < amount <= MAX_BTC_USD else None


def _whole_usd(value: Any) -> int | None:
    amount = _decimal(value)
    if amount is None or not 0 < amount <= MAX_USD_TOTAL:
        return None
    return int(amount.to_integral_value(ROUND_HALF_UP))


def _basis_points(value: Any) -> int | None:
    percentage = _decimal(value)
    if percentage is None or abs(percentage) > 1_000_000:
        return None
    return int((percentage * 100).to_integral_value(ROUND_HALF_UP))


def _optional_date(value: Any) -> date | None:
    try:
        return _timestamp(value, "date").date()
    except ProviderError:
        return None


def _timestamp(value: Any, name: str) -> datetime:
    if not isinstance(value, str) or not ISO_UTC.fullmatch(value):
        raise ProviderError(f"{SOURCE}: {name} is missing or not a UTC time")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise ProviderError(f"{SOURCE}: {name} is not a UTC time") from None


def _check_recent(at: datetime, *, now: datetime, max_age: timedelta, what: str) -> None:
    if at > now + MAX_FUTURE:
        raise ProviderError(f"{SOURCE}: the {what} claims to be of the future")
    if at < now - max_age:
        raise ProviderError(f"{SOURCE}: the {what} is {int((now - at).total_seconds())} s old")
