"""How to treat a source: when to leave it alone (a circuit breaker), and how often it may be asked (a budget).

Pure: the state comes in, a new state or a reason comes out. Times are aware and UTC, `calls` are Unix milliseconds.
"""

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

OPENS_AFTER = 3  # failures in a row
FIRST_REST = timedelta(seconds=60)
LONGEST_REST = timedelta(minutes=10)
MINUTE_MS = 60_000
# Charts come from one source only, prices from several: of a month the price gets what the charts (about 1,000) leave.
CHARTS_MONTH = 1_500
CHARTS_SHARE_PCT = 20  # at most, of a budget that is small
LEFT_FOR_THE_PRICE = 3  # calls of each minute that nothing else may use
SHORTEST_BURST = 60  # price calls that an even pace may be overdrawn by

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Breaker:
    """Closed: ask. Open: ask only if nobody else answers. Half open: its rest is over, the next answer decides."""

    failures: int = 0
    open_until: datetime | None = None

    def state(self, now: datetime) -> State:
        if self.open_until is None:
            return "closed"
        # Further off than the longest rest: a clock that was ahead said so.
        return "open" if now < self.open_until <= now + LONGEST_REST else "half_open"

    def after_failure(self, now: datetime) -> "Breaker":
        failures = self.failures + 1
        if failures < OPENS_AFTER:
            return Breaker(failures)
        rest = min(FIRST_REST * 2 ** min(failures - OPENS_AFTER, 10), LONGEST_REST)
        return Breaker(failures, now + rest)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a source allows; 0 means no limit of that kind."""

    per_minute: int
    per_month: int = 0

    def refusal(
        self, calls: Sequence[int], month_calls: int, *, now: datetime, is_for_price: bool
    ) -> str | None:
        """Why one more call is too many, or None. The price's calls are spread evenly over the month."""
        now_ms = int(now.timestamp() * 1000)
        kept_back = 0 if is_for_price else LEFT_FOR_THE_PRICE
        if self.per_minute and len(recent(calls, now_ms)) >= max(1, self.per_minute - kept_back):
            return f"its {self.per_minute} calls a minute are used up"
        if self.per_month and month_calls >= self._allowed_by(now, is_for_price=is_for_price):
            return f"its {self.per_month} calls a month are used up" + (" for now" if is_for_price else "")
        return None

    def _allowed_by(self, now: datetime, *, is_for_price: bool) -> int:
        if not is_for_price:
            return self.per_month
        share = self.per_month - min(CHARTS_MONTH, self.per_month * CHARTS_SHARE_PCT // 100)
        burst = min(share, max(SHORTEST_BURST, share // 100))
        return min(share, int(share * month_elapsed(now)) + burst)


def recent(calls: Sequence[int], now_ms: int) -> list[int]:
    """The calls of the last minute. A call of the future (a clock was set back) is dropped with the old ones."""
    return [at for at in calls if now_ms - MINUTE_MS < at <= now_ms + 1000]


def month_elapsed(now: datetime) -> float:
    """How much of the month is over, 0 to 1."""
    begin = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (now - begin) / timedelta(days=calendar.monthrange(now.year, now.month)[1])
