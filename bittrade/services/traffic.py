"""How many sockets each web process holds, and what it has counted: for operators.

Each process that has had a socket says so every 15 s. What it says is gone a minute after it ends.
"""

from collections.abc import Mapping
from typing import Any

from bittrade import cache, wire

REPORTS = "socket_process_"
REPORT_TTL_S = 60


def report(process: str, figures: Mapping[str, int]) -> None:
    """What the process `process` (host and pid) has to say of itself. Lost while Redis is away."""
    said = {"process": process, "at": wire.timestamp(wire.now()), **figures}
    cache.put(f"{REPORTS}{process}", said, REPORT_TTL_S)


def list_reports() -> list[dict[str, Any]] | None:
    """The newest report of each process: `process`, `at`, `sockets`, `members`, and what was counted. None where Redis is
    away."""
    reports = cache.list_values(REPORTS)
    return reports and sorted(reports, key=lambda said: str(said["process"]))
