"""What happened to an account."""

from typing import Any

from flask import Blueprint

from bittrade.api.account_schemas import ActivityAnswer, ActivityQuery
from bittrade.api.openapi import documented
from bittrade.api.security import current_user
from bittrade.services import audit
from bittrade.services.auth import ACCOUNT

blueprint = Blueprint("account", __name__, url_prefix="/api/account")


@blueprint.get("/activity")
@documented(ActivityAnswer, needs_token=True, scope=(ACCOUNT,), tag="account")
def activity(query: ActivityQuery) -> Any:
    """Everything that happened to this account, newest first, what staff did included."""
    return audit.list_activity(current_user().user_id, limit=query.limit, before_id=query.before_id)
