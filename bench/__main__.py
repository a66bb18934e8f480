"""`make bench`: requests a second, latencies and processor time of the hot routes, beside a peer's where there is one.

    BENCH_PEER=folder python -m bench [--rounds 3] [--seconds 3] [--only market-rates] [--write]

Both servers run on the same MariaDB and Redis and are asked in alternate rounds: read the ratios, machines are noisy.
`--write` puts the tables into docs/performance.md. A single answer that is not 2xx voids its row.
"""

import argparse
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.rounds import ROUTES, Round, Route, RowVoid, alternate, median, ratio
from bench.servers import ROOT, Server, find_peer, our_server, peer_server

PAGE = ROOT / "docs" / "performance.md"
BETWEEN = re.compile(r"(<!-- figures -->\n).*(<!-- end -->)", re.DOTALL)
HEAD = (
    "| route | req/s | p50 ms | p99 ms | CPU µs | peer req/s | peer p99 ms | peer CPU µs | ratio | CPU ratio |\n"
    + "|---" * 10
    + "|"
)


def machine() -> str:
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory_gb = psutil.virtual_memory().total / 1e9
    return (
        f"{psutil.cpu_count()} × {model.group(1) if model else platform.machine()}, {memory_gb:.0f} GB, "
        f"Python {platform.python_version()}, Linux {platform.release()}; {datetime.now(UTC):%Y-%m-%d}"
    )


def row(route: Route, ours: Sequence[Round], theirs: Sequence[Round] | None) -> str:
    figures = median(ours)
    mine = f"| {route.name} | {figures.per_s:,.0f} | {figures.p50_ms:.1f} | {figures.p99_ms:.1f} | {figures.cpu_us:,.0f} "
    if theirs is None:
        return f"{mine}| – | – | – | – | – |"
    other = median(theirs)
    return (
        f"{mine}| {other.per_s:,.0f} | {other.p99_ms:.1f} | {other.cpu_us:,.0f} "
        f"| {ratio(ours, theirs):.2f} | {figures.cpu_us / other.cpu_us:.2f} |"
    )


def measure(servers: Sequence[Server], routes: Sequence[Route], rounds: int, seconds: int) -> Iterator[str]:
    for route in routes:
        try:
            results = alternate(servers, route, rounds=rounds, seconds=seconds)
        except RowVoid as why:
            yield f"| {route.name} | void: {why} |"
            continue
        yield row(route, results[0], results[1] if len(results) > 1 else None)
    for server in servers:
        yield f"\n{server.name}: {server.memory_mb():.0f} MB at the end."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--users", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", help="one route's name, or several with commas")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    args = parser.parse_args()
    routes = [route for route in ROUTES if not args.only or route.name in args.only.split(",")]
    peer = find_peer(os.environ)
    load = " ".join(f"{value:.1f}" for value in psutil.getloadavg())
    lines = [f"{machine()}; load before it began: {load}.", "", HEAD]
    print("\n".join(lines), flush=True)
    with ExitStack() as stack:
        servers = [stack.enter_context(our_server(users=args.users, workers=args.workers))]
        if peer is not None:
            servers.append(stack.enter_context(peer_server(peer)))
        for line in measure(servers, routes, args.rounds, args.seconds):
            lines.append(line)
            print(line, flush=True)
    if args.write:
        figures = "\n".join(lines)
        PAGE.write_text(BETWEEN.sub(lambda found: f"{found[1]}{figures}\n{found[2]}", PAGE.read_text()))


if __name__ == "__main__":
    sys.exit(main())
