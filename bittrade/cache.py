"""The cache: named keys with lifetimes (the specification's table). A Redis that is away is a miss, never an error.

What belongs to a user carries the user's `seq`, and is a hit only for the `seq` that the database holds now: so a
cached answer is never older than an acknowledged trade, whatever Redis forgot, kept or delayed (docs/adr/0004). In
Redis a key has the installation's prefix before its name (docs/adr/0010).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from flask import current_app
from redis.exceptions import RedisError, ResponseError

from bittrade import metrics
from bittrade.errors import DatabaseUnavailable
from bittrade.extensions import cache_redis, own
from bittrade.logs import warn_seldom

log = logging.getLogger(__name__)
T = TypeVar("T")

LATEST_PRICE = "latest_btc_price"
SENTIMENT = "bitcoin_sentiment"
LATEST_PRICE_TTL_S = 60
SENTIMENT_TTL_S = 24 * 3600
CHART_TTL_S = {"1d": 3600, "7d": 21_600, "30d": 43_200, "90d": 64_800, "365d": 86_400}
USER_BALANCE_TTL_S = 600
USER_TRANSACTIONS_TTL_S = 3600
USER_LISTENS_TTL_S = 60
# Raise it when the shape of anything cached changes: an older release, or another program with the same keys, may have
# filled the cache, and what it wrote must not be served.
FORMAT = 3
_FORMAT_KEY = "bittrade_format"
# After a failure nobody asks again for this long: a Redis that hangs costs one time-out, not one a request.
PAUSE_S = 1.0
# Who finds nothing fills it; for everybody else that is worth waiting this long, and no longer.
FILLING = "filling_"
FILL_MS = 1000
FILL_WAIT_S = 0.3


def chart_key(timeframe: str) -> str:
    return f"chart_data_{timeframe}"


def user_balance_key(user_id: int) -> str:
    return f"user_balance_{user_id}"


def user_transactions_key(user_id: int) -> str:
    return f"user_transactions_{user_id}"


def user_listens_key(user_id: int) -> str:
    """The mark of a user with a socket on any process."""
    return f"user_listens_{user_id}"


def user_portfolio_key(user_id: int) -> str:
    return f"user_portfolio_{user_id}"


class _Breaker:
    """Remembers that Redis failed just now."""

    def __init__(self) -> None:
        self._away_until = 0.0
        self._lock = threading.Lock()

    def call(self, command: Callable[[], T]) -> T | None:
        """The command's result, or None where Redis is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            return command()
        except ResponseError as error:
            # It is there, and this is a miss: a key of another type, or a server that takes no writes.
            warn_seldom(log, "the cache refused a command: %s", error)
            return None
        except RedisError as error:
            with self._lock:
                self._away_until = time.monotonic() + PAUSE_S
            warn_seldom(log, "the cache is away: %s", error)
            return None


_breaker = _Breaker()


def get(key: str) -> dict[str, Any] | None:
    """The JSON object that `put` kept under `key`, or None. What anybody else wrote there is a miss."""
    held = _read(key)
    _count(key, is_hit=held is not None)
    return held


def _count(key: str, *, is_hit: bool) -> None:
    if metrics.is_on:
        metrics.CACHE.count(_family_of(key), "hit" if is_hit else "miss")


def _family_of(key: str) -> str:
    """Return a key without whose it is: `user_balance_7` and `chart_data_1d` are one of many."""
    family, _, which = key.rpartition("_")
    return family if which[:1].isdigit() else key


def _read(key: str) -> dict[str, Any] | None:
    raw = _breaker.call(lambda: cache_redis().get(own(key)))
    if raw is None:
        return None
    try:
        held = orjson.loads(raw)
    except orjson.JSONDecodeError:
        held = None
    if not isinstance(held, dict) or held.pop(_FORMAT_KEY, None) != FORMAT:
        log.warning("cache held something that is not ours under %s", key)
        release(key)
        return None
    return held


def put(key: str, value: dict[str, Any], ttl_s: int) -> None:
    """Keep a JSON object for `ttl_s` seconds."""
    _keep(key, value, ttl_s, only_if_absent=False)


def list_values(prefix: str) -> list[dict[str, Any]] | None:
    """What `put` keeps under all keys that begin so, or None where Redis is away. Looks at every key there is: for
    operators, not for requests."""
    start = len(own(""))
    keys = _breaker.call(
        lambda: [raw.decode()[start:] for raw in cache_redis().scan_iter(f"{own(prefix)}*", count=1000)]
    )
    return None if keys is None else [held for key in keys if (held := get(key)) is not None]


def get_for(key: str, seq: int) -> Any | None:
    """A user's value under `key`, if it was made at exactly this `seq`."""
    held = _read(key)
    is_hit = held is not None and held.get("seq") == seq
    _count(key, is_hit=is_hit)
    return held.get("value") if held is not None and is_hit else None


def put_for(key: str, seq: int, value: Any, ttl_s: int) -> None:
    put(key, {"seq": seq, "value": value}, ttl_s)


# --- marks: what counts is that a key is there ------------------------------------------------------------------------


