"""The newest price: served with its age, recorded, and told to everyone. `basis` says whether it may be traded on.

Whether a price may be believed is decided before (`sanity`); `record_price` keeps what it is given.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import broadcast, cache, unit_of_work, wire
from bittrade.domain.pricing import (
    Multipliers,
    PriceQuote,
    Rates,
    age_ms,
    believed_as_of,
    is_of_the_future,
    is_stale,
    rates_for,
)
from bittrade.errors import AnswerRefused, BitTradeError, NoData, ProviderError
from bittrade.models import BitcoinData, Setting
from bittrade.services import settings

log = logging.getLogger(__name__)
SIMULATOR = "simulator"
# A cached price is looked up again after FRESH_MS, and not served after USABLE_MS while the database answers: so
# whatever was changed, by whomever, with Redis there or not, shows everywhere within 2 s.
FRESH_MS = 1000
USABLE_MS = 1800
CHECKED = "_checked_ms"
# What exchanges don't know (market cap, all-time high) is taken from the newest price that does, up to this old.
MARKET_DATA_MAX_AGE = timedelta(hours=24)
MARKET_DATA = ("market_cap_usd", "volume_24h_usd", "high_24h_usd", "ath_usd", "ath_date", "ath_change_pct")
# `btc_price_update` at most twice a second; what comes meanwhile is told once, by the newest price.
TOLD = "btc_rates_told"
TELL_SLOT = "btc_price_tell_slot"
TELL_WAITING = "btc_price_tell_waiting"
TELL_EVERY_MS = 500
TOLD_TTL_S = 24 * 3600


# --- serving ------------------------------------------------------------------------------------------------------


def get_current() -> dict[str, Any]:
    """Everything about the newest price. Raises NoData before the first."""
    document, cached = _latest()
    return {**document, **_freshness(document), "cached": cached}


def get_rates() -> dict[str, Any]:
    """The buy and sell rate. Raises NoData before the first price."""
    document, cached = _latest()
    return {**_price_event(document), "cached": cached}


def find_event(row: BitcoinData | None, multipliers: Multipliers) -> dict[str, Any] | None:
    """The payload of `btc_price_update` for a price and the multipliers of now."""
    if row is None:
        return None
    document = {
        **wire.rates(row.btc_usd_cents, rates_for(row.btc_usd_cents, multipliers)),
        "source": row.source,
        "as_of": wire.timestamp(row.as_of),
    }
    return _price_event(document)


def with_age_of_now(event: dict[str, Any]) -> dict[str, Any]:
    """A payload of `btc_price_update` that is told once more, later."""
    return _price_event(event)


def find_price_age_ms() -> int | None:
    """How old the newest price is; None before the first. Asks the database."""
    with unit_of_work.reading() as session:
        as_of = session.scalar(sa.select(BitcoinData.as_of).order_by(BitcoinData.id.desc()).limit(1))
    return None if as_of is None else age_ms(as_of, wire.now())


# --- recording ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row that was added: what to publish once it is committed."""

    document: dict[str, Any]
    is_changed: bool


def record_price(quote: PriceQuote) -> bool:
    """Keep a believable price, unless a newer one is known; True when it changed the rates. Then everyone is told."""
    refuse_simulator(quote)
    recorded = unit_of_work.commit(lambda session: add_price(session, quote, lock_newest(session)))
    return recorded is not None and publish(recorded)


def refuse_simulator(quote: PriceQuote) -> None:
    """Raises ProviderError for a made-up price in production."""
    if quote.source == SIMULATOR and current_app.config["IS_PRODUCTION"]:
        raise ProviderError("the price simulator is not a source in production")


def lock_newest(session: Session) -> BitcoinData | None:
    """The newest price, which stays the newest until the caller's unit of work ends.

    What is locked is a multiplier: a row that is always there, which trades only read, and whose change has to come
    either before this price or after it.
    """
    session.execute(sa.select(Setting.key).where(Setting.key == "buy_multiplier").with_for_update())
    return find_newest(session)


