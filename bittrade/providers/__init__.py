"""The outside world, one module per source: fetch over HTTP, parse with pure functions, raise ProviderError.

Nothing here knows the database, Redis, Flask or the tables; a caller gets values of `bittrade.domain.pricing`. Whatever
has a `name` and a `fetch_price` is a PriceSource, and can stand in for the others.
"""

from typing import Protocol

from bittrade.domain.pricing import PriceQuote


class PriceSource(Protocol):
    """A place that knows what a bitcoin costs."""

    name: str

    def fetch_price(self) -> PriceQuote:
        """Fetch the current price. Raises ProviderError."""
