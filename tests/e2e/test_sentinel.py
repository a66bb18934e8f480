"""Redis by way of Sentinel: the master dies under load, a replica takes over, and every role of Redis goes on."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

import redis_address
from dev.services import find_redis_server, free_port
from tests.e2e.conftest import JavaScriptSockets, Person, System, running_system, wait_until
from tests.e2e.test_several_processes import authenticated

NAME = "bittrade-test"
WATCH = f"""
sentinel monitor {NAME} 127.0.0.1 %d 2
sentinel down-after-milliseconds {NAME} 1000
sentinel failover-timeout {NAME} 4000
"""


class Watched:
    """A master with a replica, and three Sentinels that watch them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self.master_port, replica_port = free_port(), free_port()
        self.master = self._start("master", self.master_port, "save ''\n")
        self._start("replica", replica_port, f"save ''\nreplicaof 127.0.0.1 {self.master_port}\n")
        self.sentinels = [free_port() for _ in range(3)]
        for number, port in enumerate(self.sentinels):
            self._start(f"sentinel-{number}", port, WATCH % self.master_port, "--sentinel")
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        self.url = f"{redis_address.SENTINEL}://{hosts}/0/{NAME}"
        wait_until(self._is_complete, "every Sentinel knows the replica and the others")

    def _start(self, name: str, port: int, settings: str, *words: str) -> subprocess.Popen[bytes]:
        folder = self._folder / name
        folder.mkdir()
        (folder / "conf").write_text(f"port {port}\nbind 127.0.0.1\n{settings}")
        process = subprocess.Popen(
            [str(find_redis_server()), "conf", *words], cwd=folder, stdout=subprocess.DEVNULL
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _is_complete(self) -> bool:
        return all(
            state.get("num-slaves") == "1" and state.get("num-other-sentinels") == "2"
            for state in map(self._state, self.sentinels)
        )

    def _state(self, port: int) -> dict[str, str]:
        try:
            with redis.Redis(port=port, decode_responses=True) as client:
                words = client.execute_command("SENTINEL", "MASTER", NAME)
        except redis.RedisError:
            return {}
        return words if isinstance(words, dict) else dict(zip(words[::2], words[1::2], strict=True))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(stack, tmp_path_factory.mktemp("sentinel"))


@pytest.fixture(scope="module")
def system(scratch_database: str, watched: Watched) -> Iterator[System]:
    if scratch_database.startswith("sqlite"):
        pytest.skip("needs MariaDB")  # two web processes
    with running_system(scratch_database, watched.url, MAX_PRICE_AGE_S="600") as system:
        system.start_simulator()
        system.start_web(workers=2)
        system.start("scheduler", "worker.py", "scheduler")
        system.start("worker", "worker.py")
        wait_until(system.rates, "the first price")
        yield system


def test_a_master_that_dies_under_load_costs_no_trade_and_nobody_a_step(
    system: System, watched: Watched, javascript: JavaScriptSockets
) -> None:
    person = system.new_person(inr=100_000)
    sockets = authenticated(system, javascript, person)
    with trading(person) as seqs:
        wait_until(lambda: len(seqs) > 5, "trades before")
        watched.master.kill()
        with redis_address.connect(watched.url, socket_timeout=1) as client:
            wait_until(lambda: is_another(client, watched.master_port), "the replica took over")
        enough = len(seqs) + 5
        wait_until(lambda: len(seqs) > enough, "trades after")
    for socket in sockets:
        for event in ("user_balance_update", "user_transaction_update"):
            socket.wait_for_seq(event, seqs[-1], timeout_s=60)
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert not [name for socket in sockets for name, _ in socket.events if name == "(disconnect)"]

    # The queue, the schedule and the channel are on the new master.
    before = system.rates()["btc_usd_price"]
    system.set_source_price(before + 100)
    wait_until(lambda: system.rates()["btc_usd_price"] == before + 100, "the next price")


def is_another(client: redis.Redis, port: int) -> bool:
    try:
        return client.info("server")["tcp_port"] != port and client.info("replication")["role"] == "master"
    except redis.RedisError:
        return False


@contextmanager
def trading(person: Person) -> Iterator[list[int]]:
    """Trade one after the other; the `seq` of each that was acknowledged."""
    seqs: list[int] = []
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(0.05) and len(seqs) < 2000:
            seqs.append(person.trade("buy", "10")["seq"])

    trader = threading.Thread(target=run)
    trader.start()
    try:
        yield seqs
    finally:
        is_over.set()
        trader.join()
