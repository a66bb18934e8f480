"""Whether the newest price may be traded on. One answer for trades, quotes, orders, the status and health alike.

A trade is refused while trading is halted, while a newer price waits for confirmation (bought at the old one, a jump that
is confirmed would be a gift), without a price, and with one that is too old or of the future.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade.domain.consensus import is_within
from bittrade.domain.pricing import Rates, age_ms, is_stale, rates_for
from bittrade.domain.receipt import PriceBasis
from bittrade.errors import BitTradeError, PriceUncertain, RatesUnavailable, TradingHalted
from bittrade.models import BitcoinData, BitcoinPriceEvent
from bittrade.services import settings
from bittrade.services.market import price as market_price

# What the status and health call each refusal.
STATES: dict[type[BitTradeError], str] = {
    TradingHalted: "halted",
    PriceUncertain: "price_uncertain",
    RatesUnavailable: "no_price",
}


def price_for_trade(session: Session, now: datetime) -> PriceBasis:
    """Return the newest price, from the database: the cache may be wrong, a trade may not.

    Raises TradingHalted, PriceUncertain, or RatesUnavailable where there is none or it is too old.
    """
    values = settings.read_all(session)
    return judge(values, session.execute(newest_price()).first(), now)


def newest_price() -> sa.Select[Any]:
    """The query for what `judge` takes: the newest price, and whether one is held."""
    return (
        sa.select(
            BitcoinData.id,
            BitcoinData.source,
            BitcoinData.btc_usd_cents,
            BitcoinData.as_of,
            _has_held_price().label("is_uncertain"),
        )
        .order_by(BitcoinData.id.desc())
        .limit(1)
    )


def judge(values: dict[str, str], row: Any, now: datetime) -> PriceBasis:
    """Make the newest price and the settings a basis. Raises like `price_for_trade`."""
    _refuse_if_halted(values)
    if row is None:
        raise RatesUnavailable()
    if row.is_uncertain:
        raise _uncertain()
    if is_stale(row.as_of, now, max_age_ms=market_price.max_age_ms()):
        raise RatesUnavailable(price_age_ms=age_ms(row.as_of, now))
    basis = PriceBasis(row.id, row.source, row.btc_usd_cents, row.as_of, settings.multipliers(values))
    if basis.rates.sell_inr <= 0:
        raise RatesUnavailable()  # multipliers that make a bitcoin worth nothing
    return basis


def find_sell_rate(session: Session) -> int | None:
    """Return what a bitcoin brings at the newest price, however old; None before the first. To show, not to trade on."""
    rates = find_rates(session)
    return None if rates is None else rates.sell_inr or None


def find_rates(session: Session) -> Rates | None:
    """Return the rates at the newest price, however old; None before the first. To value by, not to trade on."""
    cents = session.scalar(sa.select(BitcoinData.btc_usd_cents).order_by(BitcoinData.id.desc()).limit(1))
    if cents is None:
        return None
    return rates_for(cents, settings.read_multipliers(session))


def trading_state(session: Session, now: datetime) -> str:
    """Return what a trade would meet now: open, halted, price_uncertain or no_price."""
    try:
        price_for_trade(session, now)
    except tuple(STATES) as refusal:
        return STATES[type(refusal)]
    return "open"


def refuse_if_halted(session: Session) -> dict[str, str]:
    """Return the settings. Raises TradingHalted where they say so."""
    values = settings.read_all(session)
    _refuse_if_halted(values)
    return values


def _refuse_if_halted(values: dict[str, str]) -> None:
    if settings.TRADING_HALTED in values:
        raise TradingHalted()


def is_in_force(session: Session, basis: PriceBasis) -> bool:
    """Return whether a basis of earlier still holds: no price was held since, the price in use still confirms it, and the
    multipliers are the same.

    Raises TradingHalted, and PriceUncertain while a held price waits.
    """
    values = refuse_if_halted(session)
    if session.scalar(sa.select(_has_held_price())):
        raise _uncertain()
    recorded_at = session.scalar(sa.select(BitcoinData.created_at).where(BitcoinData.id == basis.price_id))
    in_use = session.scalar(sa.select(BitcoinData.btc_usd_cents).order_by(BitcoinData.id.desc()).limit(1))
    tolerance_bps = round(current_app.config["PRICE_CONFIRM_WITHIN_PCT"] * 100)
    return (
        recorded_at is not None
        and in_use is not None
        and is_within(in_use, basis.btc_usd_cents, tolerance_bps)
        and basis.multipliers == settings.multipliers(values)
        and not session.scalar(sa.select(_was_held_since(recorded_at)))
    )


def has_held_price(session: Session) -> bool:
    """Return whether a price waits for confirmation. Every price that is accepted settles what was held before it."""
    return bool(session.scalar(sa.select(_has_held_price())))


def _has_held_price() -> Any:
    return sa.exists().where(BitcoinPriceEvent.outcome == "held")


def _was_held_since(moment: datetime) -> Any:
    return sa.exists().where(
        BitcoinPriceEvent.outcome.in_(("confirmed", "refuted")),
        BitcoinPriceEvent.at >= moment,
        # What was refuted at once was never held: it did not put the price in doubt.
        sa.or_(
            BitcoinPriceEvent.outcome == "confirmed", BitcoinPriceEvent.resolved_at > BitcoinPriceEvent.at
        ),
    )


def _uncertain() -> PriceUncertain:
    """The next poll or the one after it decides."""
    return PriceUncertain(retry_after_s=current_app.config["PRICE_INTERVAL_S"])
