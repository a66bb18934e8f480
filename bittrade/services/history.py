"""Which rows a user's history shows, and in what order: a part of `user_data`.

An order's money moves in transactions of its own, and the history tells the order's story instead: an open order is a
PENDING row on top, under the order's id; one that was cancelled or expired a CANCELLED row; a fill is a row like any
trade's. What was reserved for it and given back stays in the books, and is shown where it is asked for by its type.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from bittrade import wire
from bittrade.domain.transaction_types import HOLDS, ORDER_RESERVE, TYPE_NAMES
from bittrade.models import LimitOrderRow, Transaction

# What the history was filtered by before each currency had a row of its own, and still may be.
TYPE_GROUPS = {"DEPOSIT": ("DEPOSIT_INR", "DEPOSIT_BTC"), "WITHDRAWAL": ("WITHDRAW_INR", "WITHDRAW_BTC")}
TYPE_FILTERS = (*TYPE_NAMES, *TYPE_GROUPS)
PENDING, CANCELLED = "PENDING", "CANCELLED"
BY_SEQ = "uq_transactions_user_id_seq"  # an index
_OPEN, _UNFILLED = "OPEN", ("CANCELLED", "EXPIRED")
_ORDER_SIDES = {"LIMIT_BUY": "buy", "LIMIT_SELL": "sell"}
_Reversed = aliased(Transaction)
_COLUMNS: tuple[Any, ...] = (
    Transaction.id,
    Transaction.type,
    Transaction.status,
    Transaction.btc_amount,
    Transaction.inr_amount,
    Transaction.execution_price,
    Transaction.created_at,
    Transaction.executed_at,
    Transaction.seq,
    Transaction.client_order_id,
    Transaction.reverses_id,
    Transaction.order_id,
    Transaction.imported_id,
    Transaction.imported_type,
    Transaction.transfer_id,
    Transaction.counterparty_name,
    Transaction.loan_id,
    sa.select(_Reversed.type)
    .where(_Reversed.id == Transaction.reverses_id)
    .scalar_subquery()
    .label("reverses_type"),
    LimitOrderRow.status.label("order_status"),
    LimitOrderRow.action.label("order_action"),
    LimitOrderRow.asset.label("order_asset"),
    LimitOrderRow.amount.label("order_amount"),
    LimitOrderRow.limit_price.label("order_limit_price"),
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which transactions are wanted; None means any. `since` is included, `until` is not."""

    type: str | None = None
    status: str | None = None
    client_order_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before_id: int | None = None

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """Yield the conditions on a transaction, but for those on its type and status."""
        if self.client_order_id is not None:
            yield Transaction.client_order_id == self.client_order_id
        if self.since is not None:
            yield Transaction.created_at >= self.since
        if self.until is not None:
            yield Transaction.created_at < self.until

    def settled(self) -> sa.ColumnElement[bool]:
        """Return the condition of being shown as settled, under the wanted type and status."""
        is_order = sa.and_(
            Transaction.type == ORDER_RESERVE, LimitOrderRow.status.in_(_UNFILLED), self._is_side()
        )
        names = TYPE_GROUPS.get(self.type or "", (self.type,))
        is_other = Transaction.type.not_in(HOLDS) if self.type is None else Transaction.type.in_(names)
        if self.status == CANCELLED:
            return is_order
        return is_other if self.status is not None else sa.or_(is_other, is_order)

    def pending(self) -> sa.ColumnElement[bool]:
        """Return the condition of being an open order, of the wanted type."""
        return sa.and_(LimitOrderRow.status == _OPEN, self._is_side())

    def _is_side(self) -> sa.ColumnElement[bool]:
        if self.type is None:
            return sa.true()
        side = _ORDER_SIDES.get(self.type)
        return sa.false() if side is None else LimitOrderRow.action == side


EVERYTHING = Filter()


def select_rows(*conditions: sa.ColumnElement[bool]) -> sa.Select[*tuple[Any, ...]]:
    """Return the query of rows as `wire.transaction` reads them."""
    return (
        sa.select(*_COLUMNS)
        .select_from(Transaction)
        .outerjoin(LimitOrderRow, LimitOrderRow.id == Transaction.id)
        .where(*conditions)
    )


