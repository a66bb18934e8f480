"""The scheduler's loop: due entries become queued runs, and nothing that Redis does can end or double it.

rq-scheduler's own loop ends with the first Redis error, loses an entry for good when it is killed between two commands,
reads cron lines in local time, and queues the template itself, so that a stopped worker finds a heap of runs. Here each
run is a job of its own with a time to live, made in the same Redis transaction that moves the entry to its next moment.
It must not know the table (it is handed one) nor what the jobs do.
"""

import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from redis import Redis, WatchError
from redis.exceptions import RedisError
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from bittrade.extensions import own_name
from bittrade.jobs.alone import ENDED, LOCK_S
from bittrade.jobs.schedule import (
    CLOCKS_DIFFER_S,
    JOBS_MODULE,
    OwnScheduler,
    Reconciliation,
    ScheduleEntry,
    entry_of,
    reconcile,
)

logger = logging.getLogger(__name__)

POLL_S = 1.0
WATCHDOG_S = 5.0
OVERDUE_S = 30.0  # nobody moved an entry on for so long after it was due
RUN_MARK = "_at_"  # between an entry's id and its moment, in the id of a run


class NamedJob(Job):
    """A job that Redis can only name, not define: JSON instead of pickle, and functions of `bittrade.jobs` only.

    With RQ's defaults, whoever can write to Redis runs code of theirs in the worker.
    """

    def __init__(
        self, id: str | None = None, connection: Redis | None = None, serializer: Any = None
    ) -> None:
        super().__init__(id, connection, serializer=JSONSerializer)

    def perform(self) -> Any:
        if not (self.func_name or "").startswith(JOBS_MODULE):
            raise PermissionError(f"{self.func_name} is not a job of BitTrade")
        return super().perform()


