"""Queues and workers, as they stand in Redis.

Read from RQ's own keys, because services know no queue: a test holds the names here against the library's.
"""

from typing import Any

import redis

from bittrade.extensions import limits_storage, own

QUEUES, QUEUE = "rq:queues", "rq:queue:"
WORKERS_OF = "rq:workers:"  # and a queue's name: the keys of its workers
FAILED, STARTED = "rq:failed:", "rq:wip:"
MAX_WORKERS = 100


def get_queues() -> dict[str, Any] | None:
    """Return this installation's queues with what waits, runs and failed, and its workers; None where Redis is away."""
    client = limits_storage().storage  # the queue's Redis, by a client that waits for nothing
    try:
        names = _list_queues(client)
        return {
            "queues": [_queue(client, name) for name in names],
            "workers": [_worker(client, key) for key in _list_workers(client, names)],
        }
    except redis.RedisError:
        return None


def _list_queues(client: redis.Redis) -> list[str]:
    start = f"{QUEUE}{own('')}"
    keys = [_text(raw) for raw in client.smembers(QUEUES)]
    return sorted(key.removeprefix(QUEUE) for key in keys if key.startswith(start))


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _short(name: str) -> str:
    return name.removeprefix(own(""))


def _queue(client: redis.Redis, name: str) -> dict[str, Any]:
    return {
        "name": _short(name),
        "waiting": client.llen(f"{QUEUE}{name}"),
        "running": client.zcard(f"{STARTED}{name}"),
        "failed": client.zcard(f"{FAILED}{name}"),
    }


def _list_workers(client: redis.Redis, names: list[str]) -> list[str]:
    keys = {_text(raw) for name in names for raw in client.smembers(f"{WORKERS_OF}{name}")}
    return sorted(keys)[:MAX_WORKERS]


def _worker(client: redis.Redis, key: str) -> dict[str, Any]:
    said = {_text(name): _text(value) for name, value in client.hgetall(key).items()}
    return {
        "host": said.get("hostname"),
        "pid": int(said["pid"]) if said.get("pid", "").isdecimal() else None,
        "state": said.get("state"),
        "queues": [_short(name) for name in said.get("queues", "").split(",") if name],
        "started_at": said.get("birth"),
        "last_heartbeat": said.get("last_heartbeat"),
        "succeeded": int(said.get("successful_job_count", 0)),
        "failed": int(said.get("failed_job_count", 0)),
    }
