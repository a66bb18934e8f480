"""Redis goes away and comes back: sockets stay, trades go on, nobody is left out of step."""

import time
from collections.abc import Iterator

import pytest

from dev.services import PrivateRedis
from tests.e2e.conftest import JavaScriptSockets, Socket, System, running_system
from tests.e2e.test_several_processes import authenticated


@pytest.fixture(scope="module")
def system(scratch_database: str, private_redis: PrivateRedis) -> Iterator[System]:
    if scratch_database.startswith("sqlite"):
        pytest.skip("needs MariaDB")  # two web processes
    with running_system(scratch_database, private_redis.url, MAX_PRICE_AGE_S="600") as system:
        system.start_simulator()
        system.start_web(workers=2)
        system.flask("market", "fetch")
        yield system


def assert_all_reach(sockets: list[Socket], seq: int, *, within_s: float) -> float:
    """Each socket gets both user events up to `seq`; the seconds until the last has."""
    began = time.monotonic()
    for socket in sockets:
        for event in ("user_balance_update", "user_transaction_update"):
            socket.wait_for_seq(event, seq, timeout_s=max(0.0, began + within_s - time.monotonic()))
    return max(socket.arrived_at for socket in sockets) - began


def test_nobody_is_out_of_step_while_redis_is_away_nor_when_it_is_back(
    system: System, javascript: JavaScriptSockets, private_redis: PrivateRedis
) -> None:
    person = system.new_person(inr=10_000)
    sockets = authenticated(system, javascript, person)

    private_redis.kill()
    began = time.monotonic()
    for _ in range(3):  # on either worker
        person.trade("buy", "1000")
    print(f"three trades without Redis: {time.monotonic() - began:.2f} s")
    assert system.rates()["btc_usd_price"]
    took = assert_all_reach(sockets, 4, within_s=60)
    print(f"every socket in step after {took:.2f} s without Redis")

    private_redis.start()
    person.trade("buy", "1000")
    took = assert_all_reach(sockets, 5, within_s=60)
    print(f"every socket in step {took:.2f} s after Redis' return")
    assert not [name for socket in sockets for name, _ in socket.events if name == "(disconnect)"]


def test_a_redis_that_hangs_holds_up_no_trade(
    system: System, javascript: JavaScriptSockets, private_redis: PrivateRedis
) -> None:
    person = system.new_person(inr=10_000)
    sockets = authenticated(system, javascript, person)
    private_redis.hang()
    try:
        times = []
        for _ in range(4):
            began = time.monotonic()
            person.trade("buy", "1000")
            times.append(time.monotonic() - began)
    finally:
        private_redis.resume()
    print(f"trades while Redis hangs: {', '.join(f'{seconds:.2f}' for seconds in times)} s")
    assert max(times) < 60
    assert_all_reach(sockets, 5, within_s=60)
