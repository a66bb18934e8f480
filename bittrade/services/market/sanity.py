"""Which prices are believed. What one source says is enough for a small move; for anything else the sources are compared.

Accepted: a small move from the last *checked* price (one that a second source confirmed, not long ago); what a majority of
the sources that answered agrees on; a larger move of the only source that answers, within the limits of a jump and of a
window. Held until it is decided: everything else. Everything held or refused leaves a row.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.consensus import Consensus, Report, Sanity, consensus, drift_bps
from bittrade.domain.pricing import PriceQuote, is_of_the_future
from bittrade.models import BitcoinData, BitcoinPriceEvent
from bittrade.services.market import basis as market_basis
from bittrade.services.market import price as market_price
from bittrade.services.market.price import Recorded

log = logging.getLogger(__name__)
HELD_FOR = timedelta(minutes=10)  # how long a held price may confirm another
SECOND_FETCH_AFTER = timedelta(seconds=5)  # two jobs at once are one fetch, however many answers they get
MAX_REASON = 255
ITSELF = "itself"  # in `checked_by`: a jump that only its own source confirmed, by a second fetch

Quotes = dict[str, PriceQuote]  # by source, in their order of preference


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the quotes of one round."""

    accepted: int | None = None  # the price that was believed, in cents; None: all of them are held
    recorded: Recorded | None = None  # None also where what was believed is not newer than what we have
    outliers: tuple[str, ...] = ()  # sources that the others contradict
    is_contradicted: bool = False  # a majority denies the price that is in use

    def drift_bps(self, quote: PriceQuote) -> int | None:
        """Return how far a source's price was from the one that was believed."""
        return None if self.accepted is None else drift_bps(quote.btc_usd_cents, self.accepted)


def is_small_move(quote: PriceQuote) -> bool:
    """Return whether this source alone is enough, as far as the size of the move goes."""
    with unit_of_work.reading() as session:
        base = _find_base(session)
        return (
            base is not None
            and sanity().is_small_move(quote.btc_usd_cents, base.btc_usd_cents)
            and not market_basis.has_held_price(session)
        )


def is_check_due() -> bool:
    """Return whether it is time to ask all sources again although nothing is remarkable."""
    with unit_of_work.reading() as session:
        checked = _find_checked(session, since=wire.now() - _seconds("PRICE_CHECK_EVERY_S"))
    return checked is None


def is_unchecked() -> bool:
    """Return whether no second source has confirmed a price of the window, although there was time for that."""
    with unit_of_work.reading() as session:
        base = _find_base(session)
    return (
        base is not None
        and base.checked_by is None
        and wire.now() - base.created_at > _seconds("PRICE_CHECK_EVERY_S")
    )


def find_checked_at(session: Session) -> datetime | None:
    """Return when a second source last confirmed the price, within the window."""
    checked = _find_checked(session, since=wire.now() - _seconds("PRICE_WINDOW_S"))
    return None if checked is None else checked.created_at


def hold_if_denied(name: str, quote: PriceQuote) -> int | None:
    """Hold a price at once that does not confirm the one in use, before the other sources are asked; its event's id."""
    market_price.refuse_simulator(quote)

    def work(session: Session) -> int | None:
        last = market_price.lock_newest(session)
        if last is None or sanity().confirms(quote.btc_usd_cents, last.btc_usd_cents):
            return None
        if market_price.is_overtaken(quote, last):
            return None  # an answer that is late denies nothing
        event = _hold(session, name, quote, last, "the other sources are asked")
        session.flush()
        return event.id

    return unit_of_work.commit(work)


def judge(quotes: Quotes, doubts: Mapping[str, int] | None = None) -> Verdict:
    """Record what is to be believed of one round's quotes, and hold the rest.

    `doubts` are the events of what this very round holds already, by source (`hold_if_denied`).
    """
    for quote in quotes.values():
        market_price.refuse_simulator(quote)
    return unit_of_work.commit(lambda session: _judge(session, quotes, dict(doubts or {})))


def record_refusal(provider: str, reason: str) -> None:
    """Keep that a source said something that cannot be believed at all."""
    unit_of_work.commit(lambda session: session.add(_event(provider, "refused", reason)))


def sanity() -> Sanity:
    """Return the operator's limits."""
    names = (
        "PRICE_JUMP_LIMIT_PCT",
        "PRICE_CONFIRM_WITHIN_PCT",
        "PRICE_CHECK_BAND_PCT",
        "PRICE_WINDOW_LIMIT_PCT",
    )
    return Sanity(*(round(current_app.config[name] * 100) for name in names))


