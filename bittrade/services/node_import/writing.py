"""Writing an account that was imported: who it is, what it did elsewhere, and its opening entries, in one unit of work."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.ledger import COLLATERAL, HOUSE_CUSTODY, Entry, Leg, owe, transfer
from bittrade.domain.loans import Loan
from bittrade.domain.money import Asset
from bittrade.domain.transaction_types import OPENING
from bittrade.errors import InvalidInput
from bittrade.models import AuditEvent, Balance, Transaction, User
from bittrade.services import audit, ledger, loans, settings
from bittrade.services.ledger import Posting
from bittrade.services.node_import.conversion import Account, Opening, PastTransaction

AT_ONCE = 500  # rows in one statement
IMPORTED_ACTION = "user_imported"


def list_imported() -> set[int]:
    """Return who was imported already. Raises InvalidInput where there are others: an import needs an empty BitTrade."""
    with unit_of_work.reading() as session:
        imported = set(
            session.scalars(sa.select(AuditEvent.user_id).where(AuditEvent.action == IMPORTED_ACTION))
        )
        others = [user_id for user_id in session.scalars(sa.select(User.id)) if user_id not in imported]
    if others:
        raise InvalidInput(
            f"This BitTrade is not empty: user {others[0]} was not imported. Import into a new database"
        )
    return {user_id for user_id in imported if user_id is not None}


def write(account: Account, past: Sequence[PastTransaction]) -> None:
    """Write an account with its history and what it opens with."""

    def work(session: Session) -> None:
        columns = asdict(account)
        del columns["opening"]
        session.add(User(**columns))
        session.flush()
        session.add(Balance(user_id=account.id, seq=len(past)))
        session.flush()
        for rows in _pieces(account.id, past):
            session.execute(sa.insert(Transaction.__table__), rows)
        _open(session, account.id, account.opening)
        audit.record(session, IMPORTED_ACTION, user_id=account.id, transactions=len(past))

    unit_of_work.commit(work)


def _pieces(user_id: int, past: Sequence[PastTransaction]) -> Iterator[list[dict[str, object]]]:
    for start in range(0, len(past), AT_ONCE):
        yield [
            {**asdict(row), "user_id": user_id, "seq": seq, "is_pending": False}
            for seq, row in enumerate(past[start : start + AT_ONCE], start=start + 1)
        ]


def _open(session: Session, user_id: int, opening: Opening) -> None:
    """Post what a user has, a deposit for each currency, and what is lent or owed."""
    balance, now = ledger.lock_balance(session, user_id), wire.now()
    for kind, entry in _entries(user_id, opening).items():
        posted = ledger.post(session, user_id, held=balance, entry=entry, posting=Posting(type=kind), now=now)
        balance = posted.balance
        if kind == OPENING:
            loans.add(session, user_id, posted, _loan(session, opening, now))
    if opening.inr or opening.btc:
        audit.record(
            session, "deposit", user_id=user_id, inr=opening.inr, satoshis=opening.btc, why="opening balance"
        )


def _loan(session: Session, opening: Opening, now: datetime) -> Loan:
    """Return what was lent elsewhere as one loan on the terms of today."""
    terms = settings.loan_terms(settings.read_all(session))
    return Loan(terms, now, opening.collateral_btc, opening.borrowed_inr, opening.interest_accrued)


def _entries(user_id: int, opening: Opening) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    if opening.inr:
        entries["DEPOSIT_INR"] = transfer(user_id=user_id, house=HOUSE_CUSTODY, inr=opening.inr)
    if opening.btc:
        entries["DEPOSIT_BTC"] = transfer(user_id=user_id, house=HOUSE_CUSTODY, btc=opening.btc)
    lent: list[Leg] = []
    if opening.collateral_btc:
        lent.append(Leg(COLLATERAL, Asset.BTC, opening.collateral_btc, user_id))
        lent.append(Leg(HOUSE_CUSTODY, Asset.BTC, -opening.collateral_btc))
    for account in ("borrowed_inr", "interest_accrued"):
        if amount := getattr(opening, account):
            lent += owe(user_id=user_id, account=account, amount=amount).legs
    if lent:
        entries[OPENING] = Entry(tuple(lent))
    return entries
