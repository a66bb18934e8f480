"""RQ's queues, workers and jobs as metrics, read from Redis when somebody asks; names and labels as rq-exporter has them.

Nothing is counted in the processes that run jobs: they live for one job each.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from flask import current_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from redis import Redis
from rq import Queue, Worker
from rq.serializers import JSONSerializer
from rq.worker.base import BaseWorker

from bittrade import extensions
from bittrade.extensions import own_name
from bittrade.jobs.schedule import LEDGER_QUEUES, QUEUES
from bittrade.jobs.scheduler import NamedJob

COUNTS: dict[str, Callable[[Queue], int]] = {
    "queued": lambda queue: queue.count,
    # Counted without RQ's tidying up: who reads must not move jobs.
    "started": lambda queue: queue.started_job_registry.get_job_count(cleanup=False),
    "finished": lambda queue: queue.finished_job_registry.get_job_count(cleanup=False),
    "failed": lambda queue: queue.failed_job_registry.get_job_count(cleanup=False),
    "deferred": lambda queue: queue.deferred_job_registry.get_job_count(cleanup=False),
    "scheduled": lambda queue: queue.scheduled_job_registry.get_job_count(cleanup=False),
}


def collect() -> list[Metric]:
    """Return what RQ's Redis says of this installation. Raises RedisError."""
    connection, installation = extensions.queue_redis(), current_app.config["INSTALLATION_ID"]
    return [_jobs(connection, installation), *_workers(connection, installation)]


def _jobs(connection: Redis, installation: str) -> Metric:
    jobs = GaugeMetricFamily("rq_jobs", "RQ jobs by queue and status", labels=["queue", "status"])
    for name in (*QUEUES, *LEDGER_QUEUES):
        queue = Queue(
            own_name(installation, name),
            connection=connection,
            job_class=NamedJob,
            serializer=JSONSerializer,
        )
        for status, count in COUNTS.items():
            jobs.add_metric([name, status], count(queue))
    return jobs


def _workers(connection: Redis, installation: str) -> list[Metric]:
    prefix = own_name(installation, "")
    labels = ["name", "queues"]
    workers = GaugeMetricFamily("rq_workers", "RQ workers", labels=["name", "state", "queues"])
    sums = {
        "successful_job_count": CounterMetricFamily(
            "rq_workers_success", "RQ workers success count", labels=labels
        ),
        "failed_job_count": CounterMetricFamily("rq_workers_failed", "RQ workers fail count", labels=labels),
        "total_working_time": CounterMetricFamily(
            "rq_workers_working_time", "RQ workers spent seconds", labels=labels
        ),
    }
    for worker in list_workers(connection, installation):
        queues = ",".join(name.removeprefix(prefix) for name in worker.queue_names())
        workers.add_metric([worker.name, str(worker.get_state()), queues], 1)
        for attribute, family in sums.items():
            family.add_metric([worker.name, queues], getattr(worker, attribute) or 0)
    return [workers, *sums.values()]


def list_workers(connection: Redis, installation: str) -> list[BaseWorker]:
    """Return this installation's workers that are there. Raises RedisError."""
    found = Worker.all(connection=connection, job_class=NamedJob, serializer=JSONSerializer)
    return [worker for worker in found if worker.name.startswith(f"{installation}-") and not _is_gone(worker)]


def _is_gone(worker: BaseWorker) -> bool:
    """Whether it has not said for longer than its time to live that it is there: RQ strikes it off only later."""
    beat = worker.last_heartbeat
    return beat is not None and (datetime.now(UTC) - beat).total_seconds() > worker.worker_ttl + 60
