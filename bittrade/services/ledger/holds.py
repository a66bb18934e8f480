"""The part of the proof about what is set aside: reserved is what open orders hold, to the unit, for each user."""

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade.models import Balance, LimitOrderRow


def find_wrong_holds(session: Session) -> Iterator[str]:
    """Yield each user whose reserved amounts are not what their open orders hold."""
    held = {
        (row.user_id, "reserved_inr" if row.action == "buy" else "reserved_btc"): int(row.reserved)
        for row in session.execute(
            sa.select(
                LimitOrderRow.user_id,
                LimitOrderRow.action,
                sa.func.sum(LimitOrderRow.reserved).label("reserved"),
            )
            .where(LimitOrderRow.status == "OPEN")
            .group_by(LimitOrderRow.user_id, LimitOrderRow.action)
        )
    }
    reserving = sa.or_(Balance.reserved_inr > 0, Balance.reserved_btc > 0)
    users = {user_id for user_id, _ in held}
    query = sa.select(Balance.user_id, Balance.reserved_inr, Balance.reserved_btc)
    for row in session.execute(query.where(sa.or_(reserving, Balance.user_id.in_(users)))):
        for account in ("reserved_inr", "reserved_btc"):
            reserved, ordered = getattr(row, account), held.get((row.user_id, account), 0)
            if reserved != ordered:
                yield f"user {row.user_id}: {account} is {reserved}, open orders hold {ordered}"