def find_newest(session: Session) -> BitcoinData | None:
    return session.scalars(sa.select(BitcoinData).order_by(BitcoinData.id.desc()).limit(1)).first()


def add_price(
    session: Session, quote: PriceQuote, before: BitcoinData | None, *, checked_by: str | None = None
) -> Recorded | None:
    """Add the row in the caller's unit of work; None for a quote that was overtaken, or for the same one again."""
    received_at = wire.now()
    if is_of_the_future(quote.as_of, received_at):
        raise AnswerRefused(f"{quote.source}: the price claims to be of the future")
    as_of = believed_as_of(quote.as_of, received_at)
    if before is not None and _is_overtaken(as_of, before, received_at):
        return None
    row = BitcoinData(
        btc_usd_cents=quote.btc_usd_cents,
        market_cap_usd=quote.market_cap_usd,
        volume_24h_usd=quote.volume_24h_usd,
        high_24h_usd_cents=quote.high_24h_usd_cents,
        ath_usd_cents=quote.ath_usd_cents,
        ath_date=quote.ath_date,
        ath_change_bps=quote.ath_change_bps,
        source=quote.source,
        checked_by=checked_by,
        as_of=as_of,
        created_at=received_at,
    )
    session.add(row)
    session.flush()
    multipliers = settings.read_multipliers(session)
    rates = rates_for(row.btc_usd_cents, multipliers)
    is_changed = before is None or rates_for(before.btc_usd_cents, multipliers) != rates
    return Recorded(_document(session, row, rates), is_changed)


def is_overtaken(quote: PriceQuote, before: BitcoinData) -> bool:
    """Return whether a quote is not newer than the price that we have."""
    now = wire.now()
    return _is_overtaken(believed_as_of(quote.as_of, now), before, now)


def _is_overtaken(as_of: datetime, before: BitcoinData, now: datetime) -> bool:
    """Return whether the price before is newer. One of the future is not: our own clock was ahead, and is not any more."""
    return as_of <= before.as_of and not is_of_the_future(before.as_of, now)


def publish(recorded: Recorded) -> bool:
    """After the commit: into the cache, and told if it changed the rates. Returns whether it did."""
    cache.put(cache.LATEST_PRICE, recorded.document, cache.LATEST_PRICE_TTL_S)
    if recorded.is_changed:
        _tell(recorded.document)
    return recorded.is_changed


def publish_rates() -> None:
    """Tell everyone the rates again, from the database: the multipliers changed."""
    document = _read_latest()
    if document is not None:
        publish(Recorded(document, is_changed=True))


def tell_what_went_unsaid() -> bool:
    """Tell the rates if they are not the ones told last, perhaps because Redis was away; whether they were not."""
    document = _read_latest()
    if document is None or cache.get(TOLD) == _told(document):
        return False
    publish(Recorded(document, is_changed=True))
    return True


# --- telling: on change only, at most twice a second, the newest wins ------------------------------------------------


def _tell(document: dict[str, Any]) -> None:
    """Tell everyone. The price is committed: what goes wrong here is a log line, and the watch tells it later."""
    try:
        _tell_in_turn(document)
    except BitTradeError as error:
        log.warning("could not tell a price: %s", error.message)


def _tell_in_turn(document: dict[str, Any]) -> None:
    if cache.claim(TELL_SLOT, ttl_ms=TELL_EVERY_MS) is False:
        if cache.claim(TELL_WAITING, ttl_ms=2 * TELL_EVERY_MS) is False:
            return  # somebody waits to tell the newest price, which is this one or a later one
        newest = _wait_for_slot()
        if newest is None:
            return
        document = newest
    broadcast.price_changed(_price_event(document))
    cache.put(TOLD, _told(document), TOLD_TTL_S)


def _wait_for_slot() -> dict[str, Any] | None:
    deadline = time.monotonic() + 2 * TELL_EVERY_MS / 1000
    while cache.claim(TELL_SLOT, ttl_ms=TELL_EVERY_MS) is False and time.monotonic() < deadline:
        time.sleep(0.02)
    # Before the price is read: what comes from here on waits for a slot of its own.
    cache.release(TELL_WAITING)
    return _read_latest()


