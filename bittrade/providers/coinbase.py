"""Coinbase Exchange's public ticker: the last trade of BTC-USD. Needs no key; allows 10 requests a second.

`fetch_price` crosses the network, `parse_price` is pure; neither knows the database or Flask. Figures arrive as text.
"""

from datetime import datetime, timedelta
from typing import Any

from bittrade.domain.pricing import PriceQuote
from bittrade.errors import AnswerRefused
from bittrade.providers import figures
from bittrade.providers.http import HttpClient

SOURCE = "coinbase"
PRODUCT = "BTC-USD"


class Coinbase:
    """The client for one base URL."""

    name = SOURCE

    def __init__(self, base_url: str, *, http: HttpClient) -> None:
        self._url = f"{base_url.rstrip('/')}/products/{PRODUCT}/ticker"
        self._http = http

    def fetch_price(self) -> PriceQuote:
        """Fetch the current price. Raises ProviderError."""
        answer = self._http.get_json(self._url, source=SOURCE)
        return parse_price(answer.data, now=answer.received_at, source=figures.source_of(answer, SOURCE))


def parse_price(
    data: Any, *, now: datetime, source: str = SOURCE, max_age: timedelta = figures.MAX_QUOTE_AGE
) -> PriceQuote:
    """Validate an answer of `/products/BTC-USD/ticker`. Raises AnswerRefused."""
    if not isinstance(data, dict) or "price" not in data:
        raise AnswerRefused(f"{SOURCE}: there is no price of {PRODUCT}")
    as_of = figures.utc_time(data.get("time"), "the time", source=SOURCE)
    figures.check_recent(as_of, now=now, max_age=max_age, what="price", source=SOURCE)
    cents = figures.price_cents(figures.decimal_text(data["price"]), source=SOURCE)
    return PriceQuote(btc_usd_cents=cents, as_of=as_of, source=source)