# --- judging, in one unit of work -----------------------------------------------------------------------------------


def _judge(session: Session, quotes: Quotes, doubts: dict[str, int]) -> Verdict:
    last = market_price.lock_newest(session)
    verdict = _decide(session, quotes, last, set(doubts))
    waiting = session.scalars(sa.select(BitcoinPriceEvent).where(BitcoinPriceEvent.id.in_(doubts.values())))
    if verdict.accepted is None:
        for doubt in waiting.all():
            _replace(session, doubt)
    else:
        _settle([doubt for doubt in waiting if doubt.outcome == "held"], verdict.accepted)
    return verdict


def _decide(session: Session, quotes: Quotes, last: BitcoinData | None, doubted: set[str]) -> Verdict:
    if len(quotes) == 1:
        return _judge_one(session, next(iter(quotes)), quotes, last)
    reports = [Report(name, quote.btc_usd_cents, quote.as_of) for name, quote in quotes.items()]
    found = consensus(reports, None if last is None else last.btc_usd_cents, sanity())
    if found.outliers or not found.agreed:
        log.error("price: the sources disagree: %s", _described(quotes))
    if not found.agreed or found.is_contradicted:
        for name, quote in quotes.items():
            _hold(session, name, quote, last, "the sources disagree")
        return Verdict(is_contradicted=found.is_contradicted)
    return _accept_agreed(session, quotes, found, last, doubted)


def _accept_agreed(
    session: Session, quotes: Quotes, found: Consensus, last: BitcoinData | None, doubted: set[str]
) -> Verdict:
    names = [report.source for report in found.agreed]
    first = quotes[names[0]]
    is_jump = last is not None and sanity().is_jump(first.btc_usd_cents, last.btc_usd_cents)
    if is_jump and names[0] not in doubted:
        session.add(_event(names[0], "confirmed", _described(quotes), first))
    outliers = tuple(report.source for report in found.outliers)
    for name in names:  # the first that is newer than what we have
        checked_by = " ".join(other for other in names if other != name) or None
        verdict = _accept(session, quotes[name], last, checked_by=checked_by)
        if verdict.recorded is not None:
            break
    said = [name for name in outliers if name not in doubted]
    session.add_all(_event(name, "refuted", _described(quotes), quotes[name]) for name in said)
    return Verdict(verdict.accepted, verdict.recorded, outliers)


def _judge_one(session: Session, name: str, quotes: Quotes, last: BitcoinData | None) -> Verdict:
    """Judge what the only source said that was asked, or that answered."""
    quote = quotes[name]
    if last is None:
        return _accept(session, quote, last)
    held = [event for event in _list_held(session) if _is_recent(event)]
    is_disputed = any(event.provider != name and _disputes(event, quote, last) for event in held)
    if not is_disputed and _may_lead_alone(session, quote, last):
        return _accept(session, quote, last)
    saying_so = [event for event in held if _confirms(quote, event)]
    others = sorted({event.provider for event in saying_so if event.provider != name})
    if others:
        return _accept(session, quote, last, checked_by=" ".join(others))
    is_repeated = any(_is_second_fetch(event) and _is_newer(quote, event) for event in saying_so)
    # Once in a window: or a source that lies alone leads the price anywhere, a jump at a time.
    if is_repeated and not is_disputed and not _has_confirmed_itself(session):
        return _accept(session, quote, last, checked_by=ITSELF)
    _hold(session, name, quote, last, "no other source answered")
    return Verdict()


def _disputes(event: BitcoinPriceEvent, quote: PriceQuote, last: BitcoinData) -> bool:
    """Return whether what another source said just now denies this one. A jump does not: this source denies that."""
    cents = event.btc_usd_cents
    return (
        cents is not None
        and not sanity().confirms(quote.btc_usd_cents, cents)
        and not sanity().is_jump(cents, last.btc_usd_cents)
    )


def _may_lead_alone(session: Session, quote: PriceQuote, last: BitcoinData) -> bool:
    base = _find_base(session) or last
    limits = sanity()
    return not limits.is_jump(quote.btc_usd_cents, last.btc_usd_cents) and limits.is_within_window(
        quote.btc_usd_cents, base.btc_usd_cents
    )


def _accept(
    session: Session, quote: PriceQuote, last: BitcoinData | None, *, checked_by: str | None = None
) -> Verdict:
    """Record it, and settle with it what was held until now."""
    recorded = market_price.add_price(session, quote, last, checked_by=checked_by)
    if recorded is None:
        return Verdict(accepted=quote.btc_usd_cents)
    _settle(_list_held(session), quote.btc_usd_cents)
    return Verdict(accepted=quote.btc_usd_cents, recorded=recorded)


