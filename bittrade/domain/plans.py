"""Recurring plans: when a run is due, and whether it is made. Pure: times, zones and rates are arguments.

A run is due at a wall-clock time of the plan's zone. The 31st falls on a short month's last day; an hour that
daylight saving skips runs at the next one, an hour that comes twice runs once. Rules from the API contract, "Recurring
plans".
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bittrade.domain.money import Asset
from bittrade.domain.pricing import Rates
from bittrade.domain.trading import Action, Order
from bittrade.errors import InvalidInput

DEFAULT_ZONE = "Asia/Kolkata"
# After this many runs in a row without the money for them a plan pauses by itself.
PAUSE_AFTER_SKIPS = 3


class Frequency(StrEnum):
    """How often a plan runs, by the wall clock of its zone."""

    HOURLY = "HOURLY"
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"


class PlanStatus(StrEnum):
    """ACTIVE and PAUSED change into each other; the other two are the end."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


class Skip(StrEnum):
    """Why a run was not made."""

    PRICE_ABOVE_MAX = "price_above_max"
    PRICE_BELOW_MIN = "price_below_min"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    RATES_UNAVAILABLE = "rates_unavailable"
    TRADING_HALTED = "trading_halted"
    MISSED = "missed"
    ACCOUNT_DISABLED = "account_disabled"


_STEPS = {
    Frequency.HOURLY: timedelta(hours=1),
    Frequency.DAILY: timedelta(days=1),
    Frequency.WEEKLY: timedelta(weeks=1),
}


def zone(name: str) -> ZoneInfo:
    """Return the IANA time zone. Raises InvalidInput for a name that is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput("Invalid time_zone: not an IANA time zone", field="time_zone") from error


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a plan is due: first at `start`, and then at the same wall-clock time of the zone."""

    start: datetime  # aware
    frequency: Frequency
    time_zone: str = DEFAULT_ZONE

    def next_due(self, after: datetime) -> datetime:
        """Return the first due time, in UTC, that is later than `after`."""
        number = max(0, self._number_before(after))
        while (due := self._due(number)) <= after:
            number += 1
        return due

    def list_due(self, after: datetime, until: datetime, *, at_most: int) -> list[datetime]:
        """Return the due times with after < due ≤ until, oldest first, `at_most` many."""
        found: list[datetime] = []
        due = self.next_due(after)
        while due <= until and len(found) < at_most:
            found.append(due)
            due = self.next_due(due)
        return found

    def _due(self, number: int) -> datetime:
        """Return the due time of that number. The clock's first reading counts where it comes twice, and the reading
        moved on by the gap where it never comes: both are what the earlier of the two offsets makes of it."""
        local = self._anchor()
        if self.frequency is Frequency.MONTHLY:
            local = _add_months(local, number)
        else:
            local += _STEPS[self.frequency] * number
        return local.replace(tzinfo=zone(self.time_zone), fold=0).astimezone(UTC)

    def _number_before(self, after: datetime) -> int:
        """Return the number of a due time that is not later than `after`, and not much earlier."""
        anchor, local = self._anchor(), after.astimezone(zone(self.time_zone)).replace(tzinfo=None)
        if self.frequency is Frequency.MONTHLY:
            return (local.year - anchor.year) * 12 + local.month - anchor.month - 1
        return (local - anchor) // _STEPS[self.frequency] - 3  # no gap of a clock is longer than two hours

    def _anchor(self) -> datetime:
        return self.start.astimezone(zone(self.time_zone)).replace(tzinfo=None)


def _add_months(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


@dataclass(frozen=True, slots=True)
class Instalment:
    """What each run of a plan trades, and the prices between which it does."""

    action: Action
    asset: Asset  # what `amount` counts
    amount: int
    max_price: int | None = None  # rupees for one bitcoin
    min_price: int | None = None

    def __post_init__(self) -> None:
        if self.max_price is not None and self.min_price is not None and self.min_price > self.max_price:
            raise InvalidInput("min_price must not be above max_price", field="min_price")

    @property
    def order(self) -> Order:
        """Return the market order of a run."""
        return Order(self.action, self.asset, self.amount)

    def find_skip(self, rates: Rates) -> Skip | None:
        """Return why the current price does not suit, or None."""
        price = rates.buy_inr if self.action is Action.BUY else rates.sell_inr
        if self.max_price is not None and price > self.max_price:
            return Skip.PRICE_ABOVE_MAX
        if self.min_price is not None and price < self.min_price:
            return Skip.PRICE_BELOW_MIN
        return None
