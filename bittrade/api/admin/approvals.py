"""What waits for a second admin."""

from typing import Any

from flask import Blueprint

from bittrade.api.admin.access import CHANGING, PREFIX, READING
from bittrade.api.admin.answers import ApprovalAnswer, ApprovalsAnswer, DecidedAnswer
from bittrade.api.admin.schemas import ApprovalsQuery, ReasonBody
from bittrade.api.openapi import documented
from bittrade.api.security import current_user
from bittrade.errors import (
    AlreadyReversed,
    ApprovalNotFound,
    ApprovalNotPending,
    InsufficientFunds,
    InvalidAmount,
    NotReversible,
    OutcomeUnknown,
    OwnApproval,
    TooBusy,
)
from bittrade.services.operators import approvals

blueprint = Blueprint("admin_approvals", __name__, url_prefix=f"{PREFIX}/approvals")
DECIDING = (ApprovalNotFound, ApprovalNotPending, OwnApproval, OutcomeUnknown, TooBusy)


@blueprint.get("")
@documented(ApprovalsAnswer, **READING)
def list_approvals(query: ApprovalsQuery) -> Any:
    """Movements of money that wait for a second admin, or waited, newest first."""
    return approvals.list_approvals(
        limit=query.limit, before_id=query.before_id, status=query.status, user_id=query.user_id
    )


@blueprint.post("/<int:approval_id>/approve")
@documented(
    DecidedAnswer, *DECIDING, InsufficientFunds, InvalidAmount, AlreadyReversed, NotReversible, **CHANGING
)
def approve(approval_id: int, json: ReasonBody) -> Any:
    """Do what another admin asked for. Never who asked, and nobody for their own account."""
    return approvals.approve(current_user(), approval_id, why=json.reason)


@blueprint.post("/<int:approval_id>/reject")
@documented(ApprovalAnswer, *DECIDING, **CHANGING)
def reject(approval_id: int, json: ReasonBody) -> Any:
    """Let what another admin asked for not be done."""
    return approvals.reject(current_user(), approval_id, why=json.reason)
