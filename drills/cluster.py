"""`python -m drills.cluster`: several database servers. G1: Galera, all nodes write. G2: one writer behind HAProxy.

    python -m drills.cluster                     both, three minutes
    python -m drills.cluster --short --only G2

Exits 0 when the books are right and the targets are met, 1 when not, 2 when it could not run.
"""

import argparse
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.services import LOOPBACK, free_port, private_redis
from drills import figures
from drills.__main__ import judge
from drills.figures import Figures, Target
from drills.galera import NODES, PROVIDER, Cluster
from drills.history import History
from drills.load import Load
from drills.mariadb import ServiceMissing
from drills.plan import make_plan
from drills.program import run_drill
from drills.scenarios import AMPLE, LOAD_USERS
from drills.surroundings import (
    WebServer,
    World,
    copy_sources,
    make_environment,
    migrate,
    people_and_prices,
    wait_for,
    web_server,
)

FAIL_OVER_LIMIT_S = 10.0
SYNC_TIMEOUT_S = 90.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much and how long."""

    per_second: float
    between_s: float  # good times before, between and after the faults
    away_s: float


LONG = Size(per_second=30, between_s=12, away_s=8)
SHORT = Size(per_second=15, between_s=4, away_s=4)


@dataclass(frozen=True, slots=True)
class Place:
    """The cluster, a web server for each of `ports`, and what they saw."""

    cluster: Cluster
    world: World
    webs: list[WebServer]
    history: History

    def load(self, drill: str, size: Size, *, seconds: float, seed: int) -> Load:
        rng = random.Random(f"{seed} {drill}")  # noqa: S311 - replayable, no secret
        plan = make_plan(rng, users=LOAD_USERS, trades_per_second=size.per_second, seconds=seconds)
        ports, people = [web.port for web in self.webs], self.world.people["load"]
        return Load(plan, drill=drill, ports=ports, people=people, history=self.history, rng=rng).start()


@contextmanager
def place(folder: Path, cluster: Cluster, urls: list[str], seed: int) -> Iterator[Place]:
    """The whole installation: one Redis, a web server for each address of the database, users and prices."""
    copy_sources(folder / "code")
    history = History(folder / "history.jsonl")
    with ExitStack() as stack:
        stack.callback(history.close)
        redis = stack.enter_context(private_redis())
        environments = [
            make_environment(code=folder / "code", database_url=url, redis_url=redis.url)
            | {"INSTALLATION": "drill", "WEB_CONCURRENCY": "1"}
            for url in urls
        ]
        migrate(folder, folder / "code", environments[0])
        webs = []
        for number, environment in enumerate(environments):
            (folder / str(number)).mkdir()
            (folder / str(number) / "code").symlink_to(folder / "code")
            webs.append(stack.enter_context(web_server(folder / str(number), environment)))
        groups = {"load": [AMPLE] * LOAD_USERS}
        walk = (seed, 50_00)
        people = stack.enter_context(people_and_prices(folder, environments[0], walk, groups))
        for web in webs:
            web.wait_until_ready()
        world = World(cluster.nodes[0], redis, webs[0], people, environments[0], folder / "code")
        yield Place(cluster, world, webs, history)


def all_nodes_write(place: Place, size: Size, seed: int) -> Figures:
    """G1: trades on all three nodes; one is killed, one is stopped, two are killed and the last goes on alone."""
    nodes, now = place.cluster.nodes, place.history.now
    load = place.load("G1", size, seconds=5 * size.between_s + 3 * size.away_s, seed=seed)
    time.sleep(size.between_s)

    nodes[2].kill()
    time.sleep(size.away_s)
    nodes[2].start()
    wait_for(nodes[2].is_synced, timeout_s=SYNC_TIMEOUT_S, what="the killed node to be back")
    time.sleep(size.between_s)

    nodes[1].stop()
    time.sleep(size.away_s)
    nodes[1].resume()
    wait_for(nodes[1].is_synced, timeout_s=SYNC_TIMEOUT_S, what="the stopped node to be back")
    time.sleep(size.between_s)

    nodes[1].kill()
    nodes[2].kill()
    time.sleep(size.away_s)
    place.cluster.go_on_alone()
    alone_s = now()
    for node in nodes[1:]:
        node.start()
        wait_for(node.is_synced, timeout_s=SYNC_TIMEOUT_S, what="the killed nodes to be back")
    load.finish()
    for web in place.webs:
        web.wait_until_ready()
    lines = place.history.of("G1")
    targets = [
        Target(
            "trading again once the last node may go on alone",
            min(line.ended_s - alone_s for line in lines if line.is_acknowledged and line.ended_s > alone_s),
            FAIL_OVER_LIMIT_S,
            " s",
        )
    ]
    return Figures("G1", figures.summarize(lines), targets, kills=4)


def one_writes(place: Place, size: Size, seed: int) -> Figures:
    """G2: HAProxy leads to one node and to the next when it dies; the writer is killed under load, twice."""
    nodes = place.cluster.nodes
    load = place.load("G2", size, seconds=3 * size.between_s + 2 * size.away_s, seed=seed)
    failed_over_s = []
    for victim in (nodes[1], nodes[2]):
        time.sleep(size.between_s)
        killed_s = place.history.now()
        victim.kill()
        time.sleep(size.away_s)
        failed_over_s.append(killed_s)
        victim.start()
        wait_for(victim.is_synced, timeout_s=SYNC_TIMEOUT_S, what="the killed writer to be back")
    load.finish()
    place.webs[0].wait_until_ready()
    lines = place.history.of("G2")
    silence = [
        figures.longest_silence_s(lines, since_s=killed_s, until_s=killed_s + size.away_s + size.between_s)
        for killed_s in failed_over_s
    ]
    targets = [Target("longest time without an answer", max(silence), FAIL_OVER_LIMIT_S, " s")]
    return Figures("G2", figures.summarize(lines), targets, kills=2)


HAPROXY = """
global
    maxconn 500
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
listen writer
    bind {host}:{port}
    option mysql-check user haproxy
    default-server check inter 500 fall 2 rise 4 on-marked-down shutdown-sessions on-marked-up shutdown-backup-sessions
    server second {host}:{second}
    server third {host}:{third} backup
    server first {host}:{first} backup
