"""Accounts as staff sees them: found by search, and one with all that support needs."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.roles import Role
from bittrade.errors import UserNotFound
from bittrade.models import Balance, User
from bittrade.services import api_keys, audit, loans, orders, plans, portfolio, sessions, user_data
from bittrade.services.auth import lockout
from bittrade.services.identity import public_user
from bittrade.services.operators import approvals, notes

SHOWN = 50  # of each list of an account
NAMELESS = "–"  # the API's later client takes no null
_COLUMNS = (
    *(User.id, User.email, User.name, User.role, User.disabled_at, User.created_at),
    *(Balance.available_inr, Balance.available_btc, Balance.reserved_inr, Balance.reserved_btc),
)


def list_users(*, limit: int, before_id: int | None = None, search: str | None = None) -> dict[str, Any]:
    """A page of accounts, newest first, whose number, e-mail or name `search` is found in; and how many there are."""
    query = sa.select(*_COLUMNS).join(Balance, Balance.user_id == User.id)
    if search is not None:
        query = query.where(_matches(search))
    if before_id is not None:
        query = query.where(User.id < before_id)
    with unit_of_work.reading() as session:
        rows = session.execute(query.order_by(User.id.desc()).limit(limit + 1)).all()
        counts = _count(session)
    users = [_document(row) for row in rows[:limit]]
    return {**wire.page("users", users, has_more=len(rows) > limit), **counts}


def find_ids(session: Session, search: str, *, limit: int) -> list[int]:
    """Return the newest accounts that a search finds."""
    query = sa.select(User.id).where(_matches(search)).order_by(User.id.desc())
    return list(session.scalars(query.limit(limit)))


def get_user(user_id: int) -> dict[str, Any]:
    """Return all that support needs of an account; that it was looked at is in the audit log. Raises UserNotFound."""
    with unit_of_work.reading() as session:
        row = session.execute(
            sa.select(*_COLUMNS).join(Balance, Balance.user_id == User.id).where(User.id == user_id)
        ).first()
        if row is None:
            raise UserNotFound()
        locks = lockout.list_locks(session, user_id)
    held = user_data.snapshot(user_id)
    audit.note(lambda session: audit.record(session, "user_viewed", about=user_id))
    return {
        "user": {**public_user(row.id, row.email, row.name, Role(row.role)), **_document(row)},
        "balance": held.balance,
        "portfolio": portfolio.get_portfolio(user_id, held.balance["seq"]),
        "transactions": held.transactions,
        "orders": orders.list_for_operator(user_id=user_id, status="OPEN", limit=SHOWN),
        "plans": plans.list_for_operator(user_id=user_id, status=None, limit=SHOWN),
        "loans": loans.list_for_operator(user_id=user_id, status=None, limit=SHOWN),
        "approvals": approvals.list_approvals(limit=SHOWN, user_id=user_id)["approvals"],
        "sessions": sessions.list_for_operator(user_id),
        "keys": api_keys.list_keys(user_id),
        "locks": locks,
        "activity": audit.list_for_operator(limit=SHOWN, user_id=user_id)["events"],
        "notes": notes.list_notes(user_id, limit=SHOWN),
    }


def _matches(search: str) -> sa.ColumnElement[bool]:
    words = search.lower()
    found = [
        User.email_normalized.contains(words, autoescape=True) if words.isascii() else sa.false(),
        sa.func.lower(User.name).contains(words, autoescape=True),
    ]
    if words.isascii() and words.isdecimal() and len(words) < 19:
        found.append(User.id == int(words))
    return sa.or_(*found)


def _count(session: Session) -> dict[str, int]:
    rows = session.execute(sa.select(User.role, sa.func.count()).group_by(User.role)).all()
    by_role: dict[str, int] = {row[0]: row[1] for row in rows}
    total, admins = sum(by_role.values()), by_role.get(Role.ADMIN, 0)
    return {"totalCount": total, "adminCount": admins, "regularCount": total - admins}


def _document(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name or NAMELESS,
        "email": row.email,
        "inrBalance": row.available_inr,
        "btcBalance": row.available_btc,
        "reserved_inr": row.reserved_inr,
        "reserved_btc": row.reserved_btc,
        "is_admin": int(row.role == Role.ADMIN),
        "role": row.role,
        "disabled_at": None if row.disabled_at is None else wire.timestamp(row.disabled_at),
        "created_at": wire.timestamp(row.created_at),
    }
