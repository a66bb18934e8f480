"""The rows of loans and the movements of their money, inside a caller's unit of work. It never commits.

Whoever calls what writes here holds the lock of the user's balance: that lock alone decides between a repayment and a
liquidation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import broadcast, wire
from bittrade.domain import loans as rules
from bittrade.domain.ledger import Entry
from bittrade.domain.loans import Loan, LoanStatus, Payment, Terms
from bittrade.errors import LoanNotActive, LoanNotFound
from bittrade.models import LoanRow
from bittrade.services import ledger, market, user_data
from bittrade.services.ledger import Posted, Posting

COLUMNS = tuple(LoanRow.__table__.columns)


@dataclass(frozen=True, slots=True)
class Changed:
    """A loan that changed in a unit of work: what to publish once that is committed."""

    user_id: int
    loan: dict[str, Any]
    balance: dict[str, int]
    reason: str

    def publish(self) -> None:
        """Publish the balance, the history and the loan to their owner."""
        user_data.publish(self.user_id, self.balance)
        self.publish_loan()

    def publish_loan(self) -> None:
        """Publish the loan alone."""
        broadcast.loan_changed(self.user_id, lambda: self.loan, reason=self.reason)


def select_loans(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Return the query of loans as `wire.loan` reads them."""
    return sa.select(*COLUMNS).where(*conditions)


def read(session: Session, loan_id: int, user_id: int) -> Mapping[Any, Any]:
    """Return one loan of this user. Raises LoanNotFound."""
    row = None
    if loan_id <= ledger.MAX_BALANCE:  # no column holds more: SQLite's driver would not even ask
        row = session.execute(select_loans(LoanRow.id == loan_id, LoanRow.user_id == user_id)).first()
    if row is None:
        raise LoanNotFound()
    return row._mapping


def show(session: Session, row: Mapping[Any, Any], now: datetime) -> dict[str, Any]:
    """Return a loan as its owner sees it, at the newest rate."""
    return wire.loan(row, now, market.find_sell_rate(session))


@dataclass
class OpenLoan:
    """An active loan on which a caller works under the lock of its user's balance."""

    session: Session
    row: dict[str, Any]
    held: dict[str, int]
    now: datetime
    loan: Loan = field(init=False)

    def __post_init__(self) -> None:
        self.loan = wire.loan_of(self.row)

    @classmethod
    def get(
        cls, session: Session, loan_id: int, user_id: int, *, held: dict[str, int], now: datetime
    ) -> "OpenLoan":
        """Return one active loan of this user. Raises LoanNotFound or LoanNotActive."""
        row = dict(read(session, loan_id, user_id))
        if row["status"] != LoanStatus.ACTIVE:
            raise LoanNotActive(loan=show(session, row, now))
        return cls(session, row, held, now)

    @property
    def user_id(self) -> int:
        """Return whose it is."""
        user_id: int = self.row["user_id"]
        return user_id

    def post(self, kind: str, entry: Entry, loan: Loan, **said: Any) -> Posted:
        """Post a movement, after which the loan is as given."""
        posting = Posting(type=kind, loan_id=self.row["id"], **said)
        posted = ledger.post(
            self.session, self.user_id, held=self.held, entry=entry, posting=posting, now=self.now
        )
        self.held, self.loan = posted.balance, loan
        return posted

    def charge(self) -> int:
        """Charge the interest of up to now; the rupees."""
        due, charged = self.loan.due(self.now), self.loan.charged(self.now)
        if due:
            self.post("INTEREST_ACCRUAL", rules.interest_entry(self.user_id, due), charged)
        self.loan = charged
        return due

    def pay(self, paid: Payment, **said: Any) -> Posted:
        """Repay from what the user has free."""
        entry = rules.payment_entry(self.user_id, paid)
        return self.post("LOAN_REPAY", entry, self.loan.after_payment(paid), **said)

    def save(self, reason: str, *, ended_as: LoanStatus = LoanStatus.CLOSED, **changes: Any) -> Changed:
        """Write the row; a loan that is over ends, as `ended_as` says."""
        values = {**columns_of(self.loan), **changes}
        if self.loan.is_over:
            values |= {"status": ended_as.value, "closed_at": self.now, "margin_called_at": None}
        self.session.execute(sa.update(LoanRow).where(LoanRow.id == self.row["id"]).values(**values))
        self.row |= values
        return Changed(self.user_id, show(self.session, self.row, self.now), self.held, reason)


def columns_of(loan: Loan) -> dict[str, Any]:
    """Return the columns that a loan's changes change."""
    return {
        "collateral_btc": loan.collateral,
        "borrowed_inr": loan.borrowed,
        "interest_accrued": loan.interest,
        "interest_micro": loan.micro,
        "interest_since": loan.since,
        "call_rate_inr": loan.watched_rate(loan.terms.call_ltv_pct),
        "liquidation_rate_inr": loan.watched_rate(loan.terms.liquidation_ltv_pct),
    }


def add(session: Session, user_id: int, posted: Posted, loan: Loan) -> dict[str, Any]:
    """Write the row of a loan that a transaction has just created."""
    row = {
        "id": posted.transaction_id,
        "user_id": user_id,
        "status": LoanStatus.ACTIVE.value,
        **columns_of(loan),
        **terms_columns(loan.terms),
        "margin_called_at": None,
        "created_at": posted.at,
        "closed_at": None,
    }
    session.execute(sa.insert(LoanRow.__table__).values(**row))
    return row


def terms_columns(terms: Terms) -> dict[str, int]:
    """Return the columns that say what a loan was made on."""
    return {
        "max_ltv_pct": terms.max_ltv_pct,
        "call_ltv_pct": terms.call_ltv_pct,
        "liquidation_ltv_pct": terms.liquidation_ltv_pct,
        "yearly_rate_bps": terms.yearly_rate_bps,
    }
