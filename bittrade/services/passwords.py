"""Passwords: the rules for new ones, and hashing that never stops the event loop.

Stored as `bt1$` + bcrypt over base64(SHA-384(NFC password)): bcrypt itself reads 72 bytes at most, and 64 characters
may be more. The prefix names the scheme, so that a later one can live beside it. A hash without prefix was imported: it is
bcrypt over the password itself, of which 72 bytes count. It is replaced when its owner logs in.
"""

import base64
import hashlib
import os
import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import bcrypt
from flask import current_app
from gevent.threadpool import ThreadPool
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from bittrade.errors import InvalidInput, WeakPassword
from bittrade.extensions import is_gevent
from bittrade.services import audit
from bittrade.services.fair_queue import FairQueue

T = TypeVar("T")
MIN_LENGTH, MAX_LENGTH = 10, 256  # characters
SCHEME = "bt1$"
PLAIN_BYTES = 72
HASHING_PRIORITY = 10  # of 19, the least
COMMON = frozenset(FREQUENCY_LISTS["passwords"][:3000])
# Each hash takes about 0.3 s of a core: beyond this many waiting, the last would wait longer than a person does.
MAX_WAITING, MAX_WAITING_OF_A_NETWORK = 24, 12


def check_new(password: str, *, email: str, name: str) -> None:
    """Raise InvalidInput or WeakPassword for a password that nobody should choose."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidInput(
            f"The password must have {MIN_LENGTH} to {MAX_LENGTH} characters", field="password"
        )
    lowered = password.casefold()
    own = {email.casefold(), email.casefold().partition("@")[0], name.casefold()}
    if lowered in COMMON or lowered in own or "bittrade" in lowered:
        raise WeakPassword(field="password")


def hash_password(password: str) -> str:
    """A new salted hash at the configured cost."""
    cost = current_app.config["BCRYPT_COST"]
    return _off_the_loop(lambda: SCHEME + bcrypt.hashpw(_prehash(password), bcrypt.gensalt(cost)).decode())


def matches(password: str, hashed: str | None) -> bool:
    """Return whether the password is right. Without a hash, or with one that nothing can match, it takes as long."""
    cost = current_app.config["BCRYPT_COST"]
    is_usable = hashed is not None and "$" in hashed

    def check() -> bool:
        known = hashed if hashed is not None and is_usable else _dummy_hash(cost)
        secret = _prehash(password) if known.startswith(SCHEME) else _plain(password)
        # A cheaper hash is checked as often as makes it as slow: time must not tell who was imported.
        times = 2 ** max(0, cost - _cost_of(known))
        is_right = [bcrypt.checkpw(secret, known.removeprefix(SCHEME).encode()) for _ in range(times)]
        return all(is_right) and is_usable

    return _off_the_loop(check)


def is_outdated(hashed: str) -> bool:
    """Return whether the hash is of an older scheme, or cheaper than what is configured now."""
    return not hashed.startswith(SCHEME) or _cost_of(hashed) < current_app.config["BCRYPT_COST"]


def _cost_of(hashed: str) -> int:
    return int(hashed.removeprefix(SCHEME).split("$")[2])


def _plain(password: str) -> bytes:
    """Return what other programs' bcrypt reads of a password: 72 bytes of UTF-8, as it was typed."""
    return password.encode("utf-8", "replace")[:PLAIN_BYTES]


@cache
def _dummy_hash(cost: int) -> str:
    return SCHEME + bcrypt.hashpw(b"nobody", bcrypt.gensalt(cost)).decode()


def _prehash(password: str) -> bytes:
    """64 bytes without NUL, whatever the password's length."""
    normalized = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return base64.b64encode(hashlib.sha384(normalized).digest())


def _off_the_loop(work: Callable[[], T]) -> T:
    """Run a slow C call beside the event loop, in turns of the networks that ask for it. Raises TooBusy."""
    with _queue().turn(audit.neighbourhood(audit.origin.get().address or "")):
        return _pool().apply(work) if is_gevent() else work()


@cache
def _queue() -> FairQueue:
    at_once = 1 if is_gevent() else os.cpu_count() or 1
    return FairQueue(at_once=at_once, waiting=MAX_WAITING, waiting_each=MAX_WAITING_OF_A_NETWORK)


@cache
def _pool() -> ThreadPool:
    """One thread of our own: gevent's default pool resolves host names, and must not wait for a login."""
    pool = ThreadPool(1)
    pool.apply(_yield_to_others)
    return pool


def _yield_to_others() -> None:
    """Let this thread have what the others leave: a login may take a moment longer, a trade may not."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, 0, HASHING_PRIORITY)
