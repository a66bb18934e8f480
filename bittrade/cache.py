"""The cache: named keys with lifetimes (the specification's table). A Redis that is away is a miss, never an error.

What belongs to a user carries the user's `seq`, and is a hit only for the `seq` that the database holds now: so a
cached answer is never older than an acknowledged trade, whatever Redis forgot, kept or delayed (docs/adr/0004).
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from redis.exceptions import RedisError

from bittrade.extensions import cache_redis

log = logging.getLogger(__name__)
T = TypeVar("T")

LATEST_PRICE = "latest_btc_price"
SENTIMENT = "bitcoin_sentiment"
LATEST_PRICE_TTL_S = 60
SENTIMENT_TTL_S = 24 * 3600
CHART_TTL_S = {"1d": 3600, "7d": 21_600, "30d": 43_200, "90d": 64_800, "365d": 86_400}
USER_BALANCE_TTL_S = 600
USER_TRANSACTIONS_TTL_S = 3600
# After a failure nobody asks again for this long: a Redis that hangs costs one time-out, not one a request.
PAUSE_S = 1.0


def chart_key(timeframe: str) -> str:
    return f"chart_data_{timeframe}"


def user_balance_key(user_id: int) -> str:
    return f"user_balance_{user_id}"


def user_transactions_key(user_id: int) -> str:
    return f"user_transactions_{user_id}"


def user_portfolio_key(user_id: int) -> str:
    return f"user_portfolio_{user_id}"


class _Breaker:
    """Remembers that Redis failed just now."""

    def __init__(self) -> None:
        self._closed_until = 0.0
        self._lock = threading.Lock()

    def call(self, command: Callable[[], T]) -> T | None:
        """The command's result, or None where Redis is away."""
        if time.monotonic() < self._closed_until:
            return None
        try:
            return command()
        except RedisError as error:
            with self._lock:
                self._closed_until = time.monotonic() + PAUSE_S
            log.warning("cache is away: %s", error)
            return None


_breaker = _Breaker()


def get(key: str) -> Any | None:
    """The JSON value under `key`, or None."""
    raw = _breaker.call(lambda: cache_redis().get(key))
    try:
        return None if raw is None else orjson.loads(raw)
    except orjson.JSONDecodeError:
        log.warning("cache holds something that is not JSON under %s", key)
        return None


def put(key: str, value: Any, ttl_s: int) -> None:
    """Keep a JSON-ready value for `ttl_s` seconds."""
    raw = orjson.dumps(value)
    _breaker.call(lambda: cache_redis().set(key, raw, ex=ttl_s))


def get_for(key: str, seq: int) -> Any | None:
    """A user's value under `key`, if it was made at exactly this `seq`."""
    held = get(key)
    if isinstance(held, dict) and held.get("seq") == seq:
        return held.get("value")
    return None


def put_for(key: str, seq: int, value: Any, ttl_s: int) -> None:
    put(key, {"seq": seq, "value": value}, ttl_s)


def is_alive() -> bool:
    """Whether Redis answers now."""
    return _breaker.call(lambda: cache_redis().ping()) is not None
