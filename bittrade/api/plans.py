"""Recurring plans: trade the same amount again and again, by the wall clock."""

from typing import Any

from flask import Blueprint

from bittrade.api import limits
from bittrade.api.openapi import documented
from bittrade.api.order_schemas import (
    NewPlanAnswer,
    PlanBody,
    PlanEndedAnswer,
    PlanRunsAnswer,
    PlansAnswer,
    PlanStatusAnswer,
    PlanStatusBody,
    RunsQuery,
)
from bittrade.api.security import current_user
from bittrade.api.trade import idempotency_key
from bittrade.domain.money import Asset, parse_amount
from bittrade.domain.plans import DEFAULT_ZONE, Frequency, Instalment, PlanStatus, zone
from bittrade.domain.trading import Action
from bittrade.errors import (
    IdempotencyKeyReused,
    InvalidAmount,
    InvalidIdempotencyKey,
    OutcomeUnknown,
    PlanEnded,
    PlanNotFound,
    TooBusy,
    TooManyPlans,
)
from bittrade.services import plans
from bittrade.services.auth import READ, TRADE
from bittrade.services.plans import PlanRequest

blueprint = Blueprint("plans", __name__, url_prefix="/api/dca-plans")
TAG = "recurring plans"
COMMITTING = (OutcomeUnknown, TooBusy)


@blueprint.post("")
@documented(
    NewPlanAnswer,
    InvalidAmount,
    TooManyPlans,
    InvalidIdempotencyKey,
    IdempotencyKeyReused,
    *COMMITTING,
    status=201,
    needs_token=True,
    scope=(TRADE,),
    limit=limits.TRADE,
    tag=TAG,
)
def create_plan(json: PlanBody) -> Any:
    """Begin a plan: the first run is at `start_at`, or at once."""
    answer, is_replay = plans.create_plan(
        current_user().user_id, parse(json), idempotency_key=idempotency_key()
    )
    return answer, 201, {"Idempotent-Replayed": "true"} if is_replay else {}


@blueprint.get("")
@documented(PlansAnswer, needs_token=True, scope=(READ,), tag=TAG)
def list_plans() -> Any:
    """List the user's plans, each with its latest runs and what they came to."""
    return plans.list_plans(current_user().user_id)


@blueprint.get("/<int:plan_id>/runs")
@documented(PlanRunsAnswer, PlanNotFound, needs_token=True, scope=(READ,), tag=TAG)
def list_runs(plan_id: int, query: RunsQuery) -> Any:
    """List what became of each due time, newest first."""
    return plans.list_runs(current_user().user_id, plan_id, limit=query.limit)


@blueprint.patch("/<int:plan_id>/status")
@documented(
    PlanStatusAnswer,
    PlanNotFound,
    PlanEnded,
    *COMMITTING,
    needs_token=True,
    scope=(TRADE,),
    limit=limits.TRADE,
    tag=TAG,
)
def set_status(plan_id: int, json: PlanStatusBody) -> Any:
    """Pause or resume a plan. A resumed one goes on at its next due time."""
    return plans.set_status(current_user().user_id, plan_id, PlanStatus(json.status))


@blueprint.delete("/<int:plan_id>")
@documented(
    PlanEndedAnswer,
    PlanNotFound,
    *COMMITTING,
    needs_token=True,
    scope=(TRADE,),
    limit=limits.TRADE,
    tag=TAG,
)
def end_plan(plan_id: int) -> Any:
    """End a plan. Its trades and its runs stay."""
    return plans.end_plan(current_user().user_id, plan_id)


def parse(body: PlanBody) -> PlanRequest:
    """Read a plan's body. Raises the child of InvalidInput that names what is wrong."""
    rupees, satoshis = body.amount_per_execution_inr, body.amount_per_execution_btc
    if (rupees is None) == (satoshis is None):
        raise InvalidAmount(
            "Invalid amount. Give amount_per_execution_inr or amount_per_execution_btc, not both"
        )
    asset, amount = (Asset.INR, rupees) if satoshis is None else (Asset.BTC, satoshis)
    action = Action(body.plan_type.removeprefix("DCA_").lower())
    name = body.time_zone or DEFAULT_ZONE
    zone(name)
    return PlanRequest(
        # Satoshis are whole numbers, as rupees are.
        Instalment(action, asset, parse_amount(amount, Asset.INR), body.max_price, body.min_price),
        Frequency(body.frequency),
        name,
        body.start_at,
        body.remaining_executions,
    )