def mark(keys: Iterable[str], ttl_s: int) -> None:
    """Put marks, in one message, that last for `ttl_s` seconds."""

    def put_all() -> None:
        with cache_redis().pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.set(own(key), "1", ex=ttl_s)
            pipeline.execute()

    _breaker.call(put_all)


def are_marked(keys: Iterable[str]) -> list[bool] | None:
    """Return which of these marks are there, asked in one message; None where Redis is away."""

    def ask_all() -> list[bool]:
        with cache_redis().pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.exists(own(key))
            return [bool(found) for found in pipeline.execute()]

    return _breaker.call(ask_all)


def put_for_and_see(key: str, seq: int, value: Any, ttl_s: int, *, mark: str) -> bool | None:
    """`put_for`, and whether a mark is there, in one message; None where Redis is away."""

    def call() -> bool:
        with cache_redis().pipeline(transaction=False) as pipeline:
            pipeline.set(own(key), _packed({"seq": seq, "value": value}), ex=ttl_s)
            pipeline.exists(own(mark))
            return bool(pipeline.execute()[1])

    return _breaker.call(call)


def forget_everything() -> bool:
    """Take away all that this installation keeps in the cache's Redis; False where Redis is away. For operators."""

    def forget() -> bool:
        client = cache_redis()
        for key in client.scan_iter(f"{own('')}*", count=1000):
            client.unlink(key)
        return True

    return bool(_breaker.call(forget))


# --- one filler at a time -----------------------------------------------------------------------------------------


def claim(key: str, *, ttl_ms: int) -> bool | None:
    """Take a key that nobody holds, for a while: whether this call got it, or None where Redis is away."""
    return _breaker.call(lambda: bool(cache_redis().set(own(key), "1", px=ttl_ms, nx=True)))


def release(key: str) -> None:
    """Give up what `claim` took, or take away what nobody can use."""
    _breaker.call(lambda: cache_redis().delete(own(key)))


Load = Callable[[], dict[str, Any] | None]
Test = Callable[[dict[str, Any]], bool]
Filled = tuple[dict[str, Any] | None, bool]


@dataclass(slots=True)
class _Flight:
    """A load that is under way in this process, for whoever comes meanwhile."""

    is_done: threading.Event = field(default_factory=threading.Event)
    value: Filled = (None, False)
    error: BaseException | None = None


_flights: dict[tuple[int, str], _Flight] = {}
_flights_lock = threading.Lock()


def _always(_value: dict[str, Any]) -> bool:
    return True


def get_or_fill(
    key: str,
    load: Load,
    ttl_s: int,
    *,
    is_fresh: Test = _always,
    is_usable: Test = _always,
) -> Filled:
    """The value under `key` and whether it came from the cache; `load` runs once for everybody who misses it at a time.

    While one loads, the others are served what is there if it `is_usable`; without that they wait for the one, in other
    processes for FILL_WAIT_S at most. With the database away, anything that is there is served.
    """
    held = _read(key)
    has_fresh = held is not None and is_fresh(held)
    _count(key, is_hit=has_fresh)
    if has_fresh:
        return held, True
    place = (id(current_app._get_current_object()), key)  # type: ignore[attr-defined]
    with _flights_lock:
        is_leader = place not in _flights
        flight = _flights.setdefault(place, _Flight())
    if is_leader:
        return _lead(place, flight, lambda: _fill(key, load, ttl_s, held, is_fresh, is_usable))
    if held is not None and is_usable(held):
        return held, True
    if flight.is_done.wait(FILL_MS / 1000) and flight.error is None:
        return flight.value
    return load(), False


def _lead(place: tuple[int, str], flight: _Flight, fill: Callable[[], Filled]) -> Filled:
    try:
        flight.value = fill()
        return flight.value
    except BaseException as error:
        flight.error = error
        raise
    finally:
        with _flights_lock:
            _flights.pop(place, None)
        flight.is_done.set()


def _fill(
    key: str,
    load: Load,
    ttl_s: int,
    held: dict[str, Any] | None,
    is_fresh: Test,
    is_usable: Test,
) -> Filled:
    is_ours = claim(FILLING + key, ttl_ms=FILL_MS)
    if is_ours is False:  # another process is at it
        if held is not None and is_usable(held):
            return held, True
        filled = _wait_for(key, is_fresh)
        if filled is not None:
            return filled, True
    try:
        value = load()
    except DatabaseUnavailable:
        if held is None:
            raise
        return held, True
    finally:
        if is_ours:
            release(FILLING + key)
    if value is not None:
        # Who records something newer meanwhile has put it here already: what was read before must not cover it.
        _keep(key, value, ttl_s, only_if_absent=held is None)
    return value, False


def _wait_for(key: str, is_fresh: Test) -> dict[str, Any] | None:
    deadline = time.monotonic() + FILL_WAIT_S
    while time.monotonic() < deadline:
        time.sleep(0.02)
        value = _read(key)
        if value is not None and is_fresh(value):
            return value
    return None


def _packed(value: dict[str, Any]) -> bytes:
    return orjson.dumps({**value, _FORMAT_KEY: FORMAT})


def _keep(key: str, value: dict[str, Any], ttl_s: int, *, only_if_absent: bool) -> None:
    raw = _packed(value)
    _breaker.call(lambda: cache_redis().set(own(key), raw, ex=ttl_s, nx=only_if_absent))
