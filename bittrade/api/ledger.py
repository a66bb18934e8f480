"""A user's account statement, for programs that keep books of their own."""

from typing import Any

from flask import Blueprint, Response, current_app, stream_with_context
from itsdangerous import BadData, URLSafeSerializer

from bittrade.api.openapi import documented
from bittrade.api.program_schemas import LedgerAnswer, LedgerQuery
from bittrade.api.security import current_user
from bittrade.domain.ledger import BALANCE_ACCOUNTS
from bittrade.errors import InvalidInput
from bittrade.services import statement
from bittrade.services.auth import EXPORT, READ
from bittrade.services.statement import Place

blueprint = Blueprint("ledger", __name__, url_prefix="/api")
READER: dict[str, Any] = {"needs_token": True, "scope": (READ, EXPORT), "tag": "user data"}


@blueprint.get("/ledger")
@documented(LedgerAnswer, **READER)
def list_entries(query: LedgerQuery) -> Any:
    """List each movement of the user's accounts with the balance after it, newest first or (`order=asc`) oldest first."""
    user, is_ascending = current_user(), query.order == "asc"
    after = None if query.cursor is None else _read_cursor(query.cursor, user.user_id, query.order)
    page = statement.read_page(
        user.user_id, user.seq, limit=query.limit, is_ascending=is_ascending, after=after
    )
    goes_on = page.has_more or is_ascending
    return {
        "entries": page.rows,
        "limit": query.limit,
        "hasMore": page.has_more,
        "next_cursor": _write_cursor(page.end, user.user_id, query.order) if goes_on else None,
    }


@blueprint.get("/ledger.csv")
@documented(None, **READER)
def export() -> Any:
    """The whole statement as CSV, oldest first. The last line counts its entries: without it the file is cut."""
    user = current_user()
    lines = stream_with_context(statement.export(user.user_id, user.seq))
    headers = {"Content-Disposition": 'attachment; filename="ledger.csv"'}
    return Response(lines, mimetype="text/csv", headers=headers)


# --- Cursors: signed, because the balances of the next page are worked out from those in them (docs/adr/0042) ----------


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.config["JWT_SECRET"], salt="ledger cursor")


def _write_cursor(place: Place, user_id: int, order: str) -> str:
    balances = [place.balances[account] for account in BALANCE_ACCOUNTS]
    cursor: str | bytes = _serializer().dumps([user_id, order, place.seq, place.leg_id, *balances])
    return str(cursor)


def _read_cursor(cursor: str, user_id: int, order: str) -> Place:
    try:
        whose, direction, seq, leg_id, *balances = _serializer().loads(cursor)
    except (BadData, ValueError) as error:
        raise InvalidInput("Invalid cursor", field="cursor") from error
    if (whose, direction) != (user_id, order):
        raise InvalidInput("Invalid cursor: it is of another listing", field="cursor")
    return Place(seq, leg_id, dict(zip(BALANCE_ACCOUNTS, balances, strict=True)))
