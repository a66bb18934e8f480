"""Counts against the limits, which are settings: the same counts for requests and for the sockets' events.

What writes or tries passwords is counted in Redis, for all processes together; while Redis is away, by each process for
itself. Reads are counted by each process for itself always: a limit on them must cost less than the read does. It does
not know what a request is.
"""

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import NoReturn

from flask import Flask, current_app
from limits import RateLimitItem, parse
from redis import RedisError

from bittrade.errors import RateLimited
from bittrade.extensions import limits_storage
from bittrade.logs import warn_seldom
from bittrade.services import audit

log = logging.getLogger(__name__)
PREFIX = "limit"
PAUSE_S = 1.0  # after a failure Redis is left alone this long
MAX_COUNTED = 50_000  # counters that one process keeps


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of a limit in this window."""

    allowed: int
    remaining: int
    resets_at: float

    @property
    def resets_in_s(self) -> int:
        return max(1, ceil(self.resets_at - time.time()))

    def headers(self) -> list[tuple[str, str]]:
        """What a client is told of it."""
        return [
            ("X-RateLimit-Limit", str(self.allowed)),
            ("X-RateLimit-Remaining", str(max(0, self.remaining))),
            ("X-RateLimit-Reset", str(int(self.resets_at))),
        ]


def count(app: Flask, setting: str, who: str, *, where: str = "", is_local: bool = False) -> Standing:
    """Count one more of `who` against a setting, apart for each `where`; locally: by this process alone.

    Only that needs no app context.
    """
    allowed = _parse(app.config[setting])
    seconds = allowed.get_expiry()
    window = int(time.time() // seconds)
    # The window's number is in the key, so that what is left follows from the count: one question, not two.
    raw = f"{setting}:{where}:{who}:{window}"
    counters: Counters = app.extensions["bittrade_limits"]
    counted = counters.local(raw, seconds) if is_local else counters.everywhere(raw, seconds)
    return Standing(allowed.amount, allowed.amount - counted, (window + 1) * seconds)


def take(setting: str, who: str, **facts: int) -> None:
    """Count one more, where limits are kept at all. Raises RateLimited, which the audit log shows with `facts`."""
    if current_app.config["RATELIMIT_ENABLED"]:
        standing = count(current_app, setting, who)
        if standing.remaining < 0:
            refuse(setting, who, standing, **facts)


def refuse(setting: str, who: str, standing: Standing, *, user_id: int | None = None) -> NoReturn:
    """Raise RateLimited, and write it to the audit log."""
    audit.record_refusal("limit_hit", cause=f"{setting} {who}", user_id=user_id, limit=setting)
    raise RateLimited(retry_after_s=standing.resets_in_s)


@lru_cache(maxsize=64)
def _parse(text: str) -> RateLimitItem:
    return parse(text)


class Counters:
    """The counts of one app: in Redis, and in this process where Redis is not asked or does not answer."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()
        self._redis_away_until = 0.0

    def everywhere(self, key: str, seconds: int) -> int:
        """Count for all processes together; for this one alone while Redis is away."""
        if time.monotonic() < self._redis_away_until:
            return self.local(key, seconds)
        try:
            hashed = hashlib.sha256(key.encode()).hexdigest()  # no e-mail, no length of a client's choice
            return limits_storage().incr(f"{PREFIX}:{hashed}", seconds)
        except RedisError as error:
            self._redis_away_until = time.monotonic() + PAUSE_S
            warn_seldom(log, "limits are counted by this process alone: %s", error)
            return self.local(key, seconds)

    def local(self, key: str, seconds: int) -> int:
        with self._lock:
            if key not in self._counts and len(self._counts) >= MAX_COUNTED:
                self._forget(time.monotonic())
            count = self._counts[key] = self._counts.get(key, 0) + 1
            if count == 1:
                self._ends[key] = time.monotonic() + seconds
        return count

    def _forget(self, now: float) -> None:
        """Windows that are over; where none is, everything: a new count is better than no memory."""
        over = [key for key, end in self._ends.items() if end <= now] or list(self._ends)
        for key in over:
            del self._counts[key], self._ends[key]
