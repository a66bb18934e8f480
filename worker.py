"""The RQ door.

    python worker.py               work the queues: fetch prices, sentiment and charts, clean up; the books beside it
    python worker.py ledger        prove the books; the one above starts this itself, so that no price waits for a proof
    python worker.py scheduler     queue those jobs when due, tell when the feed goes stale, fetch when nobody does,
                                   fill limit orders, run recurring plans, watch loans
    python worker.py check-worker, check-scheduler    status 0 while one says that it is there

Both outlive Redis: they wait for its return, for ever. What runs when is in `bittrade/jobs/schedule.py`; nothing here
knows what a job does. gevent must not have patched this process: RQ ends jobs that take too long by SIGALRM, and forks.
"""

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from flask import Flask, current_app
from gunicorn import systemd
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker.base import StopRequested

import config
from bittrade import create_app, extensions, unit_of_work
from bittrade.errors import BitTradeError
from bittrade.jobs.gauges import list_workers
from bittrade.jobs.schedule import LEDGER_QUEUES, QUEUES, schedule
from bittrade.jobs.scheduler import NamedJob, SteadyScheduler, end_on_signals
from bittrade.logs import warn_seldom
from bittrade.services import loans, market, orders, plans
from bittrade.services.market import watch as market_watch

logger = logging.getLogger("bittrade.worker")
STARTED_AT = time.monotonic()

REDIS_WAIT_S = 1.0
REDIS_HANG_S = 10  # a command of the scheduler that takes longer than this is a Redis that hangs
WATCH_S = 1.0  # how often the feed is looked at
# Between two fetches of the scheduler's own, and before the first. With the job's two a minute they stay within ten.
RESCUE_PAUSE_S = 8.0
LEDGER_PAUSE_S = 5.0  # before the books' process starts, and starts again
HORSE_GRACE_S = 3.0  # what a running job gets to finish once the worker is asked to end


class MarketWorker(Worker):
    """An RQ worker that forks for each job, is back within seconds of Redis' return, and ends within seconds."""

    max_connection_wait_time = REDIS_WAIT_S  # RQ's own grows to a minute
    job_class = NamedJob
    log_result_lifespan = False
    log_job_description = False

    def __init__(self, app: Flask, connection: Redis, queues: tuple[str, ...] = QUEUES) -> None:
        # A worker_ttl of 25 s makes it wait on the queues for 10 s at a time, so a Redis that hangs is noticed in 20.
        super().__init__(
            [extensions.own_name(app.config["INSTALLATION_ID"], queue) for queue in queues],
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=25,
            maintenance_interval=60,
            log_job_description=False,
            name=f"{app.config['INSTALLATION_ID']}-{uuid4().hex}",
        )
        self._app = app
        self.was_asked_to_end = False

    def perform_job(self, job: Job, queue: Queue) -> bool:
        """Run the job in the forked child, with connections of its own."""
        with self._app.app_context():
            for engine in extensions.db.engines.values():
                engine.dispose(close=False)
            return super().perform_job(job, queue)

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:
        """A run that was killed is made up for within seconds, not at its next moment."""
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)
        if not self.was_asked_to_end:
            installation = self._app.config["INSTALLATION_ID"]
            SteadyScheduler(connection=self.connection, table=(), installation=installation).run_soon(job.id)

    def handle_warm_shutdown_request(self) -> None:
        """Let the running job finish, but not for long: all jobs can be run again."""
        self.was_asked_to_end = True
        super().handle_warm_shutdown_request()
        if self.horse_pid:
            timer = threading.Timer(HORSE_GRACE_S, self._end_horse)
            timer.daemon = True
            timer.start()

    def _end_horse(self) -> None:
        # Read once: it becomes 0 when the job ends, and group 0 is this very process.
        if pid := self.horse_pid:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def teardown(self) -> None:
        """Say goodbye if Redis hears it; end the listening thread in any case."""
        if self.is_horse:
            return
        listener: Any = self.pubsub_thread
        if listener:
            listener.stop()
        with suppress(RedisError):
            self.register_death()
        with suppress(RedisError):
            self.unsubscribe()


def run_worker(app: Flask, queues: tuple[str, ...] = QUEUES) -> None:
    """Work until SIGTERM or SIGINT. RQ's loop ends when Redis goes at the wrong moment: then it begins anew."""
    logging.getLogger("rq.worker").setLevel(logging.WARNING)  # each job says its one line itself
    with app.app_context():
        connection = extensions.queue_redis()
    while True:
        end_on_signals()  # RQ's own handlers hold only while its loop runs
        try:
            worker = MarketWorker(app, connection, queues)
            logger.info("worker: ready for jobs of the queues %s", ", ".join(queues))
            worker.work(logging_level=None)
            if worker.was_asked_to_end:
                return
        except RedisError as failure:
            warn_seldom(logger, "worker: Redis is away, or refuses (%s); trying again each second", failure)
        except StopRequested:
            return
        end_on_signals()
        time.sleep(REDIS_WAIT_S)


