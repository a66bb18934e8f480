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


GENEROUS_S = 60.0
# Seconds of silence and in all, where a test waits for one of them to be over; everything else may take its time.
BRIEF = {"slow": (0.3, GENEROUS_S), "drip": (GENEROUS_S, 0.6), "drip_headers": (GENEROUS_S, 0.6)}


@pytest.fixture
def http(request: pytest.FixtureRequest) -> HttpClient:
    """The client with the limits that this test's mode of the simulator runs into."""
    mode = getattr(request.node, "callspec", None) and request.node.callspec.params.get("mode")
    read_s, deadline_s = BRIEF.get(mode, (GENEROUS_S, GENEROUS_S))
    return HttpClient(read_timeout_s=read_s, deadline_s=deadline_s, attempts=1, pauses=PausesInMemory())


@pytest.fixture
def coingecko(simulator: Simulator, http: HttpClient) -> CoinGecko:
    return CoinGecko(simulator.coingecko_url, http=http)


@pytest.fixture
def alternative_me(simulator: Simulator, http: HttpClient) -> AlternativeMe:
    return AlternativeMe(simulator.sentiment_url, http=http)