class SteadyScheduler(OwnScheduler):
    """rq-scheduler with a loop that survives Redis, and with transactions where it has sequences."""

    job_class = NamedJob

    def __init__(self, *, connection: Redis, table: tuple[ScheduleEntry, ...], installation: str) -> None:
        super().__init__(
            installation=installation, connection=connection, interval=POLL_S, job_class=NamedJob
        )
        self.table = table
        self._reconciled_at: float | None = None
        self._began_at = time.time()

    def reconcile(self) -> Reconciliation:
        """Make the entries in Redis equal to the table, and note the time for the watchdog."""
        result = reconcile(self, self.table)
        self._reconciled_at = time.monotonic()
        return result

    def tick(self) -> list[str]:
        """One round: reconcile if it is time, then queue what is due. Returns the ids of the entries queued."""
        if self._reconciled_at is None or time.monotonic() - self._reconciled_at >= WATCHDOG_S:
            self.reconcile()
        self.connection.hset(self.key, "seen", time.time())
        self.connection.expire(self.key, int(POLL_S) + 10)
        now = time.time()
        due = self.connection.zrangebyscore(self.scheduled_jobs_key, 0, now, withscores=True)
        return [raw.decode() for raw, score in due if self._enqueue_run(raw.decode(), due=score, now=now)]

    def _enqueue_run(self, entry_id: str, *, due: float, now: float) -> bool:
        """Queue a run and move the entry on, both or neither; False where another scheduler was quicker."""
        try:
            template = self.job_class.fetch(self.job_id(entry_id), connection=self.connection)
            entry = entry_of(template)
        except RedisError:
            raise
        except Exception as failure:  # an entry nobody can read must not stop the others
            logger.warning("schedule: dropped %s, which cannot be read: %s", entry_id, failure)
            self.connection.zrem(self.scheduled_jobs_key, entry_id)
            return False
        queue = Queue(
            self.queue_name_of(entry.queue),
            connection=self.connection,
            job_class=self.job_class,
            serializer=JSONSerializer,
        )
        is_waiting = _drop_expired_runs(queue, self.job_id(entry_id))
        # From the due moment, so that an interval does not drift; from now where that is past already.
        following = entry.next_due(after=due)
        following = following if following > now else entry.next_due(after=now)
        with self.connection.pipeline() as pipe:
            try:
                pipe.watch(self.scheduled_jobs_key)
                if pipe.zscore(self.scheduled_jobs_key, entry_id) != due:
                    return False
                pipe.multi()
                pipe.zadd(self.scheduled_jobs_key, {entry_id: following})
                if not is_waiting:
                    queue.enqueue_job(self._run_of(entry, queue, due=due), pipeline=pipe)
                pipe.execute()
            except WatchError:
                return False  # something moved; the next round, a second away, sees what
        return not is_waiting

    def _run_of(self, entry: ScheduleEntry, queue: Queue, *, due: float) -> Job:
        return queue.create_job(
            entry.function,
            args=entry.args,
            job_id=self.job_id(f"{entry.id}{RUN_MARK}{int(due * 1000)}"),
            timeout=entry.timeout_s,
            ttl=entry.ttl_s,
            result_ttl=entry.result_ttl_s,
            failure_ttl=entry.failure_ttl_s,
        )

    def run_soon(self, run_id: str) -> bool:
        """Make the entry of a run that was killed due as soon as its lock has ended; False if it is due sooner."""
        due = {self.short_id(run_id).partition(RUN_MARK)[0]: time.time() + LOCK_S}
        return bool(self.connection.zadd(self.scheduled_jobs_key, due, xx=True, lt=True, ch=True))

    def run_now(self, entry_id: str) -> bool:
        """Make an entry due at once; False where it is due already, or unknown."""
        due = {entry_id: time.time()}
        return bool(self.connection.zadd(self.scheduled_jobs_key, due, xx=True, lt=True, ch=True))

    def next_runs(self) -> dict[str, float]:
        """When each entry is due next, in Unix seconds."""
        due = self.connection.zrange(self.scheduled_jobs_key, 0, -1, withscores=True)
        return {raw.decode(): score for raw, score in due}

    def list_overdue(self) -> list[str]:
        """Return the entries that nobody queues, or whose runs have not ended for two periods and more."""
        now = time.time()
        due, ended = self.next_runs(), self.connection.hgetall(own_name(self._installation, ENDED))
        return sorted(entry.id for entry in self.table if self._is_overdue(entry, due, ended, now))

    def _is_overdue(
        self, entry: ScheduleEntry, due: dict[str, float], ended: dict[bytes, bytes], now: float
    ) -> bool:
        if due.get(entry.id, now) < now - OVERDUE_S:
            return True
        # A run of before this scheduler began may be long ago because no scheduler ran.
        noted = float(ended.get(entry.job_name.encode(), 0))
        last = max(noted if noted <= now + CLOCKS_DIFFER_S else 0, self._began_at + entry.first_after_s)
        return now - last > 2 * entry.period_s(after=now) + entry.ttl_s + entry.timeout_s

    def run_for_ever(self, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Tick each second until SIGTERM or SIGINT. Redis may go and come back; so may any single round fail."""
        end_on_signals()
        is_up = True
        try:
            while True:
                try:
                    self.tick()
                    if not is_up:
                        logger.info("schedule: Redis is back")
                    is_up = True
                except RedisError as failure:
                    if is_up:
                        logger.error("schedule: Redis is away (%s); trying again each second", failure)
                    is_up = False
                    self._reconciled_at = None  # it may come back empty
                except Exception:
                    logger.exception("schedule: a round failed")
                sleep(POLL_S)
        finally:
            if is_up:
                with suppress(RedisError):
                    self.connection.delete(self.key)


def _drop_expired_runs(queue: Queue, template_id: str) -> bool:
    """Whether a run of this entry waits for a worker. Runs whose time to live has passed leave only an id: drop it."""
    prefix = template_id + RUN_MARK
    is_waiting = False
    for job_id in queue.get_job_ids():
        if job_id.startswith(prefix):
            if queue.connection.exists(queue.job_class.key_for(job_id)):
                is_waiting = True
            else:
                queue.connection.lrem(queue.key, 0, job_id)
    return is_waiting


def end_on_signals() -> None:
    """Let SIGTERM and SIGINT end the process with status 0, whatever it waits for."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
