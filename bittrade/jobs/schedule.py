"""What runs when, as a table; and the reconciliation that keeps Redis equal to it.

rq-scheduler keeps its entries in Redis: code that changes says nothing to them, and a crash or a hand may delete them.
So every start and a watchdog compare: missing entries are added, changed ones replaced, withdrawn ones removed, and
unchanged ones left alone, with the moment at which they are next due. It must not know what the jobs do.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from crontab import CronTab
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job
from rq_scheduler import Scheduler

from bittrade.extensions import own_name

logger = logging.getLogger(__name__)

# The price has a queue of its own, which the worker empties first: five slow charts must not make the price old.
PRICE_QUEUE = "price"
ORDERS_QUEUE = "orders"  # what a new price fills, before anything that can wait
MARKET_QUEUE = "market"
MAINTENANCE_QUEUE = "maintenance"
QUEUES = (PRICE_QUEUE, ORDERS_QUEUE, MARKET_QUEUE, MAINTENANCE_QUEUE)
# The books have a queue and a process of their own: a proof may take minutes.
LEDGER_QUEUE = "ledger"
LEDGER_QUEUES = (LEDGER_QUEUE,)
# Whatever has this prefix and is not in the table was withdrawn; other entries are not ours.
ID_PREFIX = "bittrade-"
JOBS_MODULE = "bittrade.jobs."
CLOCKS_DIFFER_S = 5.0  # of two schedulers
MATCH = "bittrade-match"

# When the original refreshes each chart, in UTC.
CHART_CRONS = {
    "1d": "0 * * * *",
    "7d": "0 */6 * * *",
    "30d": "0 */12 * * *",
    "90d": "0 */18 * * *",
    "365d": "0 0 * * *",
}


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """One line of the table. Exactly one of `interval_s` and `cron` (UTC) is set."""

    id: str
    function: str
    args: tuple[str, ...] = ()
    interval_s: int | None = None
    cron: str | None = None
    queue: str = MARKET_QUEUE
    timeout_s: int = 20  # one fetch ends within 15 s
    ttl_s: int = 60  # a run that waited longer than this for a worker is dropped: the next one is fresher
    result_ttl_s: int = 60
    failure_ttl_s: int = 3600
    first_after_s: int = 0  # from being added to the first run

    def __post_init__(self) -> None:
        if (self.interval_s is None) == (self.cron is None):
            raise ValueError(f"{self.id}: give either an interval or a cron line")
        if not self.id.startswith(ID_PREFIX) or not self.function.startswith(JOBS_MODULE):
            raise ValueError(f"{self.id}: the id begins with {ID_PREFIX}, the function with {JOBS_MODULE}")

    def next_due(self, *, after: float) -> float:
        """The first regular moment after `after`; both are Unix seconds."""
        if self.interval_s is not None:
            return after + self.interval_s
        return next_cron(str(self.cron), after=after)

    def period_s(self, *, after: float) -> float:
        """Return the longer of the two regular pauses that come after `after`."""
        first = self.next_due(after=after)
        second = self.next_due(after=first)
        return max(second - first, self.next_due(after=second) - second)

    @property
    def job_name(self) -> str:
        """Return the name under which its runs are locked and noted."""
        return "-".join([self.function.rpartition(".")[2], *self.args])


def next_cron(line: str, *, after: float) -> float:
    """The first moment after `after` that the cron line names, in UTC whatever the machine's time zone is."""
    moment: datetime = CronTab(line).next(now=datetime.fromtimestamp(after, UTC), return_datetime=True)
    return moment.replace(tzinfo=UTC).timestamp()


def schedule(*, price_interval_s: int, ledger_interval_s: int) -> tuple[ScheduleEntry, ...]:
    """The whole table."""
    return (
        *market_schedule(price_interval_s=price_interval_s),
        _orders(),
        *_loans(),
        *_housekeeping(),
        *_ledger(ledger_interval_s),
    )


