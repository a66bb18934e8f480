"""A user's own data. Every query is bound to the token's user: what is another's is not found."""

from typing import Any

from flask import Blueprint, Response, stream_with_context

from bittrade.api.openapi import documented
from bittrade.api.schemas import (
    BalanceAnswer,
    ExportQuery,
    PortfolioAnswer,
    ReceiptAnswer,
    TransactionAnswer,
    TransactionsAnswer,
    TransactionsQuery,
)
from bittrade.api.security import current_user
from bittrade.errors import NoReceipt, TransactionNotFound
from bittrade.services import history_export, portfolio, user_data
from bittrade.services.auth import EXPORT, READ
from bittrade.services.user_data import Filter

blueprint = Blueprint("user_data", __name__, url_prefix="/api")
TAG = "user data"


@blueprint.get("/balance")
@documented(BalanceAnswer, needs_token=True, scope=(READ,), tag=TAG)
def balance() -> Any:
    """What the user holds: rupees and satoshis."""
    user = current_user()
    return user_data.get_balance(user.user_id, user.seq)


@blueprint.get("/portfolio")
@documented(PortfolioAnswer, needs_token=True, scope=(READ,), tag=TAG)
def get_portfolio() -> Any:
    """What the holdings cost, are worth, and gained (first in, first out)."""
    user = current_user()
    return portfolio.get_portfolio(user.user_id, user.seq)


@blueprint.get("/transactions")
@documented(TransactionsAnswer, needs_token=True, scope=(READ, EXPORT), tag=TAG)
def transactions(query: TransactionsQuery) -> Any:
    """The user's history: PENDING first, then newest. By page, or by cursor, which stays fast; `order=asc` oldest first."""
    user = current_user()
    wanted = Filter(query.type, query.status, query.client_order_id, query.from_, query.to, query.before_id)
    if query.order == "asc":
        return user_data.list_ascending(
            user.user_id, user.seq, limit=query.limit, after_id=query.after_id, wanted=wanted
        )
    return user_data.list_transactions(
        user.user_id, user.seq, limit=query.limit, page=query.page, wanted=wanted
    )


@blueprint.get("/transactions/<int:transaction_id>")
@documented(TransactionAnswer, TransactionNotFound, needs_token=True, scope=(READ, EXPORT), tag=TAG)
def transaction(transaction_id: int) -> Any:
    """One transaction."""
    return user_data.get_transaction(current_user().user_id, transaction_id)


@blueprint.get("/transactions/<int:transaction_id>/receipt")
@documented(ReceiptAnswer, TransactionNotFound, NoReceipt, needs_token=True, scope=(READ, EXPORT), tag=TAG)
def receipt(transaction_id: int) -> Any:
    """Where a trade's price came from, and that its figures follow from it."""
    return user_data.get_receipt(current_user().user_id, transaction_id)


@blueprint.get("/transactions.csv")
@documented(None, needs_token=True, scope=(READ, EXPORT), tag=TAG)
def export(query: ExportQuery) -> Any:
    """The whole history as CSV, newest first. The last line says how many rows there are: without it the file is cut."""
    user, wanted = (
        current_user(),
        Filter(type=query.type, status=query.status, since=query.from_, until=query.to),
    )
    lines = stream_with_context(history_export.export(user.user_id, user.seq, wanted))
    headers = {"Content-Disposition": 'attachment; filename="transactions.csv"'}
    return Response(lines, mimetype="text/csv", headers=headers)
