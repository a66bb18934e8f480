"""Whether matching is late: open orders that the price has long reached, and nobody filled."""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.pricing import Rates, rates_for
from bittrade.domain.receipt import PriceBasis
from bittrade.models import BitcoinData, LimitOrderRow
from bittrade.services import market
from bittrade.services.orders import matching


def has_unfilled(*, by_s: float) -> bool:
    """Return whether an order is open that waits since before and that every price of the last `by_s` seconds reached.

    While there is no price to trade on, nothing can be late. Of a halt that has just ended it knows nothing: for the
    second that the next sweep takes, what was reached meanwhile counts as late.
    """
    now = wire.now()
    since = now - timedelta(seconds=by_s)
    with unit_of_work.reading() as session:
        try:
            basis = market.price_for_trade(session, now)
        except matching.NO_PRICE:
            return False
        worst = _worst_rates(session, basis, since)
        if worst is None:
            return False
        waits = (
            LimitOrderRow.created_at <= since,
            sa.or_(LimitOrderRow.expires_at.is_(None), LimitOrderRow.expires_at > now),
        )
        queries = matching.reached(worst, *waits)
        return any(session.execute(query.limit(1)).first() is not None for query in queries)


def _worst_rates(session: Session, basis: PriceBasis, since: object) -> Rates | None:
    """The highest to buy at and the lowest to sell at since then, at the multipliers of today; None without a price of
    then."""
    first = sa.select(BitcoinData.btc_usd_cents).where(BitcoinData.created_at <= since)
    then = session.scalar(first.order_by(BitcoinData.created_at.desc()).limit(1))
    if then is None:
        return None
    extremes = sa.select(sa.func.min(BitcoinData.btc_usd_cents), sa.func.max(BitcoinData.btc_usd_cents))
    lowest, highest = session.execute(extremes.where(BitcoinData.created_at > since)).one()
    low, high = min(then, lowest or then), max(then, highest or then)
    return Rates(
        buy_inr=rates_for(high, basis.multipliers).buy_inr,
        sell_inr=rates_for(low, basis.multipliers).sell_inr,
    )
