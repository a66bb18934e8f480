"""Whether this server can serve."""

from typing import Any

from flask import Blueprint

from bittrade import wire
from bittrade.api.openapi import documented
from bittrade.api.schemas import HealthAnswer
from bittrade.services import health

blueprint = Blueprint("health", __name__, url_prefix="/api")


@blueprint.get("/health")
@documented(HealthAnswer, tag="health")
def get_health() -> Any:
    """200 while requests can be served (OK or DEGRADED), 503 (DOWN) when they can't."""
    report = health.check()
    answer = {"server": "BitTrade API Server", "timestamp": wire.timestamp(wire.now()), **report}
    return answer, 503 if report["status"] == "DOWN" else 200
