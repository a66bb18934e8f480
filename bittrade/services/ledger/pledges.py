"""The part of the proof about loans: collateral and debt are what active loans say, to the unit, for each user."""

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade.models import Balance, LoanRow

ACCOUNTS = ("collateral_btc", "borrowed_inr", "interest_accrued")


def find_wrong_pledges(session: Session) -> Iterator[str]:
    """Yield each user whose collateral or debt is not that of their active loans."""
    sums = [sa.func.sum(getattr(LoanRow, account)).label(account) for account in ACCOUNTS]
    query = sa.select(LoanRow.user_id, *sums).where(LoanRow.status == "ACTIVE").group_by(LoanRow.user_id)
    lent = {row.user_id: row for row in session.execute(query)}
    columns = [getattr(Balance, account) for account in ACCOUNTS]
    has_some = sa.or_(*(column > 0 for column in columns), Balance.user_id.in_(lent))
    for row in session.execute(sa.select(Balance.user_id, *columns).where(has_some)):
        for account in ACCOUNTS:
            held, said = getattr(row, account), int(getattr(lent.get(row.user_id), account, 0))
            if held != said:
                yield f"user {row.user_id}: {account} is {held}, active loans say {said}"
