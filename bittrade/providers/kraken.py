"""Kraken's public market data: the last trade of XBT/USD. Needs no key; allows about one request a second.

`/Trades?count=1` and not `/Ticker`, whose answer has no time: a ticker that stands still could not be told from a market
that does. `fetch_price` crosses the network, `parse_price` is pure; neither knows the database or Flask.
"""

from datetime import datetime, timedelta
from typing import Any

from bittrade.domain.pricing import PriceQuote
from bittrade.errors import AnswerRefused
from bittrade.providers import figures
from bittrade.providers.http import HttpClient

SOURCE = "kraken"
PAIR = "XBTUSD"  # Kraken's own name for it, XXBTZUSD, is the key of the answer


class Kraken:
    """The client for one base URL, such as https://api.kraken.com/0/public."""

    name = SOURCE

    def __init__(self, base_url: str, *, http: HttpClient) -> None:
        self._url = f"{base_url.rstrip('/')}/Trades"
        self._http = http

    def fetch_price(self) -> PriceQuote:
        """Fetch the current price. Raises ProviderError."""
        answer = self._http.get_json(self._url, source=SOURCE, params={"pair": PAIR, "count": "1"})
        return parse_price(answer.data, now=answer.received_at, source=figures.source_of(answer, SOURCE))


def parse_price(
    data: Any, *, now: datetime, source: str = SOURCE, max_age: timedelta = figures.MAX_QUOTE_AGE
) -> PriceQuote:
    """Validate an answer of `/Trades`. Raises AnswerRefused."""
    if not isinstance(data, dict) or not _is_without_errors(data.get("error")):
        raise AnswerRefused(f"{SOURCE}: reports an error")
    price, at = _last_trade(data.get("result"))
    as_of = figures.unix_time(at, "the trade's time", source=SOURCE)
    figures.check_recent(as_of, now=now, max_age=max_age, what="price", source=SOURCE)
    cents = figures.price_cents(figures.decimal_text(price), source=SOURCE)
    return PriceQuote(btc_usd_cents=cents, as_of=as_of, source=source)


def _is_without_errors(messages: Any) -> bool:
    """Return whether there are only warnings: they begin with W, errors with E, and a result may stand beside them."""
    return isinstance(messages, list) and all(
        isinstance(message, str) and message.startswith("W") for message in messages
    )


def _last_trade(result: Any) -> tuple[Any, Any]:
    """Price and time of the newest trade: [price, volume, time, side, kind, …]; the other key is `last`."""
    pairs = [value for key, value in result.items() if key != "last"] if isinstance(result, dict) else []
    trades = pairs[0] if len(pairs) == 1 and isinstance(pairs[0], list) else []
    trade = trades[-1] if trades else None
    if not isinstance(trade, list) or len(trade) < 3:
        raise AnswerRefused(f"{SOURCE}: there is no trade of {PAIR}")
    return trade[0], trade[2]
