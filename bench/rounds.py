"""Rounds of wrk against servers in turn, and what they come to: medians, and ratios of rounds that ran side by side."""

import os
import re
import secrets
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.servers import Server

LOAD = Path(__file__).with_name("load.lua")
UNIT_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    path: str
    connections: int = 32
    needs_token: bool = False
    is_trade: bool = False
    has_many_tokens: bool = False


ROUTES = (
    Route("market-rates", "/api/market-rates"),
    Route("bitcoin/current", "/api/bitcoin/current"),
    Route("chart/1d", "/api/bitcoin/chart/1d"),
    Route("balance", "/api/balance", needs_token=True),
    # As many as no process would remember. The peer checks each token anew in any case.
    Route("balance of 10000 tokens", "/api/balance", needs_token=True, has_many_tokens=True),
    Route("transactions", "/api/transactions?limit=50", needs_token=True),
    Route("trade", "/api/trade", connections=16, needs_token=True, is_trade=True),
)


@dataclass(frozen=True, slots=True)
class Round:
    """One server, one route, some seconds."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # of the server's processes, a request
    failed: int


class RowVoid(Exception):
    """An answer was not 2xx: figures of failures say nothing."""


def run_round(server: Server, route: Route, seconds: int) -> Round:
    command = ["wrk", "-t1", f"-c{route.connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
    tokens = server.many_tokens if route.has_many_tokens else server.tokens
    variables = {"TOKENS": str(tokens), "TRADE": str(int(route.is_trade)), "RUN": secrets.token_hex(8)}
    if route.needs_token:
        command += ["-s", str(LOAD)]
    before = server.cpu_s()
    done = subprocess.run(
        [*command, server.url + route.path],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    used_s = server.cpu_s() - before
    return _read(done.stdout, used_s)


def _read(said: str, used_s: float) -> Round:
    if bad := re.search(r"(?:Non-2xx|Socket errors).*", said):
        raise RowVoid(bad.group(0))
    count = int(re.search(r"(\d+) requests in", said).group(1))  # type: ignore[union-attr]
    per_s = float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1))  # type: ignore[union-attr]
    return Round(per_s, _latency(said, 50), _latency(said, 99), used_s / max(1, count) * 1e6, 0)


def _latency(said: str, percent: int) -> float:
    value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", said).groups()  # type: ignore[union-attr]
    return float(value) * UNIT_MS[unit]


def alternate(servers: Sequence[Server], route: Route, *, rounds: int, seconds: int) -> list[list[Round]]:
    """Each server's rounds, in turn with the others'; the first of each warms up and is left out."""
    results: list[list[Round]] = [[] for _ in servers]
    for _ in range(rounds + 1):
        for server, kept in zip(servers, results, strict=True):
            kept.append(run_round(server, route, seconds))
    return [kept[1:] for kept in results]


def median(rounds: Sequence[Round]) -> Round:
    return Round(
        *(
            statistics.median(getattr(each, name) for each in rounds)
            for name in ("per_s", "p50_ms", "p99_ms", "cpu_us")
        ),
        failed=sum(each.failed for each in rounds),
    )


def ratio(ours: Sequence[Round], theirs: Sequence[Round]) -> float:
    """Requests per second, ours over theirs: the median over pairs that ran one after the other."""
    return statistics.median(one.per_s / other.per_s for one, other in zip(ours, theirs, strict=True))
