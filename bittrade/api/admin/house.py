"""The house itself: its settings, whether it trades, what it holds and owes, and the machinery that it runs on."""

from typing import Any

from flask import Blueprint

from bittrade.api.admin.access import BY_LATER_CLIENT, CHANGING, PREFIX, READING
from bittrade.api.admin.answers import (
    ExposureAnswer,
    LedgerAnswer,
    QueuesAnswer,
    SettingsAnswer,
    SocketsAnswer,
    SourcesAnswer,
    TradingAnswer,
)
from bittrade.api.admin.schemas import SettingsBody, TradingBody
from bittrade.api.openapi import documented
from bittrade.errors import NotConfirmed
from bittrade.services import halt, ledger, market, settings, traffic
from bittrade.services.operators import exposure, house, machinery, requesting

blueprint = Blueprint("admin_house", __name__, url_prefix=PREFIX)
PROOFS_SHOWN = 30
CONNECTED, DISCONNECTED = "connected", "disconnected"


@blueprint.get("/settings")
@documented(SettingsAnswer, **READING)
def get_settings() -> Any:
    """The multipliers, and the terms of new loans."""
    return house.get_settings()


@blueprint.put("/settings")
@documented(SettingsAnswer, NotConfirmed, **CHANGING)
def set_settings(json: SettingsBody) -> Any:
    """Change settings together; clients get the new rates at once, and open quotes are void."""
    settings.set_settings(
        {name: str(value) for name, value in json.settings.items()},
        is_confirmed=json.confirmed,
        market_rate=None if json.confirmed else market.find_inr_rate(),
        why=requesting.read_reason(json.reason or BY_LATER_CLIENT),
    )
    market.publish_rates()
    return house.get_settings()


@blueprint.get("/trading")
@documented(TradingAnswer, **READING)
def get_trading() -> Any:
    """Say whether trading is halted, and why."""
    return house.get_trading()


@blueprint.post("/trading")
@documented(TradingAnswer, **CHANGING)
def set_trading(json: TradingBody) -> Any:
    """Halt trading on every process, or resume it."""
    act = halt.halt_trading if json.action == "halt" else halt.resume_trading
    act(requesting.read_reason(json.reason))
    return house.get_trading()


@blueprint.get("/exposure")
@documented(ExposureAnswer, **READING)
def get_exposure() -> Any:
    """Show what the house holds and owes, and its unrealised gain at the current rate."""
    return exposure.get_exposure()


@blueprint.get("/sources")
@documented(SourcesAnswer, **READING)
def get_sources() -> Any:
    """The sources of prices with their breakers, budgets and drift, and what became of the last prices."""
    return market.examine()


@blueprint.get("/queues")
@documented(QueuesAnswer, **READING)
def get_queues() -> Any:
    """The queues and workers, what runs next, and what is overdue."""
    found, feed = machinery.get_queues(), market.examine()
    return {
        "redis": DISCONNECTED if found is None else CONNECTED,
        **(found or {"queues": [], "workers": []}),
        "overdue_jobs": feed["overdue_jobs"],
        "next_runs": feed["next_runs"],
    }


@blueprint.get("/sockets")
@documented(SocketsAnswer, **READING)
def get_sockets() -> Any:
    """Each web process' sockets, and what it counted since it began; at most 15 s old."""
    reports = traffic.list_reports()
    return {"redis": DISCONNECTED if reports is None else CONNECTED, "processes": reports or []}


@blueprint.get("/ledger")
@documented(LedgerAnswer, **READING)
def get_ledger() -> Any:
    """Show how the proof of the books stands, and the last proofs."""
    standing = ledger.find_standing()
    return {
        "state": standing.state,
        "age_ms": standing.age_ms,
        "proofs": ledger.list_proofs(limit=PROOFS_SHOWN),
        "unchained_users": len(ledger.list_unchained()),
    }
