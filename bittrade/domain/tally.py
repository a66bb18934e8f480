"""What a log writes of things that happen again and again: the first at once, the others as a count.

Pure: the clock is an argument. Causes are kept apart for each owner, so that nothing of one person's is hidden by what
another does, and each owner has so many causes at most. A cause that goes on is written ever more rarely.
"""

import heapq
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

T = TypeVar("T")
FIRST_WINDOW_S, LONGEST_WINDOW_S = 60, 3600
OTHERS = "others"  # the cause of all that came after an owner's last own one
Key = tuple[Hashable, str]


@dataclass(frozen=True, slots=True)
class Count(Generic[T]):
    """Of one cause: what happened first, and how often it did again in this window."""

    what: T
    ends_at: float
    window_s: int
    repeats: int = 0


class Tally(Generic[T]):
    """Counts by owner and cause. Not safe for threads: its user locks."""

    def __init__(self, *, causes_an_owner: int, owners: int) -> None:
        self._causes_an_owner, self._owners = causes_an_owner, owners
        self._counts: dict[Key, Count[T]] = {}
        self._causes: Counter[Hashable] = Counter()
        self._ends: list[tuple[float, int, Key]] = []
        self._number = 0

    def add(self, owner: Hashable, action: str, cause: str, what: T, now: float) -> bool:
        """Whether to write it now; else it is counted."""
        key = self._key(owner, action, cause)
        known = self._counts.get(key)
        if known is None:
            self._causes[key[0]] += 1
            self._keep(key, Count(what, now + FIRST_WINDOW_S, FIRST_WINDOW_S))
            return True
        self._counts[key] = replace(known, what=what, repeats=known.repeats + 1)
        return False

    def take_due(self, now: float) -> list[Count[T]]:
        """The counts whose window is over, but for those of what happened only once."""
        due = []
        while self._ends and self._ends[0][0] <= now:
            key = heapq.heappop(self._ends)[2]
            count = self._counts.pop(key)
            if count.repeats:
                due.append(count)
                window_s = min(2 * count.window_s, LONGEST_WINDOW_S)
                self._keep(key, Count(count.what, now + window_s, window_s))
                continue
            self._causes[key[0]] -= 1
            if not self._causes[key[0]]:
                del self._causes[key[0]]
        return due

    def __len__(self) -> int:
        return len(self._counts)

    def _key(self, owner: Hashable, action: str, cause: str) -> Key:
        own = (owner, f"{action} {cause}")
        if own in self._counts:
            return own
        if owner not in self._causes and len(self._causes) >= self._owners:
            return None, f"{action} {OTHERS}"
        return own if self._causes[owner] < self._causes_an_owner else (owner, f"{action} {OTHERS}")

    def _keep(self, key: Key, count: Count[T]) -> None:
        self._counts[key] = count
        self._number += 1
        heapq.heappush(self._ends, (count.ends_at, self._number, key))