def market_schedule(*, price_interval_s: int) -> tuple[ScheduleEntry, ...]:
    """What fetches. A fresh install runs all of it at once, so that every page has data within the first minute."""
    price = ScheduleEntry(
        "bittrade-price",
        "bittrade.jobs.market.update_price",
        interval_s=price_interval_s,
        queue=PRICE_QUEUE,
        ttl_s=max(1, min(25, price_interval_s)),
    )
    sentiment = ScheduleEntry(
        "bittrade-sentiment", "bittrade.jobs.market.update_sentiment", cron="0 0 * * *", ttl_s=600
    )
    charts = (
        ScheduleEntry(
            f"bittrade-chart-{timeframe}",
            "bittrade.jobs.market.update_chart",
            (timeframe,),
            cron=cron,
            ttl_s=600,
        )
        for timeframe, cron in CHART_CRONS.items()
    )
    # What failed or was missed is caught up here. 30 s bounds how long it can keep the worker from the price.
    backfill = ScheduleEntry(
        "bittrade-backfill",
        "bittrade.jobs.market.fill_missing",
        interval_s=60,
        timeout_s=30,
        first_after_s=20,
    )
    return (price, sentiment, *charts, backfill)


def _orders() -> ScheduleEntry:
    """Limit orders: queued by each accepted price (`jobs.market`), and here in case that was lost. The scheduler's own
    process looks each second besides (`worker.settle`)."""
    return ScheduleEntry(
        MATCH,
        "bittrade.jobs.orders.match",
        interval_s=60,
        queue=ORDERS_QUEUE,
        ttl_s=60,
        first_after_s=30,
    )


def _loans() -> tuple[ScheduleEntry, ...]:
    """Loans: what a price endangers (the scheduler's own process looks each second besides), and the day's interest."""
    return (
        ScheduleEntry(
            "bittrade-loans",
            "bittrade.jobs.loans.watch_loans",
            interval_s=60,
            queue=ORDERS_QUEUE,
            ttl_s=60,
            first_after_s=35,
        ),
        ScheduleEntry(
            "bittrade-interest",
            "bittrade.jobs.loans.charge_interest",
            interval_s=60,
            queue=MAINTENANCE_QUEUE,
            timeout_s=25,
            ttl_s=60,
            first_after_s=45,
        ),
    )


def _housekeeping() -> tuple[ScheduleEntry, ...]:
    """What cleans up: short runs, because a worker does one thing at a time and the price must not wait."""
    return (
        ScheduleEntry(
            "bittrade-thin-prices",
            "bittrade.jobs.market.thin_prices",
            cron="17 * * * *",
            queue=MAINTENANCE_QUEUE,
            timeout_s=25,
            ttl_s=600,
            first_after_s=300,
        ),
        ScheduleEntry(
            "bittrade-purge",
            "bittrade.jobs.maintenance.purge",
            cron="7-59/10 * * * *",
            queue=MAINTENANCE_QUEUE,
            timeout_s=25,
            ttl_s=600,
            first_after_s=360,
        ),
    )


def _ledger(interval_s: int) -> tuple[ScheduleEntry, ...]:
    """What proves the books. A proof ends by itself some time before its job would be cut."""
    return (
        ScheduleEntry(
            "bittrade-ledger",
            "bittrade.jobs.ledger.verify",
            interval_s=interval_s,
            queue=LEDGER_QUEUE,
            timeout_s=420,
            ttl_s=600,
            first_after_s=120,
        ),
        ScheduleEntry(
            "bittrade-ledger-whole",
            "bittrade.jobs.ledger.verify_whole",
            cron="23 3 * * 0",
            queue=LEDGER_QUEUE,
            timeout_s=2100,
            ttl_s=6 * 3600,
            first_after_s=600,
        ),
        ScheduleEntry(
            "bittrade-ledger-digest",
            "bittrade.jobs.ledger.digest",
            cron="53 0 * * *",
            queue=LEDGER_QUEUE,
            timeout_s=420,
            ttl_s=6 * 3600,
            first_after_s=900,
        ),
    )


