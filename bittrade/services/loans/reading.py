"""A user's own loans, and the terms of new ones."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from bittrade import unit_of_work, wire
from bittrade.domain.loans import LoanStatus
from bittrade.errors import LoanNotFound
from bittrade.models import LoanRow
from bittrade.services import market, settings
from bittrade.services.loans import book
from bittrade.services.loans.acting import MAX_LOANS

MAX_SHOWN = 200


def get_terms() -> dict[str, Any]:
    """Return what new loans are made on."""
    with unit_of_work.reading() as session:
        terms = settings.loan_terms(settings.read_all(session))
        rate = market.find_sell_rate(session)
    return {**wire.loan_terms(terms), "max_loans": MAX_LOANS, "sell_rate_inr": rate}


def get_loan(user_id: int, loan_id: int) -> dict[str, Any]:
    """Return one loan of this user. Raises LoanNotFound."""
    with unit_of_work.reading() as session:
        return book.show(session, book.read(session, loan_id, user_id), wire.now())


def list_loans(user_id: int, *, status: str | None = None) -> dict[str, Any]:
    """Return a user's loans, newest first, and what the active ones come to."""
    conditions: list[sa.ColumnElement[bool]] = [LoanRow.user_id == user_id]
    if status is not None:
        conditions.append(LoanRow.status == status)
    loans = _list(*conditions)
    active = [loan for loan in loans if loan["status"] == LoanStatus.ACTIVE]
    return {
        "loans": loans,
        "active_loans": len(active),
        "total_collateral_btc": sum(loan["collateral_btc"] for loan in active),
        "total_debt_inr": sum(loan["debt_inr"] for loan in active),
    }


def list_changed(user_id: int, loan_ids: Collection[int]) -> list[dict[str, Any]]:
    """Return these loans of this user, and those under a margin call, newest first."""
    is_wanted = sa.or_(LoanRow.id.in_(loan_ids), LoanRow.margin_called_at.is_not(None))
    return _list(LoanRow.user_id == user_id, is_wanted)


def list_for_operator(*, user_id: int | None, status: str | None, limit: int) -> list[dict[str, Any]]:
    """Return everybody's or one user's loans, newest first, each with its owner's id."""
    conditions = [] if user_id is None else [LoanRow.user_id == user_id]
    if status is not None:
        conditions.append(LoanRow.status == status)
    return _list(*conditions, limit=limit, with_owner=True)


def get_for_operator(loan_id: int) -> dict[str, Any]:
    """Return anybody's loan. Raises LoanNotFound."""
    found = _list(LoanRow.id == loan_id, with_owner=True)
    if not found:
        raise LoanNotFound()
    return found[0]


def _list(
    *conditions: sa.ColumnElement[bool], limit: int = MAX_SHOWN, with_owner: bool = False
) -> list[dict[str, Any]]:
    now = wire.now()
    with unit_of_work.reading() as session:
        rows = session.execute(book.select_loans(*conditions).order_by(LoanRow.id.desc()).limit(limit)).all()
        rate = market.find_sell_rate(session) if rows else None
    return [
        {**({"user_id": row.user_id} if with_owner else {}), **wire.loan(row._mapping, now, rate)}
        for row in rows
    ]
