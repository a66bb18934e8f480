"""Whether this server can serve."""

from typing import Any

from flask import Blueprint

from bittrade import wire
from bittrade.api import limits
from bittrade.api.errors import DEFAULT_RETRY_AFTER_S
from bittrade.api.openapi import documented
from bittrade.api.schemas import HealthAnswer
from bittrade.errors import DatabaseUnavailable
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
