"""How long until the last of N sockets has a broadcast: our server and a Node peer, one process each, in one run.

    python bench/fanout.py --peer-dir PEER [--clients 2000] [--rounds 10]

PEER holds `server.js` (Express and Socket.IO; needs a MariaDB), `fan.js` (the clients) and their node_modules; both are
driven as they are. Ours is one gunicorn worker on an SQLite file; the broadcasts reach it through Redis, from a process
of their own, as a job's do. Each server is measured with the clients connected to it alone.
"""

import argparse
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dev.services import embedded_redis, free_port  # noqa: E402 - the repository has to be on the path first

EACH_S = 1.5
DESCRIPTORS = 8192
RESULT = re.compile(
    r"(\w+): (\d+) broadcasts, (\d+) of (\d+) deliveries, (\d+) failed sockets; median client (\d+) ms, last client (\d+) ms"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One server's figures."""

    server: str
    delivered: int
    expected: int
    failed: int
    median_ms: int
    last_ms: int
    connect_ms: int
    kb_per_client: float

    def __str__(self) -> str:
        return (
            f"{self.server}: last client {self.last_ms} ms, median client {self.median_ms} ms (medians of the broadcasts); "
            f"{self.delivered} of {self.expected} delivered, {self.failed} failed; all connected in {self.connect_ms} ms; "
            f"{self.kb_per_client:.0f} kB per idle client"
        )


class Server:
    """A started server: where it is, its process, and how it is made to broadcast."""

    def __init__(self, name: str, port: int, process: psutil.Process, broadcast: Any) -> None:
        self.name, self.port, self.process, self.broadcast = name, port, process, broadcast


@contextmanager
def started(
    command: list[str], *, cwd: Path, environment: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    popen = subprocess.Popen(command, cwd=cwd, env=os.environ | environment, stdout=subprocess.DEVNULL)
    try:
        yield popen
    finally:
        popen.terminate()
        try:
            popen.wait(20)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def wait_for(port: int, popen: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert popen.poll() is None, "the server ended"
        try:
            requests.get(f"http://127.0.0.1:{port}/api/health", timeout=2)
            return
        except requests.RequestException:
            time.sleep(0.1)
    sys.exit("the server does not answer")


@contextmanager
def our_server(redis_url: str, clients: int, workers: int) -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bittrade-fanout-") as folder, ExitStack() as stack:
        environment = {
            "BITTRADE_ENV": "development",
            "DATABASE_URL": f"sqlite:///{folder}/fanout.db",
            "REDIS_URL": redis_url,
            "QUEUE_REDIS_URL": redis_url,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WEB_CONCURRENCY": str(workers),
            "SOCKETS_PER_PROCESS": str(max(2500, clients)),
            "SOCKETS_PER_ADDRESS": str(max(2500, clients)),
            "LOG_LEVEL": "WARNING",
        }
        flask = [sys.executable, "-m", "flask", "--app", "wsgi"]
        subprocess.run(
            [*flask, "db", "upgrade"], cwd=ROOT, env=os.environ | environment, check=True, capture_output=True
        )
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
        arbiter = stack.enter_context(started(command, cwd=ROOT, environment=environment))
        wait_for(port, arbiter)

        def broadcast(rounds: int) -> None:
            command = [sys.executable, __file__, "--publish", str(rounds)]
            subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True)

        yield Server("BitTrade", port, psutil.Process(arbiter.pid), broadcast)


@contextmanager
def peer_server(folder: Path, redis_url: str) -> Iterator[Server]:
    port = free_port()
    environment = {"PORT": str(port), "REDIS_URL": redis_url, "DB_NAME": "bittrade_fanout_peer"}
    with started(["node", "server.js"], cwd=folder, environment=environment) as popen:
        wait_for(port, popen)

        def broadcast(_rounds: int) -> None:
            popen.send_signal(signal.SIGUSR2)  # ten of them

        yield Server("peer", port, psutil.Process(popen.pid), broadcast)


def publish(rounds: int) -> None:
    """As a job does: through the message queue, with the benchmark's own two keys."""
    import config
    from bittrade import create_app, wire
    from bittrade.broadcast import price_changed

    with create_app(config.load()).app_context():
        for number in range(rounds):
            time.sleep(EACH_S)
            price: dict[str, Any] = {
                "btc_usd_price": 45000,
                "buy_rate_inr": 4095000,
                "sell_rate_inr": 3960000,
            }
            price |= {"timestamp": wire.timestamp(wire.now())}
            price_changed({**price, "t": int(time.time() * 1000), "i": number})


def measure(server: Server, peer: Path, clients: int, rounds: int) -> Outcome:
    requests.get(f"http://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=polling", timeout=5)  # warm
    before = memory(server.process)
    command = ["node", "fan.js", f"ws://127.0.0.1:{server.port}", str(clients), str(rounds)]
    with subprocess.Popen(command, cwd=peer, stdout=subprocess.PIPE, text=True) as fan:
        assert fan.stdout
        connected = fan.stdout.readline()
        assert connected.startswith("connected"), connected
        time.sleep(12)  # idle, past the first round of pings
        grown = memory(server.process) - before
        server.broadcast(rounds)
        text = fan.stdout.read()
    found = RESULT.search(text)
    if not found:
        sys.exit(f"{server.name}: {text or 'no result'}")
    _verdict, _, delivered, expected, failed, median_ms, last_ms = found.groups()
    return Outcome(
        server.name, int(delivered), int(expected), int(failed), int(median_ms), int(last_ms),
        int(connected.split()[3]), grown / 1000 / clients,
    )  # fmt: skip


def memory(process: psutil.Process) -> int:
    """Of the process and its children."""
    return sum(int(each.memory_full_info().uss) for each in (process, *process.children()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-dir", type=Path)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1, help="processes of our server")
    parser.add_argument("--turns", type=int, default=1, help="measure both so many times, in turns")
    parser.add_argument("--only", choices=["ours", "peer"])
    parser.add_argument("--publish", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        publish(options.publish)
        return
    if options.peer_dir is None:
        parser.error("--peer-dir: where server.js, fan.js and their node_modules are")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, most) if most > 0 else DESCRIPTORS, most))
    outcomes: dict[str, list[Outcome]] = {"ours": [], "peer": []}
    for _ in range(options.turns):
        for side in ("ours", "peer"):
            if options.only not in (None, side):
                continue
            with embedded_redis() as redis:
                world = (
                    our_server(redis.url, options.clients, options.workers)
                    if side == "ours"
                    else peer_server(options.peer_dir, redis.url)
                )
                with world as server:
                    outcomes[side].append(measure(server, options.peer_dir, options.clients, options.rounds))
            print(outcomes[side][-1], flush=True)
    if options.only is None:
        ours, peers = (
            statistics.median(outcome.last_ms for outcome in outcomes[side]) for side in ("ours", "peer")
        )
        print(f"last client, ours / peer's: {ours / peers:.2f} (target 0.90)")


if __name__ == "__main__":
    main()
