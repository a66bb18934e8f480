"""Passwords: the rules for new ones, and hashing that never stops the event loop.

Stored as `bt1$` + bcrypt over base64(SHA-384(NFC password)): bcrypt itself reads 72 bytes at most, and 64 characters
may be more. The prefix names the scheme, so that a later one can live beside it.
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
    """Whether the password is right. Without a hash it takes as long, and is wrong."""
    cost = current_app.config["BCRYPT_COST"]

    def check() -> bool:
        known = hashed or _dummy_hash(cost)
        is_right = bcrypt.checkpw(_prehash(password), known.removeprefix(SCHEME).encode())
        return is_right and hashed is not None

    return _off_the_loop(check)


def is_outdated(hashed: str) -> bool:
    """Whether the hash is cheaper than what is configured now."""
    return int(hashed.removeprefix(SCHEME).split("$")[2]) < current_app.config["BCRYPT_COST"]


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
