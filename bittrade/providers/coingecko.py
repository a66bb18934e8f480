"""CoinGecko: the price of a bitcoin and its charts.

`fetch_*` crosses the network, `parse_*` is pure; neither knows the database or Flask. A price that is doubtful in any
way is refused here; whether a believable price may be *used* (its age, its jump) is decided in `domain.pricing`.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from urllib.parse import urlsplit

from bittrade.domain.pricing import MULTIPLIER_SCALE, TIMEFRAMES, ChartPoint, ChartSeries, PriceQuote, cents
from bittrade.errors import AnswerRefused
from bittrade.providers import figures
from bittrade.providers.figures import MAX_BTC_USD, MAX_QUOTE_AGE
from bittrade.providers.http import Answer, HttpClient

SOURCE = "coingecko"
COIN = "bitcoin"
MAX_USD_TOTAL = Decimal(10) ** 16  # market cap and volume; fits a BIGINT
MAX_POINTS = 5_000
MIN_POINTS = 2
MAX_UNUSABLE_PCT = 10  # of a chart's points
# How old the newest point of a chart may be, for CoinGecko's granularity: 5 minutes to 1 day, hourly to 90, then daily.
MAX_CHART_AGE = {1: timedelta(hours=1), 7: timedelta(hours=6), 30: timedelta(hours=6), 90: timedelta(hours=6)}
MAX_DAILY_CHART_AGE = timedelta(days=2)
MAX_CHART_AHEAD = timedelta(minutes=5)  # nobody trades on a chart


class CoinGecko:
    """The client for one base URL, with or without a key (the pro host wants another header than the demo plan)."""

    name = SOURCE

    def __init__(self, base_url: str, *, http: HttpClient, api_key: str = "") -> None:
        self._base_url = base_url.rstrip("/")
        self._http = http
        is_pro = (urlsplit(base_url).hostname or "").startswith("pro-api.")
        self._headers = {"x-cg-pro-api-key" if is_pro else "x-cg-demo-api-key": api_key} if api_key else {}

    def fetch_price(self) -> PriceQuote:
        """Fetch the current price. Raises ProviderError."""
        answer = self._get("/coins/markets", {"vs_currency": "usd", "ids": COIN})
        return parse_price(answer.data, now=answer.received_at, source=figures.source_of(answer, SOURCE))

    def fetch_inr_rate(self) -> int:
        """Fetch rupees for a dollar, in units of 1 / MULTIPLIER_SCALE. Raises ProviderError."""
        answer = self._get("/simple/price", {"ids": COIN, "vs_currencies": "usd,inr"})
        return parse_inr_rate(answer.data)

    def fetch_chart(self, timeframe: str) -> ChartSeries:
        """Fetch the chart of a key of TIMEFRAMES. Raises ProviderError."""
        days = TIMEFRAMES[timeframe]
        answer = self._get(f"/coins/{COIN}/market_chart", {"vs_currency": "usd", "days": str(days)})
        return parse_chart(answer.data, timeframe=timeframe, now=answer.received_at)

    def _get(self, path: str, params: dict[str, str]) -> Answer:
        return self._http.get_json(self._base_url + path, source=SOURCE, params=params, headers=self._headers)


def parse_price(
    data: Any, *, now: datetime, source: str = SOURCE, max_age: timedelta = MAX_QUOTE_AGE
) -> PriceQuote:
    """Validate an answer of `/coins/markets`. Raises AnswerRefused."""
    coin = _find_coin(data)
    as_of = figures.utc_time(coin.get("last_updated"), "last_updated", source=SOURCE)
    figures.check_recent(as_of, now=now, max_age=max_age, what="price", source=SOURCE)
    return PriceQuote(
        btc_usd_cents=figures.price_cents(figures.decimal(coin.get("current_price")), source=SOURCE),
        as_of=as_of,
        source=source,
        market_cap_usd=_whole_usd(coin.get("market_cap")),
        volume_24h_usd=_whole_usd(coin.get("total_volume")),
        high_24h_usd_cents=_optional_cents(coin.get("high_24h")),
        ath_usd_cents=_optional_cents(coin.get("ath")),
        ath_date=_optional_date(coin.get("ath_date")),
        ath_change_bps=_basis_points(coin.get("ath_change_percentage")),
    )


def parse_inr_rate(data: Any) -> int:
    """Validate an answer of `/simple/price` in both currencies. Raises AnswerRefused."""
    prices = data.get(COIN) if isinstance(data, dict) else None
    usd, inr = (
        figures.decimal(prices.get(name)) if isinstance(prices, dict) else None for name in ("usd", "inr")
    )
    if usd is None or inr is None or not 0 < usd <= MAX_BTC_USD or not usd < inr <= MAX_USD_TOTAL:
        raise AnswerRefused(f"{SOURCE}: there is no rate of rupees and dollars")
    return int((inr / usd * MULTIPLIER_SCALE).to_integral_value(ROUND_HALF_UP))


def parse_chart(data: Any, *, timeframe: str, now: datetime) -> ChartSeries:
    """Validate an answer of `/coins/bitcoin/market_chart`; the points come out oldest first. Raises AnswerRefused."""
    rows = data.get("prices") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not MIN_POINTS <= len(rows) <= MAX_POINTS:
        raise AnswerRefused(f"{SOURCE}: the chart has no prices, or too few or too many")
    # The same moment twice: the later row wins.
    points = {point.at: point for point in _usable_points(rows)}
    ordered = tuple(points[at] for at in sorted(points))
    days = TIMEFRAMES[timeframe]
    max_age = MAX_CHART_AGE.get(days, MAX_DAILY_CHART_AGE)
    figures.check_recent(
        ordered[-1].at, now=now, max_age=max_age, what="chart", source=SOURCE, max_ahead=MAX_CHART_AHEAD
    )
    if ordered[0].at < now - timedelta(days=days + 2):
        raise AnswerRefused(f"{SOURCE}: the chart begins before the days that were asked for")
    return ChartSeries(timeframe=timeframe, points=ordered)


def _find_coin(data: Any) -> dict[str, Any]:
    if not isinstance(data, list):
        raise AnswerRefused(f"{SOURCE}: the markets are not a list")
    for coin in data:
        if isinstance(coin, dict) and coin.get("id") == COIN:
            return coin
    raise AnswerRefused(f"{SOURCE}: {COIN} is missing from the markets")


def _usable_points(rows: list[Any]) -> list[ChartPoint]:
    """Return the points that can be used; the others are left out, up to a share. Raises AnswerRefused beyond it."""
    points, refusals = [], []
    for row in rows:
        try:
            points.append(_chart_point(row))
        except AnswerRefused as refusal:
            refusals.append(refusal)
    if refusals and (len(refusals) * 100 > MAX_UNUSABLE_PCT * len(rows) or len(points) < MIN_POINTS):
        raise refusals[0]
    return points


def _chart_point(row: Any) -> ChartPoint:
    if not isinstance(row, list) or len(row) != 2 or type(row[0]) is not int:
        raise AnswerRefused(f"{SOURCE}: a chart point is not a pair of time and price")
    try:
        at = datetime.fromtimestamp(row[0] / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise AnswerRefused(f"{SOURCE}: a chart point has no believable time") from None
    return ChartPoint(at=at, usd_cents=figures.price_cents(figures.decimal(row[1]), source=SOURCE))


# What follows only decorates a price. An unusable decoration becomes None: it must not stop trading.


def _optional_cents(value: Any) -> int | None:
    amount = figures.decimal(value)
    return cents(amount) if amount is not None and 0 < amount <= MAX_BTC_USD else None


def _whole_usd(value: Any) -> int | None:
    amount = figures.decimal(value)
    if amount is None or not 0 < amount <= MAX_USD_TOTAL:
        return None
    return int(amount.to_integral_value(ROUND_HALF_UP))


def _basis_points(value: Any) -> int | None:
    percentage = figures.decimal(value)
    if percentage is None or abs(percentage) > 1_000_000:
        return None
    return int((percentage * 100).to_integral_value(ROUND_HALF_UP))


def _optional_date(value: Any) -> date | None:
    try:
        return figures.utc_time(value, "date", source=SOURCE).date()
    except AnswerRefused:
        return None
