"""Writing accounts that were imported: who they are, what they did elsewhere, and their opening entries, many in one unit of
work."""

from collections.abc import Mapping, Sequence
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
from bittrade.models import AuditEvent, User
from bittrade.services import audit, ledger, loans, settings
from bittrade.services.ledger import NewBooks
from bittrade.services.node_import.conversion import Account, Opening, PastTransaction

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


def write(several: Mapping[Account, Sequence[PastTransaction]]) -> None:
    """Write accounts, each with its history and what it opens with, in one unit of work."""

    def work(session: Session) -> None:
        now = wire.now()
        people = [asdict(account) for account in several]
        for columns in people:
            del columns["opening"]
        session.execute(sa.insert(User.__table__), people)
        books = [
            NewBooks(account.id, [asdict(row) for row in past], _entries(account.id, account.opening))
            for account, past in several.items()
        ]
        posted = ledger.open_books(session, books, now=now)
        for account in several:
            if opened := posted.get((account.id, OPENING)):
                loans.add(session, account.id, opened, _loan(session, account.opening, now))
        audit.record_each(
            session,
            IMPORTED_ACTION,
            {account.id: {"transactions": len(past)} for account, past in several.items()},
        )
        audit.record_each(session, "deposit", {account.id: _deposit(account.opening) for account in several})

    if several:
        unit_of_work.commit(work)


def _deposit(opening: Opening) -> dict[str, object]:
    """Return what the audit log says of what a user opens with; nothing, where that is nothing."""
    if not (opening.inr or opening.btc):
        return {}
    return {"inr": opening.inr, "satoshis": opening.btc, "why": "opening balance"}


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
