"""Prices: what a source says, and the rates that BitTrade makes of it.

USD prices are whole cents, rates whole rupees for one bitcoin, percentages basis points (1 bps = 0.01 %).
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from bittrade.domain.money import divide_half_up
from bittrade.errors import InvalidInput

TIMEFRAMES = {"1d": 1, "7d": 7, "30d": 30, "90d": 90, "365d": 365}  # name → days
MULTIPLIER_SCALE = 10_000  # multipliers have four decimal places
MAX_MULTIPLIER = 10_000
MAX_STEP_PCT = 5  # of one change of a multiplier, unless it is confirmed
MAX_DISTANCE_PCT = 15  # of a multiplier from the rupees that the market gives for a dollar
MAX_AHEAD = timedelta(seconds=5)  # how far a clock may run ahead of ours and still be believed


@dataclass(frozen=True, slots=True)
class PriceQuote:
    """One provider's answer, already validated."""

    btc_usd_cents: int  # > 0
    as_of: datetime  # aware, UTC: when the source says that the price was true
    source: str
    market_cap_usd: int | None = None
    volume_24h_usd: int | None = None
    high_24h_usd_cents: int | None = None
    ath_usd_cents: int | None = None
    ath_date: date | None = None
    ath_change_bps: int | None = None


@dataclass(frozen=True, slots=True)
class SentimentReading:
    """The Fear & Greed index of one day."""

    value: int  # 0 to 100
    classification: str
    data_date: date


@dataclass(frozen=True, slots=True)
class ChartPoint:
    at: datetime  # aware, UTC
    usd_cents: int


@dataclass(frozen=True, slots=True)
class ChartSeries:
    timeframe: str  # a key of TIMEFRAMES
    points: tuple[ChartPoint, ...]  # at least one, oldest first

    @property
    def change_bps(self) -> int | None:
        """First to last point; None where the first is zero."""
        first, last = self.points[0].usd_cents, self.points[-1].usd_cents
        return divide_half_up((last - first) * 10_000, first) if first else None


@dataclass(frozen=True, slots=True)
class Multipliers:
    """USD → INR factors, each in units of 1 / MULTIPLIER_SCALE."""

    buy: int
    sell: int

    def __post_init__(self) -> None:
        if not 0 < self.sell <= self.buy:
            raise InvalidInput(
                "The buy multiplier must not be below the sell multiplier, and both must be positive"
            )

    @classmethod
    def parse(cls, *, buy: str, sell: str) -> "Multipliers":
        return cls(buy=parse_multiplier(buy), sell=parse_multiplier(sell))


def doubts_about(before: Multipliers, after: Multipliers, market_rate: int | None) -> list[str]:
    """Return why a change of the multipliers may be a slip: too large a step, or too far from the market's own rate.

    `market_rate` is rupees for a dollar, in units of 1 / MULTIPLIER_SCALE; None where no source has it.
    """
    doubts = []
    for name, old, new in (("buy", before.buy, after.buy), ("sell", before.sell, after.sell)):
        if abs(new - old) * 100 > MAX_STEP_PCT * old:
            doubts.append(f"the {name} multiplier would change by more than {MAX_STEP_PCT} %")
        if market_rate is not None and abs(new - market_rate) * 100 > MAX_DISTANCE_PCT * market_rate:
            doubts.append(
                f"the {name} multiplier would be more than {MAX_DISTANCE_PCT} % from the market's rate of "
                f"{market_rate // MULTIPLIER_SCALE}.{market_rate % MULTIPLIER_SCALE // 100:02d}"
            )
    return doubts


@dataclass(frozen=True, slots=True)
class Rates:
    """Rupees for one bitcoin: what a buyer pays and what a seller gets."""

    buy_inr: int
    sell_inr: int


def parse_multiplier(text: str) -> int:
    """'91' or '91.25' → 910000 or 912500. Raises InvalidInput beyond four places or MAX_MULTIPLIER."""
    whole, _, fraction = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 5 and len(fraction) <= 4):
        raise InvalidInput(f"Not a multiplier: {text[:20]!r}")
    if fraction and not (fraction.isascii() and fraction.isdigit()):
        raise InvalidInput(f"Not a multiplier: {text[:20]!r}")
    scaled = int(whole) * MULTIPLIER_SCALE + int((fraction or "0").ljust(4, "0"))
    if not 0 < scaled <= MAX_MULTIPLIER * MULTIPLIER_SCALE:
        raise InvalidInput(f"A multiplier is above 0 and at most {MAX_MULTIPLIER}")
    return scaled


def cents(value: Decimal) -> int:
    """USD → whole cents, halves up. Raises InvalidInput for a value that is not finite."""
    if not value.is_finite():
        raise InvalidInput("A price must be a finite number")
    return int((value * 100).to_integral_value(ROUND_HALF_UP))


def rates_for(btc_usd_cents: int, multipliers: Multipliers) -> Rates:
    """`rate = round_half_up(btc_usd_price × multiplier)`, in whole rupees."""
    scale = 100 * MULTIPLIER_SCALE
    return Rates(
        buy_inr=divide_half_up(btc_usd_cents * multipliers.buy, scale),
        sell_inr=divide_half_up(btc_usd_cents * multipliers.sell, scale),
    )


def age_ms(as_of: datetime, now: datetime) -> int:
    """Return the milliseconds since the price was true, never negative.

    A time ahead of `now` by more than clocks may disagree counts as being that far off: it is no sign of freshness.
    """
    distance = (now - as_of) // timedelta(milliseconds=1)
    return -distance if is_of_the_future(as_of, now) else max(0, distance)


def is_of_the_future(as_of: datetime, now: datetime) -> bool:
    """Return whether a time is further ahead than clocks may disagree: then some clock was wrong, and it says nothing."""
    return as_of > now + MAX_AHEAD


def is_stale(as_of: datetime, now: datetime, *, max_age_ms: int) -> bool:
    """Return whether a price is too old to trade on, or its time is of the future."""
    return is_of_the_future(as_of, now) or age_ms(as_of, now) > max_age_ms


def believed_as_of(as_of: datetime, received_at: datetime) -> datetime:
    """Return the time that a received price counts as. A clock that runs ahead makes no price fresher than others."""
    return as_of if as_of <= received_at else received_at - MAX_AHEAD
