"""Whether this server can serve: in full, and for what starts and stops processes (`live`, `ready`)."""

from typing import Any

from flask import Blueprint, current_app

from bittrade import wire
from bittrade.api import limits
from bittrade.api.errors import DEFAULT_RETRY_AFTER_S
from bittrade.api.openapi import documented
from bittrade.api.schemas import HealthAnswer, ReadinessAnswer
from bittrade.errors import DatabaseUnavailable, ShuttingDown
from bittrade.services import health

blueprint = Blueprint("health", __name__, url_prefix="/api")


@blueprint.get("/health")
@documented(HealthAnswer, tag="health", limit=limits.NONE)
def get_health() -> Any:
    """200 while requests can be served (OK or DEGRADED), 503 (DOWN) when they can't."""
    report = health.check()
    answer = {"server": "BitTrade API Server", "timestamp": wire.timestamp(wire.now()), **report}
    if report["status"] != "DOWN":
        return answer
    refusal = {"error": DatabaseUnavailable.message, "code": DatabaseUnavailable.code}
    return {**refusal, **answer}, 503, {"Retry-After": str(DEFAULT_RETRY_AFTER_S)}


@blueprint.get("/health/live")
@documented(ReadinessAnswer, tag="health", limit=limits.NONE)
def get_live() -> Any:
    """200 while this process answers at all. It asks nobody: a database that is away is no reason to restart us."""
    return {"status": "OK", "timestamp": wire.timestamp(wire.now())}


@blueprint.get("/health/ready")
@documented(ReadinessAnswer, ShuttingDown, DatabaseUnavailable, tag="health", limit=limits.NONE)
def get_ready() -> Any:
    """200 while this process can serve a trade: the database takes writes, its tables are this release's, and it is not
    about to end. Otherwise 503: send requests to another one."""
    worker = current_app.extensions.get("bittrade_worker")
    if worker is not None and not worker.alive:
        raise ShuttingDown(retry_after_s=1)
    health.require_ready()
    return {"status": "OK", "timestamp": wire.timestamp(wire.now())}