def _told(document: dict[str, Any]) -> dict[str, Any]:
    return {key: document[key] for key in ("btc_usd_price", "buy_rate_inr", "sell_rate_inr")}


# --- shapes -------------------------------------------------------------------------------------------------------


def _latest() -> tuple[dict[str, Any], bool]:
    """The newest price's document and whether it came from the cache. Raises NoData."""
    document, cached = cache.get_or_fill(
        cache.LATEST_PRICE,
        _read_latest,
        cache.LATEST_PRICE_TTL_S,
        is_fresh=lambda held: _checked_ms_ago(held) <= FRESH_MS,
        is_usable=lambda held: _checked_ms_ago(held) <= USABLE_MS,
    )
    if document is None:
        raise NoData("No Bitcoin data found")
    return {key: value for key, value in document.items() if key != CHECKED}, cached


def _checked_ms_ago(document: dict[str, Any]) -> int:
    return abs(_epoch_ms(wire.now()) - int(document.get(CHECKED, 0)))


def _read_latest() -> dict[str, Any] | None:
    with unit_of_work.reading() as session:
        row = find_newest(session)
        if row is None:
            return None
        return _document(session, row, rates_for(row.btc_usd_cents, settings.read_multipliers(session)))


def _document(session: Session, row: BitcoinData, rates: Rates) -> dict[str, Any]:
    return {
        "id": row.id,
        **wire.rates(row.btc_usd_cents, rates),
        **_market_data(_find_market_data(session, row)),
        "last_updated": wire.timestamp(row.created_at),
        "source": row.source,
        "as_of": wire.timestamp(row.as_of),
        CHECKED: _epoch_ms(wire.now()),
    }


def _find_market_data(session: Session, row: BitcoinData) -> BitcoinData | None:
    """The price itself, or the newest one of a source that knows more than the price."""
    if row.market_cap_usd is not None:
        return row
    return session.scalars(
        sa.select(BitcoinData)
        .where(BitcoinData.market_cap_usd.is_not(None), BitcoinData.as_of > row.as_of - MARKET_DATA_MAX_AGE)
        .order_by(BitcoinData.as_of.desc())
        .limit(1)
    ).first()


def _market_data(row: BitcoinData | None) -> dict[str, Any]:
    if row is None:
        return {**dict.fromkeys(MARKET_DATA), "market_data_as_of": None}
    return {
        "market_cap_usd": row.market_cap_usd,
        "volume_24h_usd": row.volume_24h_usd,
        "high_24h_usd": wire.hundredths(row.high_24h_usd_cents),
        "ath_usd": wire.hundredths(row.ath_usd_cents),
        "ath_date": wire.day(row.ath_date),
        "ath_change_pct": wire.hundredths(row.ath_change_bps),
        "market_data_as_of": wire.timestamp(row.as_of),
    }


def _price_event(document: dict[str, Any]) -> dict[str, Any]:
    kept = ("btc_usd_price", "buy_rate_inr", "sell_rate_inr", "source", "as_of")
    return {
        **{key: document[key] for key in kept},
        **_freshness(document),
        "timestamp": wire.timestamp(wire.now()),
    }


def _freshness(document: dict[str, Any]) -> dict[str, Any]:
    age = age_document(datetime.fromisoformat(document["as_of"]), wire.now())
    return {**age, "stale_after_ms": max_age_ms()}


def age_document(as_of: datetime, now: datetime) -> dict[str, Any]:
    """How old a price is, and whether that is too old to trade on."""
    return {"age_ms": age_ms(as_of, now), "stale": is_stale(as_of, now, max_age_ms=max_age_ms())}


def max_age_ms() -> int:
    age_s: int = current_app.config["MAX_PRICE_AGE_S"]
    return age_s * 1000


def _epoch_ms(moment: datetime) -> int:
    return (moment - wire.EPOCH) // timedelta(milliseconds=1)