def read_rows(
    session: Session, user_id: int, *, limit: int, offset: int = 0, wanted: Filter = EVERYTHING
) -> list[dict[str, Any]]:
    """Return rows of the history, PENDING first, then newest; with `before_id` those older than that, none PENDING.

    Newest is by `seq`, not by id (docs/adr/0022).
    """
    pending: list[dict[str, Any]] = []
    count = 0
    if wanted.before_id is None and wanted.status in (None, PENDING):
        pending = _read_pending(session, user_id, wanted)
        count = len(pending)
        pending = pending[offset : offset + limit]
    if wanted.status == PENDING or len(pending) >= limit:
        return pending
    query = select_rows(Transaction.user_id == user_id, *wanted.conditions(), wanted.settled())
    if wanted.before_id is not None:
        query = query.where(_is_older(session, user_id, wanted.before_id))
        query = along(query, BY_SEQ)
    query = query.order_by(Transaction.seq.desc())
    settled = query.limit(limit - len(pending)).offset(max(0, offset - count))
    return pending + [wire.transaction(row) for row in session.execute(settled)]


def read_latest(session: Session, user_id: int, *, limit: int) -> list[dict[str, Any]]:
    """Return the newest open orders and below them the newest other rows, each `limit` many at most."""
    pending = _read_pending(session, user_id, EVERYTHING)[:limit]
    query = select_rows(Transaction.user_id == user_id, EVERYTHING.settled()).order_by(Transaction.seq.desc())
    return pending + [wire.transaction(row) for row in session.execute(query.limit(limit))]


def read_older(
    session: Session, user_id: int, *, limit: int, below_seq: int, wanted: Filter
) -> list[dict[str, Any]]:
    """Return the rows with a lower `seq`, newest first, whatever their status: an open order where it was placed."""
    is_shown = sa.or_(wanted.settled(), wanted.pending())
    query = select_rows(Transaction.user_id == user_id, *wanted.conditions(), is_shown)
    query = query.where(Transaction.seq < below_seq).order_by(Transaction.seq.desc())
    query = along(query, BY_SEQ)
    return [wire.transaction(row) for row in session.execute(query.limit(limit))]


def read_newer(
    session: Session, user_id: int, *, limit: int, after_id: int | None, wanted: Filter
) -> list[dict[str, Any]]:
    """Return what is settled, oldest first: all of it, or what came after a row."""
    query = select_rows(Transaction.user_id == user_id, *wanted.conditions(), wanted.settled())
    if after_id is not None:
        this = (Transaction.id == after_id, Transaction.user_id == user_id)
        seq = session.scalar(sa.select(Transaction.seq).where(*this))
        query = query.where(Transaction.id > after_id if seq is None else Transaction.seq > seq)
    query = along(query.order_by(Transaction.seq), BY_SEQ)
    return [wire.transaction(row) for row in session.execute(query.limit(limit))]


def _read_pending(session: Session, user_id: int, wanted: Filter) -> list[dict[str, Any]]:
    """Return the open orders, newest first: there are a hundred at most."""
    query = select_rows(
        LimitOrderRow.user_id == user_id,
        Transaction.user_id == user_id,
        *wanted.conditions(),
        wanted.pending(),
    )
    return [wire.transaction(row) for row in session.execute(query.order_by(Transaction.seq.desc()))]


def _is_older(session: Session, user_id: int, before_id: int) -> sa.ColumnElement[bool]:
    """Return the condition of standing below a row of the history, or, where there is no such row, below its id."""
    this = (Transaction.id == before_id, Transaction.user_id == user_id)
    seq = session.scalar(sa.select(Transaction.seq).where(*this))
    return Transaction.id < before_id if seq is None else Transaction.seq < seq


def along(query: sa.Select[*tuple[Any, ...]], index: str) -> sa.Select[*tuple[Any, ...]]:
    """Begin at the cursor. MariaDB would begin at the user's newest row and pass over all that are above the cursor:
    its estimate leaves the LIMIT out of account (bench/history.py shows the difference)."""
    for dialect in ("mysql", "mariadb"):
        query = query.with_hint(Transaction, f"FORCE INDEX ({index})", dialect)
    return query
