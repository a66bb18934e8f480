"""Quotes: a rate held for one user for some seconds, used at most once."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.pricing import age_ms, is_of_the_future
from bittrade.domain.receipt import PriceBasis
from bittrade.errors import QuoteExpired, QuoteNotFound, QuoteUsed, TooManyQuotes
from bittrade.models import Quote
from bittrade.services import ledger, market

MAX_OPEN = 5  # a quote is an option that the house gives away: nobody may hoard them


@dataclass(frozen=True, slots=True)
class HeldRate:
    """A quote that was made: until when it holds, and the price it holds."""

    id: str
    basis: PriceBasis
    made_at: datetime
    expires_at: datetime

    def document(self) -> dict[str, Any]:
        basis = self.basis
        return {
            "quote_id": self.id,
            **wire.rates(basis.btc_usd_cents, basis.rates),
            "source": basis.source,
            "as_of": wire.timestamp(basis.as_of),
            "age_ms": age_ms(basis.as_of, self.made_at),
            "stale": False,
            "timestamp": wire.timestamp(self.made_at),
            "expires_at": wire.timestamp(self.expires_at),
            "expires_in_ms": (self.expires_at - self.made_at) // timedelta(milliseconds=1),
        }


def make_quote(user_id: int) -> HeldRate:
    """Hold the current rates for this user. Raises RatesUnavailable, PriceUncertain, TradingHalted or TooManyQuotes."""
    return unit_of_work.commit_for(user_id, lambda session: _make(session, user_id))


def _make(session: Session, user_id: int) -> HeldRate:
    ledger.lock_balance(session, user_id)  # one user's quotes are counted one after the other
    now = wire.now()
    basis = market.price_for_trade(session, now)
    open_quotes = session.scalar(
        sa.select(sa.func.count())
        .select_from(Quote)
        .where(Quote.user_id == user_id, Quote.used_at.is_(None), Quote.expires_at > now)
    )
    lifetime_s = current_app.config["QUOTE_LIFETIME_S"]
    if (open_quotes or 0) >= MAX_OPEN:
        raise TooManyQuotes(retry_after_s=lifetime_s)
    # Held no longer than the price itself may be traded on.
    last_moment = basis.as_of + timedelta(seconds=current_app.config["MAX_PRICE_AGE_S"])
    held = HeldRate(uuid.uuid4().hex, basis, now, min(now + timedelta(seconds=lifetime_s), last_moment))
    session.add(
        Quote(
            id=held.id,
            user_id=user_id,
            price=orjson.dumps(basis.to_json()).decode(),
            created_at=now,
            expires_at=held.expires_at,
        )
    )
    return held


def claim(session: Session, user_id: int, quote_id: str, now: datetime) -> PriceBasis:
    """Use a quote up, in the caller's unit of work.

    Raises QuoteNotFound, QuoteUsed, QuoteExpired, TradingHalted, or PriceUncertain while a price waits for confirmation.
    """
    basis = read(session, user_id, quote_id, now)
    claimed = session.execute(
        sa.update(Quote).where(Quote.id == quote_id, Quote.used_at.is_(None)).values(used_at=now)
    )
    if claimed.rowcount != 1:  # type: ignore[attr-defined]
        raise QuoteUsed()
    return basis


def read(session: Session, user_id: int, quote_id: str, now: datetime) -> PriceBasis:
    """Return what a quote holds, without using it. Raises like `claim`.

    A quote is void once a price was held after it, the price in use moved further than prices that confirm each other
    differ, or the multipliers changed: it must not outlive what it was made of.
    """
    row = session.execute(
        sa.select(Quote.price, Quote.created_at, Quote.expires_at, Quote.used_at).where(
            Quote.id == quote_id, Quote.user_id == user_id
        )
    ).first()
    if row is None:
        raise QuoteNotFound()
    if row.used_at is not None:
        raise QuoteUsed()
    basis = PriceBasis.from_json(orjson.loads(row.price))
    is_in_force = market.is_in_force(session, basis)
    # Of the future: the clock that made it was ahead, and its end is as far off.
    if not is_in_force or row.expires_at <= now or is_of_the_future(row.created_at, now):
        raise QuoteExpired()
    return basis