@contextmanager
def ledger_beside() -> Iterator[None]:
    """Keep a process beside this one that works the books' queue: a proof may take minutes, a price may not wait."""
    command = [sys.executable, str(Path(__file__).resolve()), "ledger", "--beside", str(os.getpid())]
    is_over = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        while not is_over.wait(LEDGER_PAUSE_S):  # first the price
            running[:] = [subprocess.Popen(command)]
            running[0].wait()

    keeper = threading.Thread(target=keep, name="ledger", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        is_over.set()
        for process in running:
            process.terminate()
            try:
                process.wait(HORSE_GRACE_S + 2)
            except subprocess.TimeoutExpired:
                process.kill()


def end_with(pid: int) -> None:
    """End this process when the one that started it is gone, however that ended."""

    def watch_parent() -> None:
        while os.getppid() == pid:
            time.sleep(WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch_parent, name="parent", daemon=True).start()


def run_scheduler(app: Flask) -> None:
    """Queue what is due until SIGTERM or SIGINT."""
    with app.app_context():
        connection = extensions.queue_redis()
    connection.connection_pool.connection_kwargs["socket_timeout"] = REDIS_HANG_S
    table = schedule(
        price_interval_s=app.config["PRICE_INTERVAL_S"],
        ledger_interval_s=app.config["LEDGER_VERIFY_INTERVAL_S"],
    )
    scheduler = SteadyScheduler(
        connection=connection, table=table, installation=app.config["INSTALLATION_ID"]
    )
    # Beside the loop: a database that hangs must not keep jobs from being queued.
    for name, look in (
        ("watch", partial(watch, scheduler)),
        ("rescue", rescue),
        ("orders", settle),
        ("loans", watch_loans),
    ):
        threading.Thread(target=each_second, args=(app, name, look), name=name, daemon=True).start()
    scheduler.run_for_ever()


def watch(scheduler: SteadyScheduler) -> None:
    """Look at the feed, and tell everyone what changed."""
    market_watch.look(scheduler.next_runs(), scheduler.list_overdue())


def settle() -> None:
    """Do what orders and plans have come to be due: also while Redis is away or no worker runs.

    Each is done once, however many schedulers and jobs are at it: the database decides.
    """
    orders.close_expired()
    orders.match()
    plans.run_due()


def watch_loans() -> None:
    """Liquidate and call what the price endangers: also while Redis is away or no worker runs."""
    loans.watch()


def rescue() -> None:
    """Fetch the price here when nobody else does."""
    if not market.is_price_neglected():
        return
    # A start from nothing, or after a long pause, is the job's own business: it gets the time to do it.
    pause_s = min(RESCUE_PAUSE_S, current_app.config["PRICE_INTERVAL_S"])
    if time.monotonic() - STARTED_AT < pause_s:
        return
    logger.warning("rescue: the price is old; fetching it here")
    try:
        market.update_price()
    finally:
        time.sleep(pause_s)


def each_second(app: Flask, name: str, look: Callable[[], None]) -> None:
    """Do it for ever. What is away is told once, until it is back."""
    is_up = True
    while True:
        try:
            with app.app_context():
                look()
            is_up = True
        except (RedisError, BitTradeError) as failure:
            if is_up:
                logger.error("%s: %s; trying again each second", name, failure)
            is_up = False
        except Exception:
            logger.exception("%s failed", name)
        time.sleep(WATCH_S)


def run_workers(app: Flask) -> None:
    """Work every queue, that of the books in a process of its own."""
    with ledger_beside():
        run_worker(app)


def check_worker(app: Flask) -> None:
    """Exit with the reason unless a worker of this machine has said within a minute and a half that it is there."""
    with app.app_context():
        try:
            workers = list_workers(extensions.queue_redis(), app.config["INSTALLATION_ID"])
        except RedisError as failure:
            sys.exit(f"worker: Redis is away, or refuses ({failure})")
    if socket.gethostname() not in {worker.hostname for worker in workers}:
        sys.exit("worker: none is there")


def check_scheduler(app: Flask) -> None:
    """Exit with the reason unless a scheduler, on whatever machine, has said something within ten seconds."""
    with app.app_context():
        if market.list_overdue_jobs() is None:
            sys.exit("scheduler: none is there, or Redis is away")


ROLES: dict[str, Callable[[Flask], None]] = {
    "worker": run_workers,
    "scheduler": run_scheduler,
    "ledger": partial(run_worker, queues=LEDGER_QUEUES),
    "check-worker": check_worker,
    "check-scheduler": check_scheduler,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python worker.py", description="BitTrade's background jobs.")
    parser.add_argument("role", nargs="?", choices=list(ROLES), default="worker")
    parser.add_argument("--beside", type=int, metavar="PID", help=argparse.SUPPRESS)
    wanted = parser.parse_args(arguments)
    if extensions.is_gevent():
        print("worker: gevent has patched this process; start it without gevent", file=sys.stderr)
        return 2
    loaded = config.load()
    loaded.check_redis_servers()
    app = create_app(loaded)
    with app.app_context():
        if fault := unit_of_work.check_schema():
            print(f"worker: BitTrade will not start: {fault}", file=sys.stderr)
            return 3
    if wanted.beside:
        end_with(wanted.beside)
    # Under systemd: started. Unset, so that no process that this one starts speaks for it.
    systemd.sd_notify("READY=1", logger, unset_environment=True)
    ROLES[wanted.role](app)
    return 0


if __name__ == "__main__":
    sys.exit(main())