"""


@contextmanager
def haproxy(folder: Path, cluster: Cluster) -> Iterator[str]:
    """Lead to one node at a time: the address of the database behind it."""
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not Path(program).exists():
        raise ServiceMissing("HAProxy is not installed here")
    cluster.nodes[0].administer("CREATE USER IF NOT EXISTS haproxy@'%'")
    port = free_port()
    first, second, third = (node.port for node in cluster.nodes)
    (folder / "haproxy.cfg").write_text(
        HAPROXY.format(host=LOOPBACK, port=port, first=first, second=second, third=third)
    )
    with open(folder / "haproxy.log", "wb") as log:
        process = subprocess.Popen(
            [program, "-db", "-f", str(folder / "haproxy.cfg")],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield cluster.nodes[0].url_through(port)
    finally:
        process.kill()
        process.wait()


def run(folder: Path, name: str, size: Size, seed: int) -> bool:
    """One drill in a cluster of its own; whether it passed."""
    began = time.monotonic()
    folder.mkdir(mode=0o711)
    with ExitStack() as stack:
        cluster = Cluster(folder / "galera")
        stack.callback(cluster.close)
        cluster.install()
        if name == "G1":
            urls = [node.url for node in cluster.nodes]
        else:
            urls = [stack.enter_context(haproxy(folder, cluster))]
        found = stack.enter_context(place(folder, cluster, urls, seed))
        print(f"ready after {time.monotonic() - began:.1f} s; {NODES} nodes, seed {seed}", flush=True)
        measured = DRILLS[name](found, size, seed)
        results = judge(found.world, found.history)
    print(measured, flush=True)
    for result in results:
        print(result, flush=True)
    bugs = sum(line.is_bug for line in found.history.lines)
    is_met = all(target.is_met for target in measured.targets)
    print(f"{name}: {bugs} answers that are bugs, {time.monotonic() - began:.0f} s", flush=True)
    return is_met and not bugs and all(result.is_ok for result in results)


DRILLS: dict[str, Callable[[Place, Size, int], Figures]] = {"G1": all_nodes_write, "G2": one_writes}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m drills.cluster", description="Several database servers, of which some die."
    )
    parser.add_argument("--short", action="store_true", help="a minute each")
    parser.add_argument("--only", choices=list(DRILLS))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if not PROVIDER.exists():
        print("drills: Galera is not installed here", file=sys.stderr)
        return 2
    names = [options.only] if options.only else list(DRILLS)
    size = SHORT if options.short else LONG

    def drill(folder: Path) -> bool:
        passed = [run(folder / name.lower(), name, size, options.seed) for name in names]
        print("passed" if all(passed) else "FAILED", flush=True)
        return all(passed)

    return run_drill("cluster", drill)


if __name__ == "__main__":
    sys.exit(main())
