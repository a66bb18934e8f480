"""What the clients saw: one JSON line for each request and its answer, in the order in which they ended.

The checker believes nothing else about the clients. Times are seconds since the history began, on one monotonic clock.
"""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TRADE, BALANCE, PAGE = "trade", "balance", "page"


@dataclass(frozen=True, slots=True)
class Line:
    """One request and what came of it: a status with a body, or an error."""

    drill: str
    kind: str  # TRADE, BALANCE or PAGE
    user_id: int
    started_s: float
    ended_s: float
    status: int | None = None
    body: dict[str, Any] | None = None
    error: str | None = None
    retry_after: str | None = None
    is_replay: bool = False  # the server said Idempotent-Replayed
    key: str | None = None
    order: dict[str, Any] | None = None
    expects: str | None = None  # "executed", "refused", or None where either is right
    attempt: int = 1
    intended_s: float | None = None  # when the schedule wanted the first attempt

    @property
    def is_acknowledged(self) -> bool:
        return self.kind == TRADE and self.status == 201

    @property
    def is_definite(self) -> bool:
        """Whether the client knows what became of the request: any answer but 'not now' and 'unknown'."""
        return self.status is not None and self.status < 500 and self.status != 429

    @property
    def is_bug(self) -> bool:
        """A 5xx that is no 'not now': asking again would only repeat it."""
        return self.status is not None and self.status >= 500 and self.status != 503


@dataclass
class History:
    """Lines that threads add, written to a file at once."""

    path: Path | None = None
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._file = self.path.open("w") if self.path else None

    def now(self) -> float:
        """Seconds since the history began."""
        return time.monotonic() - self._began

    def add(self, line: Line) -> None:
        text = json.dumps(
            {name: value for name, value in asdict(line).items() if value is not None}, separators=(",", ":")
        )
        with self._lock:
            self.lines.append(line)
            if self._file:
                self._file.write(text + "\n")

    def of(self, *drills: str) -> list[Line]:
        with self._lock:
            return [line for line in self.lines if line.drill in drills]

    def close(self) -> None:
        if self._file:
            self._file.close()


def read(path: Path) -> Iterator[Line]:
    """The lines of a history that was kept."""
    with open(path) as file:
        for text in file:
            yield Line(**json.loads(text))


def by_key(lines: Iterable[Line]) -> dict[tuple[int, str], list[Line]]:
    """All that was sent under each user's keys, in the order in which it ended."""
    groups: dict[tuple[int, str], list[Line]] = {}
    for line in lines:
        if line.key is not None:
            groups.setdefault((line.user_id, line.key), []).append(line)
    return groups
