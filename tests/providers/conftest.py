"""The upstreams are played by the simulator: a real HTTP server on loopback."""

from collections.abc import Iterator

import pytest

from bittrade.providers.alternative_me import AlternativeMe
from bittrade.providers.coingecko import CoinGecko
from bittrade.providers.http import HttpClient, PausesInMemory
from dev.simulator import Simulator, gzip_bomb, running_simulator


@pytest.fixture(scope="session")
def _one_simulator() -> Iterator[Simulator]:
    gzip_bomb()  # made once, and no test waits for it
    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(_one_simulator: Simulator) -> Simulator:
    _one_simulator.reset()
    return _one_simulator


@pytest.fixture
def http() -> HttpClient:
    """The client with limits that a test can wait for."""
    return HttpClient(read_timeout_s=0.3, deadline_s=0.6, attempts=1, pauses=PausesInMemory())


@pytest.fixture
def coingecko(simulator: Simulator, http: HttpClient) -> CoinGecko:
    return CoinGecko(simulator.coingecko_url, http=http)


@pytest.fixture
def alternative_me(simulator: Simulator, http: HttpClient) -> AlternativeMe:
    return AlternativeMe(simulator.sentiment_url, http=http)
