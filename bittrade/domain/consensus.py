"""What several sources that were asked at one time say together: which price is taken, who is alone, who contradicts whom.

Pure. Prices are whole cents, limits basis points. It must not know how sources are asked, nor what is done about them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bittrade.domain.money import divide_half_up

LAG = timedelta(
    seconds=30
)  # a price that is this much older than another may differ because the market moved
LAG_FACTOR = 2


@dataclass(frozen=True, slots=True)
class Sanity:
    """How far a price may be from others, in basis points."""

    jump_limit_bps: int  # from the last accepted one: beyond it a price is held
    confirm_within_bps: int  # of each other: nearer ones confirm each other
    check_band_bps: int = 0  # from the last checked one: beyond it every source is asked
    window_limit_bps: int = 0  # in one window, on the word of a single source; 0: no limit

    def is_jump(self, cents: int, last_cents: int) -> bool:
        """Return whether the price is too far from the last accepted one, however old that is."""
        return not is_within(cents, last_cents, self.jump_limit_bps)

    def confirms(self, cents: int, held_cents: int) -> bool:
        """Return whether two prices say the same."""
        return is_within(cents, held_cents, self.confirm_within_bps)

    def is_small_move(self, cents: int, checked_cents: int) -> bool:
        """Return whether one source is enough for it."""
        return is_within(cents, checked_cents, self.check_band_bps)

    def is_within_window(self, cents: int, base_cents: int) -> bool:
        """Return whether a single source may have led the price this far."""
        return not self.window_limit_bps or is_within(cents, base_cents, self.window_limit_bps)


@dataclass(frozen=True, slots=True)
class Report:
    """What one source says."""

    source: str
    usd_cents: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Consensus:
    """What they say together. `agreed` is a majority, first the price to be taken; empty where there is none."""

    agreed: tuple[Report, ...] = ()
    outliers: tuple[Report, ...] = ()
    is_contradicted: bool = False  # the majority denies the price in use, and another source stands by it


def consensus(reports: Sequence[Report], in_use_cents: int | None, sanity: Sanity) -> Consensus:
    """Return what the sources (one report each, in their order of preference) say together.

    More than half must agree. Without that, a source that stands by the price in use wins where all others are beyond the
    jump limit. A majority that denies the price in use while a source stands by it is a contradiction that nobody but a
    person can decide: either may be the lie.
    """
    if not reports:
        return Consensus()
    newest = max(report.as_of for report in reports)
    current = [report for report in reports if newest - report.as_of <= LAG]
    best = max(current, key=lambda one: sum(_agree(one, other, sanity) for other in reports))
    agreed = (best, *(other for other in reports if other is not best and _agree(best, other, sanity)))
    outliers = tuple(report for report in reports if report not in agreed)
    if len(agreed) > len(outliers):
        is_contradicted = _stands_against(
            best, [one for one in outliers if one in current], in_use_cents, sanity
        )
        return Consensus(agreed, outliers, is_contradicted)
    return _by_the_price_in_use(reports, current, in_use_cents, sanity)


def _stands_against(
    best: Report, outliers: Sequence[Report], in_use_cents: int | None, sanity: Sanity
) -> bool:
    if in_use_cents is None or sanity.confirms(best.usd_cents, in_use_cents):
        return False
    return any(sanity.confirms(one.usd_cents, in_use_cents) for one in outliers)


def _by_the_price_in_use(
    reports: Sequence[Report], current: Sequence[Report], in_use_cents: int | None, sanity: Sanity
) -> Consensus:
    if in_use_cents is None:
        return Consensus()
    standing = tuple(one for one in current if sanity.confirms(one.usd_cents, in_use_cents))
    others = tuple(one for one in reports if one not in standing)
    if standing and all(sanity.is_jump(one.usd_cents, in_use_cents) for one in others):
        return Consensus(standing, others)
    return Consensus()


def _agree(one: Report, other: Report, sanity: Sanity) -> bool:
    factor = LAG_FACTOR if abs(one.as_of - other.as_of) > LAG else 1
    low, high = sorted((one.usd_cents, other.usd_cents))
    return is_within(high, low, factor * sanity.confirm_within_bps)


def is_within(cents: int, other_cents: int, bps: int) -> bool:
    """Return whether a price differs from another by so many basis points at most."""
    return abs(cents - other_cents) * 10_000 <= bps * other_cents


def drift_bps(cents: int, accepted_cents: int) -> int:
    """Return how far a source is from what was accepted, with its sign."""
    return divide_half_up((cents - accepted_cents) * 10_000, accepted_cents)
