"""How often somebody may ask: per address, per account, per API key; each limit is a setting (docs/security.md).

What writes or tries passwords is counted in Redis, for all processes together; while Redis is away, by each process for
itself. Reads are counted by each process for itself always: a limit on them must cost less than the read does.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from flask import Flask, Response, current_app, g, request
from limits import RateLimitItem, parse
from redis import RedisError

from bittrade.api.requests import read_object
from bittrade.errors import BitTradeError, RateLimited
from bittrade.extensions import limits_storage
from bittrade.logs import warn_seldom
from bittrade.services import audit, auth
from bittrade.services.identity import Identity

log = logging.getLogger(__name__)
PREFIX = "limit"
PAUSE_S = 1.0  # after a failure Redis is left alone this long
MAX_COUNTED = 50_000  # counters that one process keeps
UNCOUNTED = (
    "bittrade.uncounted"  # in the environment of a request that nobody made: api/ready.py counts for it
)


def address() -> str:
    return audit.neighbourhood(request.remote_addr or "")


def account() -> str:
    return f"user {_identity().user_id}"


def api_key() -> str:
    return f"key {_identity().key_id}"


def email() -> str:
    """The account that a login is for, whatever its spelling; what is no e-mail counts as its address."""
    try:
        normalized = auth.normalize_email(read_object().get("email"))
    except BitTradeError:
        normalized = None
    return f"email {normalized}" if normalized else f"no email {address()}"


def _identity() -> Identity:
    identity: Identity = g.identity
    return identity


@dataclass(frozen=True, slots=True)
class Limit:
    """A setting's name, and whom it counts by. A count that is `shared` is one over all routes."""

    setting: str
    who: Callable[[], str]
    is_local: bool = False
    is_shared: bool = False


READ = (Limit("RATELIMIT_READ", address, is_local=True, is_shared=True),)
LOGIN = (Limit("RATELIMIT_LOGIN", address), Limit("RATELIMIT_LOGIN_ACCOUNT", email))
REGISTER = (Limit("RATELIMIT_REGISTER", address),)
WRITE = (Limit("RATELIMIT_WRITE", account),)
TRADE = (Limit("RATELIMIT_TRADE", account),)
NONE: tuple[Limit, ...] = ()
KEY = (Limit("RATELIMIT_KEY", api_key, is_shared=True),)
SETTINGS = tuple(limit.setting for group in (READ, LOGIN, REGISTER, WRITE, TRADE, KEY) for limit in group)


def check(limits: Iterable[Limit]) -> None:
    """Count this request against each limit. Raises RateLimited."""
    if not current_app.config["RATELIMIT_ENABLED"] or UNCOUNTED in request.environ:
        return
    for limit in limits:
        standing = _count(limit)
        if standing.remaining < 0:
            g.standing = standing
            audit.record_refusal(
                "limit_hit", cause=f"{limit.setting} {limit.who()}", limit=limit.setting, **_whom()
            )
            raise RateLimited(retry_after_s=standing.resets_in_s)
        known = g.get("standing")
        if known is None or standing.remaining < known.remaining:
            g.standing = standing


def _whom() -> dict[str, int]:
    identity = g.get("identity")
    return {} if identity is None else {"user_id": identity.user_id}


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


def count_read(app: Flask, who: str) -> Standing | None:
    """Count a read that is answered without Flask; None where nothing is limited."""
    return _standing(app, READ[0], "", who) if app.config["RATELIMIT_ENABLED"] else None


def _count(limit: Limit) -> Standing:
    where = "" if limit.is_shared else request.endpoint
    return _standing(current_app, limit, where or "", limit.who())


def _standing(app: Flask, limit: Limit, where: str, who: str) -> Standing:
    allowed = _parse(app.config[limit.setting])
    seconds = allowed.get_expiry()
    window = int(time.time() // seconds)
    # The window's number is in the key, so that what is left follows from the count: one question, not two.
    raw = f"{limit.setting}:{where}:{who}:{window}"
    counter: Counters = app.extensions["bittrade_limits"]
    count = counter.local(raw, seconds) if limit.is_local else counter.everywhere(raw, seconds)
    return Standing(allowed.amount, allowed.amount - count, (window + 1) * seconds)


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


def init_app(app: Flask) -> None:
    app.extensions["bittrade_limits"] = Counters()
    app.before_request(_check_without_handler)
    app.after_request(_tell)


def _check_without_handler() -> None:
    """Count what no handler of ours will: preflights, unknown paths, unknown methods."""
    if request.method == "OPTIONS" or request.routing_exception is not None:
        check(READ)


def _tell(response: Response) -> Response:
    """Tell the client how it stands with the limit that it is nearest to."""
    standing = g.get("standing")
    if standing is not None:
        response.headers.extend(standing.headers())
    return response
