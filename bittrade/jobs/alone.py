"""What every job is wrapped in: never twice at once, and one line about how it ended.

It must not know what the jobs do.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import ParamSpec
from uuid import uuid4

from redis.exceptions import LockError, RedisError
from redis.lock import Lock
from rq import get_current_job

from bittrade import extensions, logs
from bittrade.errors import DatabaseUnavailable, OutcomeUnknown, ProviderError

logger = logging.getLogger(__name__)

LOCK_PREFIX = "job-lock:"
ENDED = "jobs-ended"  # when each job last did, in Unix seconds
SKIPPED = "skipped: the run before is not done"
# The lock is kept by a thread of the job: one that was killed frees the next run after this, not after its time limit.
LOCK_S = 6.0
RENEW_S = 2.0

P = ParamSpec("P")


def alone(job: Callable[P, str]) -> Callable[P, str]:
    """Let at most one call with the same arguments run at a time, in any process.

    The lock holds a token of its own, and only that token renews and releases it. A source that fails and a database
    that is away are expected events, told in one line; any other exception marks the run as failed.
    """

    @wraps(job)
    def run(*args: P.args, **kwargs: P.kwargs) -> str:
        name = "-".join([job.__name__, *map(str, args)])
        current = get_current_job()  # none where the scheduler runs it by itself
        with logs.belonging_to(job_id=f"{name}-{uuid4().hex[:12]}" if current is None else current.id):
            return _run(name, lambda: job(*args, **kwargs))

    return run


def _run(name: str, job: Callable[[], str]) -> str:
    lock = Lock(
        extensions.queue_redis(),
        extensions.own(LOCK_PREFIX + name),
        timeout=LOCK_S,
        blocking=False,
        thread_local=False,
    )
    if not lock.acquire():
        logger.info("%s %s", name, SKIPPED)
        return SKIPPED
    is_done = threading.Event()
    threading.Thread(target=_keep, args=(lock, is_done), name="job-lock", daemon=True).start()
    try:
        outcome = job()
        logger.info("%s %s", name, outcome)
        return outcome
    except (ProviderError, DatabaseUnavailable, OutcomeUnknown) as failure:
        logger.warning("%s failed: %s", name, failure.message)
        return f"failed: {failure.message}"
    finally:
        _note_end(name)
        is_done.set()
        _release(lock)


def _keep(lock: Lock, is_done: threading.Event) -> None:
    while not is_done.wait(RENEW_S):
        try:
            lock.reacquire()
        except LockError:
            return  # lost, while this process stood still: another run has it, and what we record late is refused
        except RedisError:
            pass  # it may be back in time


def _note_end(name: str) -> None:
    """Note that a run ended, however it did: one that never does is overdue."""
    with suppress(RedisError):
        extensions.queue_redis().hset(extensions.own(ENDED), name, str(time.time()))


def _release(lock: Lock) -> None:
    try:
        lock.release()
    except (LockError, RedisError) as failure:  # expired, or Redis went away: it frees itself
        logger.warning("%s was not released: %s", lock.name, failure)
