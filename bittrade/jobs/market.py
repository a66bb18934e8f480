"""The market data jobs: take the lock, call one service, report in a word.

A job that is still running when its next run begins makes that one do nothing: runs never overlap, whatever queued them
twice. A source that fails is an expected event, told in one line; any other exception marks the run as failed.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from bittrade import extensions
from bittrade.errors import ProviderError
from bittrade.providers import http
from bittrade.services import market

logger = logging.getLogger(__name__)

LOCK_PREFIX = "bittrade:job-lock:"
PAUSE_PREFIX = "bittrade:upstream-pause:"
SKIPPED = "skipped: the run before is not done"

P = ParamSpec("P")


def alone(*, lock_s: int) -> Callable[[Callable[P, str]], Callable[P, str]]:
    """Let at most one call with the same arguments run at a time, in any process.

    The lock holds a token of its own, and only that token releases it; `lock_s` is above the run's time limit, so that
    it cannot expire under a run, and frees the next run when this one was killed.
    """

    def decorate(job: Callable[P, str]) -> Callable[P, str]:
        @wraps(job)
        def run(*args: P.args, **kwargs: P.kwargs) -> str:
            redis = extensions.queue_redis()
            name = "-".join([job.__name__, *map(str, args)])
            lock = Lock(redis, LOCK_PREFIX + name, timeout=lock_s, blocking=False)
            if not lock.acquire():
                logger.info("%s %s", name, SKIPPED)
                return SKIPPED
            http.share_pauses(PausesInRedis())
            try:
                outcome = job(*args, **kwargs)
                logger.info("%s %s", name, outcome)
                return outcome
            except ProviderError as failure:
                logger.warning("%s failed: %s", name, failure.message)
                return f"failed: {failure.message}"
            finally:
                _release(lock)

        return run

    return decorate


def _release(lock: Lock) -> None:
    try:
        lock.release()
    except (LockError, RedisError) as failure:  # expired, or Redis went away: it frees itself
        logger.warning("%s was not released: %s", lock.name, failure)


class PausesInRedis:
    """What a source asked us to wait, for the next run, which is another process. Redis away: no memory, no harm."""

    def seconds_left(self, host: str) -> float:
        try:
            return max(0, int(extensions.queue_redis().pttl(PAUSE_PREFIX + host))) / 1000
        except RedisError:
            return 0.0

    def pause(self, host: str, seconds: float) -> None:
        try:
            extensions.queue_redis().set(PAUSE_PREFIX + host, "1", px=max(1, int(seconds * 1000)))
        except RedisError:
            logger.warning("could not note that %s wants %d s of rest", host, seconds)


@alone(lock_s=25)
def update_price() -> str:
    """Fetch and record the price."""
    return "changed" if market.update_price() else "unchanged"


@alone(lock_s=25)
def update_sentiment() -> str:
    """Fetch and record the Fear & Greed index."""
    market.update_sentiment()
    return "recorded"


@alone(lock_s=25)
def update_chart(timeframe: str) -> str:
    """Fetch and record one chart."""
    market.update_chart(timeframe)
    return "recorded"


@alone(lock_s=35)
def fill_missing() -> str:
    """Fetch whatever has no data yet or is overdue."""
    return ", ".join(market.fill_missing()) or "nothing"
