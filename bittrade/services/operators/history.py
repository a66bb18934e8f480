"""Everybody's transactions and plans, newest first, each with whose it is."""

from typing import Any

import sqlalchemy as sa

from bittrade import unit_of_work, wire
from bittrade.models import Transaction, User
from bittrade.services import history, plans
from bittrade.services.history import Filter
from bittrade.services.operators import people

USERS_FOUND = 500  # accounts whose rows a search shows


def list_transactions(
    *, limit: int, wanted: Filter, user_id: int | None = None, search: str | None = None
) -> dict[str, Any]:
    """A page of rows as their owners see them; `search` finds owners by e-mail, name or number."""
    conditions = [*wanted.conditions(), _is_shown(wanted)]
    if wanted.before_id is not None:
        conditions.append(Transaction.id < wanted.before_id)
    if user_id is not None:
        conditions.append(Transaction.user_id == user_id)
    with unit_of_work.reading() as session:
        if search is not None:
            conditions.append(Transaction.user_id.in_(people.find_ids(session, search, limit=USERS_FOUND)))
        query = history.select_rows(*conditions).join(User, User.id == Transaction.user_id)
        query = query.add_columns(User.id.label("owner_id"), User.name.label("owner"), User.email)
        rows = session.execute(query.order_by(Transaction.id.desc()).limit(limit + 1)).all()
    shown = [
        {
            **wire.transaction(row),
            "user_id": row.owner_id,
            "user_name": row.owner or people.NAMELESS,
            "user_email": row.email,
            "cached": False,
        }
        for row in rows[:limit]
    ]
    return wire.page("transactions", shown, has_more=len(rows) > limit)


def _is_shown(wanted: Filter) -> sa.ColumnElement[bool]:
    """An open order stands where it was placed."""
    if wanted.status is None:
        return sa.or_(wanted.settled(), wanted.pending())
    return wanted.pending() if wanted.status == history.PENDING else wanted.settled()


def list_plans(
    *, limit: int, before_id: int | None = None, status: str | None = None, search: str | None = None
) -> dict[str, Any]:
    """A page of plans; and how many there are of each state."""
    with unit_of_work.reading() as session:
        owners = None if search is None else people.find_ids(session, search, limit=USERS_FOUND)
        rows = plans.list_of_all(
            session, limit=limit + 1, before_id=before_id, status=status, user_ids=owners
        )
        counts = plans.count_by_status(session)
        names = {
            row.id: row
            for row in session.execute(
                sa.select(User.id, User.name, User.email).where(
                    User.id.in_({plan["user_id"] for plan in rows})
                )
            )
        }
    shown = [
        {
            **plan,
            "user_name": names[plan["user_id"]].name or people.NAMELESS,
            "user_email": names[plan["user_id"]].email,
        }
        for plan in rows[:limit]
    ]
    return {**wire.page("plans", shown, has_more=len(rows) > limit), **counts}