def _replace(session: Session, doubt: BitcoinPriceEvent) -> None:
    """Let the event that says why a price is held take the place of the one that held it while others were asked."""
    held = sa.select(BitcoinPriceEvent).where(
        BitcoinPriceEvent.outcome == "held",
        BitcoinPriceEvent.provider == doubt.provider,
        BitcoinPriceEvent.id > doubt.id,
    )
    for event in session.scalars(held):
        event.at = doubt.at
        session.delete(doubt)


def _settle(events: Iterable[BitcoinPriceEvent], accepted_cents: int) -> None:
    now = wire.now()
    for event in events:
        event.outcome = "confirmed" if _is_same(accepted_cents, event) else "refuted"
        event.resolved_at = now


def _hold(
    session: Session, name: str, quote: PriceQuote, last: BitcoinData | None, why: str
) -> BitcoinPriceEvent:
    change = 0 if last is None else drift_bps(quote.btc_usd_cents, last.btc_usd_cents) / 100
    reason = f"{change:+.1f} % from the last accepted price; {why}"
    log.warning("%s: price held, %s", name, reason)
    event = _event(name, "held", reason, quote)
    event.last_usd_cents = None if last is None else last.btc_usd_cents
    session.add(event)
    return event


def _event(provider: str, outcome: str, reason: str, quote: PriceQuote | None = None) -> BitcoinPriceEvent:
    now = wire.now()
    return BitcoinPriceEvent(
        at=now,
        provider=provider,
        outcome=outcome,
        btc_usd_cents=None if quote is None else quote.btc_usd_cents,
        as_of=None if quote is None else quote.as_of,
        reason=reason[:MAX_REASON],
        resolved_at=None if outcome == "held" else now,
    )


def _described(quotes: Quotes) -> str:
    return ", ".join(f"{name} {quote.btc_usd_cents / 100:.2f}" for name, quote in quotes.items())


# --- what was before ------------------------------------------------------------------------------------------------


def _find_base(session: Session) -> BitcoinData | None:
    """Return the last checked price of the window, or the window's first price; None where it has none."""
    since = wire.now() - _seconds("PRICE_WINDOW_S")
    return (
        _find_checked(session, since=since)
        or session.scalars(
            sa.select(BitcoinData).where(BitcoinData.created_at >= since).order_by(BitcoinData.id).limit(1)
        ).first()
    )


def _find_checked(session: Session, *, since: datetime) -> BitcoinData | None:
    return session.scalars(
        sa.select(BitcoinData)
        .where(
            BitcoinData.created_at >= since,
            BitcoinData.created_at <= wire.now(),
            BitcoinData.checked_by.is_not(None),
        )
        .order_by(BitcoinData.id.desc())
        .limit(1)
    ).first()


def _has_confirmed_itself(session: Session) -> bool:
    since = wire.now() - _seconds("PRICE_WINDOW_S")
    found = sa.exists().where(BitcoinData.created_at >= since, BitcoinData.checked_by == ITSELF)
    return bool(session.scalar(sa.select(found)))


def _list_held(session: Session) -> Sequence[BitcoinPriceEvent]:
    """Return everything that is held. What has waited too long confirms nothing, but is settled with the rest."""
    return session.scalars(
        sa.select(BitcoinPriceEvent).where(BitcoinPriceEvent.outcome == "held").order_by(BitcoinPriceEvent.id)
    ).all()


def _is_recent(event: BitcoinPriceEvent) -> bool:
    return wire.now() - HELD_FOR < event.at


def _confirms(quote: PriceQuote, event: BitcoinPriceEvent) -> bool:
    return _is_same(quote.btc_usd_cents, event)


def _is_same(cents: int, event: BitcoinPriceEvent) -> bool:
    return event.btc_usd_cents is not None and sanity().confirms(cents, event.btc_usd_cents)


def _is_second_fetch(event: BitcoinPriceEvent) -> bool:
    """Return whether what was held is of an earlier fetch. One of the future is: our clock was ahead then."""
    now = wire.now()
    return event.at <= now - SECOND_FETCH_AFTER or is_of_the_future(event.at, now)


def _is_newer(quote: PriceQuote, event: BitcoinPriceEvent) -> bool:
    return event.as_of is not None and event.as_of < quote.as_of


def _seconds(name: str) -> timedelta:
    return timedelta(seconds=current_app.config[name])
