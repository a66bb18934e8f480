"""Corrections: a wrong transaction is answered by its opposite, never edited."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.ledger import Entry, Leg
from bittrade.domain.money import Asset
from bittrade.domain.transaction_types import REVERSAL, TYPES
from bittrade.errors import AlreadyReversed, NotReversible, TransactionNotFound
from bittrade.models import LedgerLeg, Transaction
from bittrade.services import audit, ledger, user_data
from bittrade.services.ledger import Posted, Posting


@dataclass(frozen=True, slots=True)
class Opposite:
    """What would undo a transaction: whose it is, and the entry that is its opposite."""

    transaction_id: int
    user_id: int
    entry: Entry


def reverse_transaction(transaction_id: int, *, why: str) -> Posted:
    """Post the opposite of a transaction.

    Raises InvalidInput (no reason), TransactionNotFound, NotReversible, AlreadyReversed, or InsufficientFunds where the
    user has spent it.
    """
    why = audit.read_reason(why)

    def work(session: Session) -> tuple[int, Posted]:
        opposite = read_opposite(session, transaction_id)
        held = ledger.lock_balance(session, opposite.user_id)
        return opposite.user_id, post(session, opposite, held=held, why=why)

    user_id, posted = unit_of_work.commit(work)
    user_data.publish(user_id, posted.balance)
    return posted


def post(session: Session, opposite: Opposite, *, held: dict[str, int], **facts: Any) -> Posted:
    """Post a reversal in the caller's unit of work, which holds the balance. Raises AlreadyReversed, InsufficientFunds."""
    refuse_if_reversed(session, opposite.transaction_id)
    posting = Posting(type=REVERSAL, reverses_id=opposite.transaction_id)
    posted = ledger.post(
        session, opposite.user_id, held=held, entry=opposite.entry, posting=posting, now=wire.now()
    )
    audit.record(
        session,
        "transaction_reversed",
        user_id=opposite.user_id,
        transaction_id=opposite.transaction_id,
        reversal_id=posted.transaction_id,
        **facts,
    )
    return posted


def refuse_if_reversed(session: Session, transaction_id: int) -> None:
    """Raise AlreadyReversed where the opposite was posted before."""
    if session.scalar(sa.select(Transaction.id).where(Transaction.reverses_id == transaction_id)):
        raise AlreadyReversed()


def read_opposite(session: Session, transaction_id: int) -> Opposite:
    """Return what would undo a transaction. Raises TransactionNotFound or NotReversible."""
    row = session.execute(
        sa.select(Transaction.user_id, Transaction.type).where(Transaction.id == transaction_id)
    ).first()
    if row is None:
        raise TransactionNotFound()
    if not TYPES[row.type].is_reversible:
        raise NotReversible()
    legs = session.execute(
        sa.select(LedgerLeg.account, LedgerLeg.asset, LedgerLeg.amount, LedgerLeg.user_id)
        .where(LedgerLeg.transaction_id == transaction_id)
        .order_by(LedgerLeg.id)
    )
    entry = Entry(tuple(Leg(leg.account, Asset(leg.asset), leg.amount, leg.user_id) for leg in legs))
    return Opposite(transaction_id, row.user_id, entry.reversed())