class OwnScheduler(Scheduler):
    """rq-scheduler with names of one installation: another on the same Redis has others (docs/adr/0010)."""

    def __init__(self, *, installation: str, **options: Any) -> None:
        super().__init__(**options)
        self._installation = installation
        self.scheduled_jobs_key = own_name(installation, "schedule")

    def job_id(self, entry_or_run_id: str) -> str:
        """Return the id of the job in Redis. RQ allows letters, digits, dashes and underscores in it."""
        return f"{self._installation}-{entry_or_run_id}"

    def short_id(self, job_id: str) -> str:
        """Return the id of an entry or run without the installation's part."""
        return job_id.removeprefix(f"{self._installation}-")

    def queue_name_of(self, queue: str) -> str:
        return own_name(self._installation, queue)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The ids that were touched."""

    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    brought_back: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.replaced or self.removed or self.brought_back)


def reconcile(
    scheduler: OwnScheduler, table: Iterable[ScheduleEntry], *, now: float | None = None
) -> Reconciliation:
    """Make the entries in Redis equal to the table. Safe to run from several processes at once."""
    now = datetime.now(UTC).timestamp() if now is None else now
    wanted = {entry.id: entry for entry in table}
    added, replaced, brought_back = [], [], []
    for entry in wanted.values():
        template = _find_template(scheduler, entry.id)
        is_scheduled = entry.id in scheduler
        if template is None or not is_scheduled:
            _save(scheduler, entry, due=now + entry.first_after_s, keep_due=True)
            added.append(entry.id)
        elif template.meta.get("entry") != _description(entry):
            _save(scheduler, entry, due=entry.next_due(after=now), keep_due=False)
            replaced.append(entry.id)
        elif _bring_back(scheduler, entry, now=now):
            brought_back.append(entry.id)
    removed = _remove_withdrawn(scheduler, set(wanted))
    result = Reconciliation(tuple(added), tuple(replaced), tuple(removed), tuple(brought_back))
    if result:
        touched = map(_names, (added, replaced, removed, brought_back))
        logger.info("schedule: added %s, replaced %s, removed %s, brought back %s", *touched)
    return result


def _bring_back(scheduler: OwnScheduler, entry: ScheduleEntry, *, now: float) -> bool:
    """Move an entry that is due further ahead than its own period: a clock that was ahead put it there.

    An interval is due at once, a cron line at its next moment.
    """
    latest = entry.next_due(after=now) + entry.first_after_s + CLOCKS_DIFFER_S
    due = scheduler.connection.zscore(scheduler.scheduled_jobs_key, entry.id)
    if due is None or due <= latest:
        return False
    moment = now if entry.cron is None else entry.next_due(after=now)
    return bool(
        scheduler.connection.zadd(scheduler.scheduled_jobs_key, {entry.id: moment}, xx=True, lt=True, ch=True)
    )


def _names(ids: Sequence[str]) -> str:
    return ", ".join(ids) or "nothing"


def _description(entry: ScheduleEntry) -> dict[str, object]:
    """The entry as it comes back from Redis, where JSON knows no tuples."""
    return {**asdict(entry), "args": list(entry.args)}


def entry_of(template: Job) -> ScheduleEntry:
    """The table's line that a template was made from. Raises ValueError for a template that is not ours."""
    description: Any = template.meta.get("entry")
    try:
        return ScheduleEntry(**{**description, "args": tuple(description["args"])})
    except (TypeError, KeyError) as failure:
        raise ValueError(f"{template.id} was not made by this schedule") from failure


def _find_template(scheduler: OwnScheduler, entry_id: str) -> Job | None:
    try:
        template: Job = scheduler.job_class.fetch(scheduler.job_id(entry_id), connection=scheduler.connection)
        template.meta.get("entry")
    except (NoSuchJobError, DeserializationError, ValueError, AttributeError):
        return None  # absent, or written by something that is not this code
    return template


def _save(scheduler: OwnScheduler, entry: ScheduleEntry, *, due: float, keep_due: bool) -> None:
    """Write the template that runs are made from, and when it is due (an existing moment wins if `keep_due`).

    The entry has its short id; the job, as all in Redis, the installation's before it.
    """
    template = scheduler.job_class.create(
        entry.function,
        args=entry.args,
        id=scheduler.job_id(entry.id),
        connection=scheduler.connection,
        timeout=entry.timeout_s,
        result_ttl=-1,
        meta={"entry": _description(entry), "interval": entry.interval_s, "cron_string": entry.cron},
        origin=scheduler.queue_name_of(entry.queue),
    )
    with scheduler.connection.pipeline() as pipe:
        pipe.delete(template.key)
        template.save(pipeline=pipe)
        pipe.zadd(scheduler.scheduled_jobs_key, {entry.id: due}, nx=keep_due)
        pipe.execute()


def _remove_withdrawn(scheduler: OwnScheduler, wanted: set[str]) -> list[str]:
    scheduled = {raw.decode() for raw in scheduler.connection.zrange(scheduler.scheduled_jobs_key, 0, -1)}
    withdrawn = sorted(entry_id for entry_id in scheduled - wanted if entry_id.startswith(ID_PREFIX))
    for entry_id in withdrawn:
        with scheduler.connection.pipeline() as pipe:
            pipe.zrem(scheduler.scheduled_jobs_key, entry_id)
            pipe.delete(scheduler.job_class.key_for(scheduler.job_id(entry_id)))
            pipe.execute()
    return withdrawn
