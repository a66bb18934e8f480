"""Corrections: a wrong transaction is answered by its opposite, never edited."""

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


def reverse_transaction(transaction_id: int, *, why: str) -> Posted:
    """Post the opposite of a transaction.

    Raises InvalidInput (no reason), TransactionNotFound, NotReversible, AlreadyReversed, or InsufficientFunds where the
    user has spent it.
    """
    why = audit.read_reason(why)

    def work(session: Session) -> tuple[int, Posted]:
        user_id, posting, entry = _opposite(session, transaction_id)
        held = ledger.lock_balance(session, user_id)
        if session.scalar(sa.select(Transaction.id).where(Transaction.reverses_id == transaction_id)):
            raise AlreadyReversed()
        posted = ledger.post(session, user_id, held=held, entry=entry, posting=posting, now=wire.now())
        audit.record(
            session,
            "transaction_reversed",
            user_id=user_id,
            transaction_id=transaction_id,
            reversal_id=posted.transaction_id,
            why=why,
        )
        return user_id, posted

    user_id, posted = unit_of_work.commit(work)
    user_data.publish(user_id, posted.balance)
    return posted


def _opposite(session: Session, transaction_id: int) -> tuple[int, Posting, Entry]:
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
    return row.user_id, Posting(type=REVERSAL, reverses_id=transaction_id), entry.reversed()
