"""Which prices are believed: one too far from the last accepted one is held until another confirms it (S15).

How old the last accepted price is makes no difference: after hours without a feed the first price that jumped waits,
like any other, for a second source or a second fetch, which is one interval at most. Before the very first there is
nothing to measure by. Everything held or refused leaves a row.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.pricing import PriceQuote, Sanity, is_of_the_future
from bittrade.models import BitcoinData, BitcoinPriceEvent
from bittrade.services.market import price as market_price
from bittrade.services.market.price import Recorded

log = logging.getLogger(__name__)
HELD_FOR = timedelta(minutes=10)  # how long a held price waits for a confirmation
SECOND_FETCH_AFTER = timedelta(seconds=5)  # two jobs at once are one fetch, however many answers they get
MAX_REASON = 255


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a quote: held, or recorded (`recorded` is None where it was not newer than what we have)."""

    is_held: bool
    recorded: Recorded | None = None
    refuted: tuple[str, ...] = ()  # providers whose held price this one contradicts


def consider(quote: PriceQuote, *, provider: str) -> Verdict:
    """Record a believable quote, or one that another provider's held price confirms; hold any other."""
    market_price.refuse_simulator(quote)

    def work(session: Session) -> Verdict:
        last = market_price.lock_newest(session)
        waiting = _list_waiting(session)
        others = [event for event in waiting if event.provider != provider]
        if last is None or not _sanity().is_jump(quote.btc_usd_cents, last.btc_usd_cents):
            return _accept(session, quote, last, waiting)
        if any(_is_recent(event) and _confirms(quote, event) for event in others):
            return _accept(session, quote, last, waiting)
        _hold(session, quote, last, provider)
        return Verdict(is_held=True)

    return unit_of_work.commit(work)


def accept_second_fetch(quote: PriceQuote, *, provider: str) -> Verdict:
    """Record a quote that was just held, if an earlier fetch from the same provider said the same; else it stays held.

    Only where nobody else answered: a source that repeats its mistake must not be its own witness beside others.
    """

    def work(session: Session) -> Verdict:
        last = market_price.lock_newest(session)
        waiting = _list_waiting(session)
        earlier = [event for event in waiting if event.provider == provider and _is_second_fetch(event)]
        if last is None or not any(_is_newer(quote, event) and _confirms(quote, event) for event in earlier):
            return Verdict(is_held=True)
        return _accept(session, quote, last, waiting)

    return unit_of_work.commit(work)


def record_refusal(provider: str, reason: str) -> None:
    """Keep that a source said something that cannot be believed at all."""

    def work(session: Session) -> None:
        now = wire.now()
        session.add(
            BitcoinPriceEvent(
                at=now, provider=provider, outcome="refused", reason=reason[:MAX_REASON], resolved_at=now
            )
        )

    unit_of_work.commit(work)


def _sanity() -> Sanity:
    return Sanity(
        jump_limit_bps=round(current_app.config["PRICE_JUMP_LIMIT_PCT"] * 100),
        confirm_within_bps=round(current_app.config["PRICE_CONFIRM_WITHIN_PCT"] * 100),
    )


def _list_waiting(session: Session) -> Sequence[BitcoinPriceEvent]:
    """Return everything that is held. What has waited too long confirms nothing any more, but is settled with the rest."""
    return session.scalars(
        sa.select(BitcoinPriceEvent).where(BitcoinPriceEvent.outcome == "held").order_by(BitcoinPriceEvent.id)
    ).all()


def _is_recent(event: BitcoinPriceEvent) -> bool:
    return wire.now() - HELD_FOR < event.at


def _confirms(quote: PriceQuote, event: BitcoinPriceEvent) -> bool:
    return event.btc_usd_cents is not None and _sanity().confirms(quote.btc_usd_cents, event.btc_usd_cents)


def _is_second_fetch(event: BitcoinPriceEvent) -> bool:
    """Return whether what was held is of an earlier fetch. One of the future is: our clock was ahead then."""
    now = wire.now()
    return _is_recent(event) and (event.at <= now - SECOND_FETCH_AFTER or is_of_the_future(event.at, now))


def _is_newer(quote: PriceQuote, event: BitcoinPriceEvent) -> bool:
    return event.as_of is not None and event.as_of < quote.as_of


def _accept(
    session: Session, quote: PriceQuote, last: BitcoinData | None, waiting: Sequence[BitcoinPriceEvent]
) -> Verdict:
    """Record it, and settle with it what was held until now."""
    recorded = market_price.add_price(session, quote, last)
    if recorded is None:
        return Verdict(is_held=False)
    now = wire.now()
    for event in waiting:
        event.outcome = "confirmed" if _confirms(quote, event) else "refuted"
        event.resolved_at = now
    refuted = {event.provider for event in waiting if event.outcome == "refuted"}
    return Verdict(is_held=False, recorded=recorded, refuted=tuple(sorted(refuted)))


def _hold(session: Session, quote: PriceQuote, last: BitcoinData, provider: str) -> None:
    change_pct = (quote.btc_usd_cents - last.btc_usd_cents) * 100 / last.btc_usd_cents
    reason = f"{change_pct:+.1f} % from the last accepted price"
    log.warning("%s: price held, %s", provider, reason)
    session.add(
        BitcoinPriceEvent(
            at=wire.now(),
            provider=provider,
            outcome="held",
            btc_usd_cents=quote.btc_usd_cents,
            last_usd_cents=last.btc_usd_cents,
            as_of=quote.as_of,
            reason=reason[:MAX_REASON],
        )
    )
