"""What waits for a second admin: one asks, another decides, and never the same person.

The balance of the account is locked before the approval is read, by who asks and by who decides: of two who decide at
once, one finds it decided. The database refuses one person in both parts, whatever the code does.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from bittrade import unit_of_work, wire
from bittrade.errors import ApprovalNotFound, ApprovalNotPending, OwnApproval, TooManyApprovals
from bittrade.models import Approval, User
from bittrade.services import audit, ledger, user_data
from bittrade.services.identity import Identity
from bittrade.services.operators import movements
from bittrade.services.operators.movements import Done, Kind, Movement

PENDING, APPROVED, REJECTED, EXPIRED = "PENDING", "APPROVED", "REJECTED", "EXPIRED"
LIFETIME = timedelta(days=7)  # what nobody decided on for so long has to be asked for anew
MAX_PENDING = 200
_Owner, _Asker, _Decider = aliased(User), aliased(User), aliased(User)


def open_approval(
    session: Session, admin: Identity, movement: Movement, *, value_inr: int | None, why: str
) -> dict[str, Any]:
    """Let a movement wait, in the caller's unit of work. Raises TooManyApprovals."""
    waiting = sa.select(sa.func.count()).select_from(Approval).where(*_is_pending())
    if (session.scalar(waiting) or 0) >= MAX_PENDING:
        raise TooManyApprovals(max_pending=MAX_PENDING)
    row = Approval(
        kind=movement.kind,
        status=PENDING,
        user_id=movement.user_id,
        inr=movement.inr,
        satoshis=movement.satoshis,
        value_inr=value_inr,
        reverses_id=movement.reverses_id,
        client_order_id=movement.client_order_id,
        reason=why,
        requested_by=admin.user_id,
        requested_at=wire.now(),
    )
    session.add(row)
    session.flush()
    _record(session, "approval_requested", row, why=why)
    return _read(session, row.id)


def approve(admin: Identity, approval_id: int, *, why: str) -> dict[str, Any]:
    """Do what another admin asked for; the approval, and `updated_balance`.

    Raises InvalidInput (no reason), ApprovalNotFound, ApprovalNotPending, OwnApproval; InsufficientFunds,
    AlreadyReversed: it then still waits.
    """

    def step(session: Session, row: Approval, held: dict[str, int], reason: str) -> Done:
        movement = Movement(
            cast(Kind, row.kind), row.user_id, row.inr, row.satoshis, row.reverses_id, row.client_order_id
        )
        _record(session, "approval_given", row, why=reason)
        done = movements.execute(session, movement, held, why=row.reason, approval_id=row.id)
        row.status, row.transaction_id = APPROVED, done.transaction_id
        return done

    approval, done = _decide(admin, approval_id, why, step)
    user_data.publish(approval["user_id"], done.balance)
    return {**approval, "updated_balance": user_data.balance_document(done.balance)}


def reject(admin: Identity, approval_id: int, *, why: str) -> dict[str, Any]:
    """Let what another admin asked for not be done; the approval. Raises as `approve`."""

    def step(session: Session, row: Approval, _held: dict[str, int], reason: str) -> None:
        row.status = REJECTED
        _record(session, "approval_rejected", row, why=reason)

    return _decide(admin, approval_id, why, step)[0]


def list_approvals(
    *, limit: int, before_id: int | None = None, status: str | None = None, user_id: int | None = None
) -> dict[str, Any]:
    """A page of them, newest first; those that wait only, or all."""
    conditions: list[sa.ColumnElement[bool]] = []
    if status in (PENDING, EXPIRED):
        is_old = Approval.requested_at <= wire.now() - LIFETIME
        conditions += [Approval.status == PENDING, is_old if status == EXPIRED else sa.not_(is_old)]
    elif status is not None:
        conditions.append(Approval.status == status)
    if before_id is not None:
        conditions.append(Approval.id < before_id)
    if user_id is not None:
        conditions.append(Approval.user_id == user_id)
    with unit_of_work.reading() as session:
        query = _select(*conditions).order_by(Approval.id.desc()).limit(limit + 1)
        rows = [_document(row) for row in session.execute(query)]
    return wire.page("approvals", rows[:limit], has_more=len(rows) > limit)


def _decide(
    admin: Identity, approval_id: int, why: str, step: Callable[[Session, Approval, dict[str, int], str], Any]
) -> tuple[dict[str, Any], Any]:
    reason = audit.read_reason(why)
    with unit_of_work.reading() as session:
        user_id = session.scalar(sa.select(Approval.user_id).where(Approval.id == approval_id))
    if user_id is None:
        raise ApprovalNotFound()

    def work(session: Session) -> tuple[dict[str, Any], Any]:
        held = ledger.lock_balance(session, user_id)
        row = session.get_one(Approval, approval_id, with_for_update=True)
        if row.status != PENDING or row.requested_at <= wire.now() - LIFETIME:
            raise ApprovalNotPending(approval=_read(session, approval_id))
        if admin.user_id in (row.requested_by, row.user_id):
            raise OwnApproval()
        row.decided_by, row.decided_at, row.decision = admin.user_id, wire.now(), reason
        came_of_it = step(session, row, held, reason)
        session.flush()
        return _read(session, approval_id), came_of_it

    return unit_of_work.commit_for(user_id, work)


def _record(session: Session, action: str, row: Approval, *, why: str) -> None:
    amounts: dict[str, Any] = {"kind": row.kind, "inr_amount": row.inr, "btc_amount": row.satoshis}
    audit.record(session, action, user_id=row.user_id, approval_id=row.id, why=why, **amounts)


def _is_pending() -> tuple[sa.ColumnElement[bool], ...]:
    return Approval.status == PENDING, Approval.requested_at > wire.now() - LIFETIME


def _select(*conditions: sa.ColumnElement[bool]) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            *Approval.__table__.columns,
            _Owner.email.label("user_email"),
            _Owner.name.label("user_name"),
            _Asker.email.label("asker_email"),
            _Decider.email.label("decider_email"),
        )
        .join(_Owner, _Owner.id == Approval.user_id)
        .join(_Asker, _Asker.id == Approval.requested_by)
        .outerjoin(_Decider, _Decider.id == Approval.decided_by)
        .where(*conditions)
    )


def _read(session: Session, approval_id: int) -> dict[str, Any]:
    return _document(session.execute(_select(Approval.id == approval_id)).one())


def _document(row: Any) -> dict[str, Any]:
    expires_at = row.requested_at + LIFETIME
    is_old = row.status == PENDING and expires_at <= wire.now()
    decider = None if row.decided_by is None else {"id": row.decided_by, "email": row.decider_email}
    return {
        "id": row.id,
        "kind": row.kind,
        "status": EXPIRED if is_old else row.status,
        "user_id": row.user_id,
        "user_name": row.user_name,
        "user_email": row.user_email,
        "inr_amount": row.inr,
        "btc_amount": row.satoshis,
        "value_inr": row.value_inr,
        "reverses_id": row.reverses_id,
        "reason": row.reason,
        "requested_by": {"id": row.requested_by, "email": row.asker_email},
        "requested_at": wire.timestamp(row.requested_at),
        "expires_at": wire.timestamp(expires_at),
        "decided_by": decider,
        "decided_at": None if row.decided_at is None else wire.timestamp(row.decided_at),
        "decision": row.decision,
        "transaction_id": row.transaction_id,
    }
