"""What balances must agree with besides their legs: house accounts that must be even, and rows that hold money.

Every proof asks these, the recent and the whole. A check takes the proof's snapshot and yields its faults, a line each;
it must be quick, whatever the books have grown to. Orders, loans and whatever else holds money add theirs to CHECKS.
"""

from collections.abc import Callable, Iterator

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade.domain.ledger import HOUSE_TRANSFERS
from bittrade.models import LedgerLeg
from bittrade.services.ledger.holds import find_wrong_holds
from bittrade.services.ledger.pledges import find_wrong_pledges

Check = Callable[[Session], Iterator[str]]


def find_half_transfers(session: Session) -> Iterator[str]:
    """What one user sent, another got: the account between them is even."""
    sums = (
        sa.select(LedgerLeg.asset, sa.func.sum(LedgerLeg.amount))
        .where(LedgerLeg.user_id.is_(None), LedgerLeg.account == HOUSE_TRANSFERS)
        .group_by(LedgerLeg.asset)
    )
    for asset, total in session.execute(sums):
        if total:
            yield f"{HOUSE_TRANSFERS}: {asset} sums to {total}, not to 0"


CHECKS: tuple[Check, ...] = (find_half_transfers, find_wrong_holds, find_wrong_pledges)
