"""Everybody's transactions and plans, what they come to, and the audit log."""

from typing import Any

from flask import Blueprint

from bittrade.api.admin.access import PREFIX, READING
from bittrade.api.admin.answers import (
    AllPlansAnswer,
    AllTransactionsAnswer,
    AuditAnswer,
    MetricsAnswer,
    TotalsAnswer,
)
from bittrade.api.admin.schemas import AllPlansQuery, AllTransactionsQuery, AuditQuery
from bittrade.api.openapi import documented
from bittrade.services import audit
from bittrade.services.history import Filter
from bittrade.services.operators import figures, history

blueprint = Blueprint("admin_records", __name__, url_prefix=PREFIX)


@blueprint.get("/transactions")
@documented(AllTransactionsAnswer, **READING)
def list_transactions(query: AllTransactionsQuery) -> Any:
    """Everybody's transactions, newest first, as their owners see them."""
    wanted = Filter(
        type=query.type,
        status=query.status,
        since=query.from_,
        until=query.to,
        before_id=query.before_id,
    )
    return history.list_transactions(
        limit=query.limit, wanted=wanted, user_id=query.user_id, search=query.search
    )


@blueprint.get("/dca-plans")
@documented(AllPlansAnswer, **READING)
def list_plans(query: AllPlansQuery) -> Any:
    """Everybody's recurring plans, newest first, and how many there are."""
    return history.list_plans(
        limit=query.limit, before_id=query.before_id, status=query.status, search=query.search
    )


@blueprint.get("/total-balance")
@documented(TotalsAnswer, **READING)
def get_totals() -> Any:
    """Show what all customers hold."""
    return figures.get_totals()


@blueprint.get("/metrics")
@documented(MetricsAnswer, **READING)
def get_metrics() -> Any:
    """Trades, volumes, deposits, withdrawals and plans; of all time, and of each of the last 30 days."""
    return figures.get_metrics()


@blueprint.get("/audit")
@documented(AuditAnswer, **READING)
def list_audit(query: AuditQuery) -> Any:
    """The audit log, newest first: who did what, when, from where, and why."""
    return audit.list_for_operator(
        limit=query.limit,
        before_id=query.before_id,
        user_id=query.user_id,
        action=query.action,
        actor=query.actor,
    )
