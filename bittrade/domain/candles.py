"""Candles and thinning: what many prices become when they are put into intervals. Pure; intervals begin at the epoch.

Prices are whole cents. It must not know where the prices are kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

INTERVALS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}  # name → seconds


@dataclass(frozen=True, slots=True)
class Candle:
    """The prices of one interval; without any (`samples` 0) there is no figure, and none is made up."""

    begins_s: int  # Unix seconds
    open: int | None = None
    high: int | None = None
    low: int | None = None
    close: int | None = None
    samples: int = 0


def bucket(at_s: int, interval_s: int) -> int:
    """The number of the interval that a moment belongs to."""
    return at_s // interval_s


@dataclass(frozen=True, slots=True)
class Span:
    """Which intervals are asked for, by number: those from `since` on, those before `until`, or the latest ones."""

    limit: int
    since: int | None = None
    until: int | None = None

    def window(self, *, oldest: int, latest: int) -> range:
        """Return the numbers of up to `limit` intervals between the oldest with a price and the one of now.

        The first ones where there is a `since`, else the last ones.
        """
        end = latest + 1 if self.until is None else min(latest + 1, self.until)
        if self.since is None:
            return range(max(oldest, end - self.limit), end)
        begin = max(oldest, self.since)
        return range(begin, min(end, begin + self.limit))


def first_bucket(at_ms: int, interval_s: int) -> int:
    """The number of the first interval that begins at a moment or after it."""
    return -(-at_ms // (interval_s * 1000))


def without_gaps(found: Mapping[int, Candle], *, first: int, last: int, interval_s: int) -> list[Candle]:
    """One candle for each bucket from `first` to `last`, both included, oldest first; empty where none was found."""
    return [found.get(number, Candle(number * interval_s)) for number in range(first, last + 1)]


def surplus(rows: Iterable[tuple[int, int]], interval_s: int) -> tuple[list[int], tuple[int, int] | None]:
    """Which of (id, Unix seconds), oldest first, may go so that the last of each interval stays; and the last row.

    Whether the last row may go depends on what follows it, so it never does here.
    """
    going: list[int] = []
    held: tuple[int, int] | None = None
    for row in rows:
        if held is not None and bucket(held[1], interval_s) == bucket(row[1], interval_s):
            going.append(held[0])
        held = row
    return going, held
