"""Two whole installations on one Redis server, number and secret: only their databases differ. Neither hears the other."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev.services import PrivateRedis
from tests.e2e.conftest import JavaScriptSockets, Person, Socket, System, running_system, wait_until

pytestmark = pytest.mark.timeout(300)  # twelve processes start
SECRET = "the very secret that both of them have"
PRICES = (50_000, 90_000)


@pytest.fixture(scope="module")
def two(
    request: pytest.FixtureRequest, surroundings: Any, private_redis: PrivateRedis
) -> Iterator[tuple[System, System]]:
    new = request.getfixturevalue("new_mariadb" if surroundings.database_version else "new_sqlite")
    with (
        running_system(new(), private_redis.url, JWT_SECRET=SECRET) as first,
        running_system(new(), private_redis.url, JWT_SECRET=SECRET) as second,
    ):
        for system, price in zip((first, second), PRICES, strict=True):
            system.start_simulator()
            system.set_source_price(price)
            system.start_web()
            system.start("worker", "worker.py")
            system.start("scheduler", "worker.py", "scheduler")
        for system, price in zip((first, second), PRICES, strict=True):
            wait_until(price_is(system, price), "each worker has fetched from its own source")
        yield first, second


def price_is(system: System, usd: int) -> Callable[[], bool]:
    return lambda: system.rates().get("btc_usd_price") == usd


def authenticated(javascript: JavaScriptSockets, person: Person) -> Socket:
    socket = javascript.open(person.system.url, transports=["websocket"])
    socket.wait_for("connection_established")
    assert [name for name, _ in socket.authenticate(person.token)][-1] == "authentication_success"
    return socket


def of(socket: Socket, name: str) -> list[Any]:
    """What it has been told under this name."""
    return [args[0] for event, args in socket.events if event == name]


def test_neither_s_users_nor_prices_are_the_other_s(
    two: tuple[System, System], javascript: JavaScriptSockets
) -> None:
    first, second = two
    rich, poor = first.new_person(), second.new_person()
    assert rich.id == poor.id
    rich_socket, poor_socket = authenticated(javascript, rich), authenticated(javascript, poor)

    for _ in range(3):
        first.flask("balance", "deposit", rich.email, "--inr", "1000")  # told through Redis
    rich_socket.wait_for_seq("user_balance_update", 3)
    first.set_source_price(51_000)
    wait_until(price_is(first, 51_000), "the first has its new price")
    second.flask("balance", "deposit", poor.email, "--inr", "7")  # of a smaller seq than what the first told
    poor_socket.wait_for_seq("user_balance_update", 1)

    poor_socket.drain()
    assert {balance["available_inr"] for balance in of(poor_socket, "user_balance_update")} == {0, 7}
    assert {price["btc_usd_price"] for price in of(poor_socket, "btc_price_update")} == {90_000}
    rich_socket.drain()
    assert {balance["available_inr"] for balance in of(rich_socket, "user_balance_update")} <= {
        0,
        1000,
        2000,
        3000,
    }
    assert {price["btc_usd_price"] for price in of(rich_socket, "btc_price_update")} <= {50_000, 51_000}


def test_one_that_stops_takes_nothing_of_the_other_with_it(two: tuple[System, System]) -> None:
    first, second = two
    for name in ("worker", "scheduler"):
        first.process(name).end()
    second.set_source_price(95_000)
    wait_until(price_is(second, 95_000), "the second's worker goes on")
    assert first.rates()["btc_usd_price"] == 51_000
