"""What a drill measured, from its history: rates, latencies, recoveries, and the targets that they are held to."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from drills.history import TRADE, Line, by_key


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its limit. A soft one depends on how busy the machine is: missing it is told, and fails only
    under --strict."""

    what: str
    measured: float
    limit: float
    unit: str = ""
    is_soft: bool = False

    @property
    def is_met(self) -> bool:
        return self.measured <= self.limit

    @property
    def depends_on_machine(self) -> bool:
        return self.is_soft or self.unit in (" s", " ms")

    def __str__(self) -> str:
        verdict = "met" if self.is_met else "MISSED (soft)" if self.is_soft else "MISSED"
        return f"{self.what}: {_short(self.measured)}{self.unit} (at most {_short(self.limit)}{self.unit}): {verdict}"


@dataclass(slots=True)
class Figures:
    """One drill's results: what was measured, and what was promised of it."""

    drill: str
    facts: dict[str, object]
    targets: list[Target] = field(default_factory=list)
    kills: int = 0

    def __str__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        return "\n".join([f"{self.drill:8}{facts}", *(f"          {target}" for target in self.targets)])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed; NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def summarize(lines: Sequence[Line], kind: str = TRADE) -> dict[str, object]:
    """Counts, statuses and latencies of a drill's requests of one kind.

    An answer's latency counts from when the schedule wanted the request, also where the client sent it later; of a
    retried order, from the first attempt's intended time.
    """
    lines = [line for line in lines if line.kind == kind]
    took_ms = [
        (line.ended_s - (line.started_s if line.intended_s is None else line.intended_s)) * 1000
        for line in lines
        if line.is_definite
    ]
    seconds = max((line.ended_s for line in lines), default=0) - min(
        (line.started_s for line in lines), default=0
    )
    statuses = Counter(str(line.status or "no answer") for line in lines)
    facts: dict[str, object] = {
        "requests": len(lines),
        "per second": round(len(lines) / seconds, 1) if seconds else 0,
        "statuses": dict(sorted(statuses.items())),
    }
    if kind == TRADE:
        facts |= {"trades": count_trades(lines), "replayed": sum(line.is_replay for line in lines)}
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        facts[f"{name} ms"] = round(percentile(took_ms, share), 1)
    return facts


def count_trades(lines: Sequence[Line]) -> int:
    """Different trades that were acknowledged."""
    return len({line.body["id"] for line in lines if line.is_acknowledged and line.body})


def latency_target(facts: dict[str, object], name: str, limit_ms: float) -> Target:
    return Target(name, float(str(facts[f"{name} ms"])), limit_ms, " ms", is_soft=True)


def longest_request_s(lines: Sequence[Line]) -> float:
    return max((line.ended_s - line.started_s for line in lines), default=0.0)


def slowest_order_s(lines: Sequence[Line]) -> float:
    """From an order's first sending to its definite answer, retries and their pauses included."""
    longest = 0.0
    for group in by_key(lines).values():
        firsts = {line.intended_s: line for line in group if line.attempt == 1}
        for line in group:
            if line.is_definite and line.attempt > 1 and line.intended_s in firsts:
                longest = max(longest, line.ended_s - firsts[line.intended_s].started_s)
    return longest


def longest_silence_s(lines: Sequence[Line], *, since_s: float, until_s: float) -> float:
    """The longest time without a definite answer."""
    ends = sorted(line.ended_s for line in lines if line.is_definite and since_s <= line.ended_s <= until_s)
    moments = [since_s, *ends, until_s]
    return max(later - earlier for earlier, later in itertools.pairwise(moments))


def healthy_after_s(lines: Sequence[Line], *, back_s: float, next_fault_s: float) -> float:
    """From a service's return to the last sending that got no definite answer, before the next fault."""
    failed = [
        line.started_s - back_s
        for line in lines
        if not line.is_definite and back_s <= line.started_s and line.ended_s < next_fault_s
    ]
    return max(failed, default=0.0)


def database_back_after_s(lines: Sequence[Line], *, back_s: float) -> float:
    """From the database's return to the last sending that it was away for, and to the first trade that was made again.

    What a machine that is too busy sheds (`too_busy`) is another matter.
    """
    away = [
        line.started_s - back_s
        for line in lines
        if line.started_s >= back_s
        and (line.status is None or (line.body or {}).get("code") == "database_unavailable")
    ]
    made = [line.ended_s - back_s for line in lines if line.is_acknowledged and line.ended_s >= back_s]
    return max([min(made, default=math.inf), *away])


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
