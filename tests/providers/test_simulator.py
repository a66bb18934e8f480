"""The simulator is itself a program that others rely on."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from dev.simulator import Simulator, running_simulator

MARKETS = "/api/v3/coins/markets?vs_currency=usd&ids=bitcoin"


@pytest.fixture
def process() -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-m", "dev.simulator", "--port", "0", "--seed", "7"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        yield started, started.stdout.readline().rpartition("control=")[2].strip().removesuffix("/control")
    finally:
        started.kill()
        started.wait(timeout=60)


def test_the_program_serves_every_format_is_controlled_over_http_and_ends_cleanly(
    process: tuple["subprocess.Popen[str]", str],
) -> None:
    started, url = process
    answer = requests.get(url + MARKETS, timeout=60)
    assert answer.headers["Server"] == "bittrade-simulator"
    assert answer.json()[0]["id"] == "bitcoin"
    assert requests.get(f"{url}/fng/?limit=1", timeout=60).json()["metadata"] == {"error": None}
    assert requests.get(f"{url}/coinbase/products/BTC-USD/ticker", timeout=60).json()["price"]
    assert requests.get(f"{url}/0/public/Trades?pair=XBTUSD&count=1", timeout=60).json()["error"] == []
    control = requests.post(
        f"{url}/control", json={"mode": "429", "retry_after": 9, "path": "price"}, timeout=2
    )
    assert control.json()["modes"] == {
        "price": "status",
        "chart": "normal",
        "sentiment": "normal",
        "coinbase": "normal",
        "kraken": "normal",
        "rupees": "normal",
    }
    refused = requests.get(url + MARKETS, timeout=60)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "9")
    assert requests.get(f"{url}/control", timeout=60).json()["requests"]["price"] == 2
    os.kill(started.pid, signal.SIGTERM)
    assert started.wait(timeout=60) == 0


def test_the_price_moves_with_every_request_and_stays_plausible(simulator: Simulator) -> None:
    prices = [requests.get(simulator.url + MARKETS, timeout=60).json()[0]["current_price"] for _ in range(50)]
    assert all(before != after for before, after in itertools.pairwise(prices))
    assert all(80_000 < price < 110_000 for price in prices)


def test_the_same_seed_moves_in_the_same_way() -> None:
    def walk() -> list[float]:
        with running_simulator(seed=3) as simulator:
            return [
                requests.get(simulator.url + MARKETS, timeout=60).json()[0]["current_price"] for _ in range(5)
            ]

    assert walk() == walk()


@pytest.mark.parametrize(
    "wanted",
    [
        {"mode": "nonsense"},
        {"path": "nowhere"},
        {"price": -1},
        {"price": "a lot"},
        {"seconds": 1e9},
        {"status": 99},
        {"surprise": 1},
        [],
    ],
)
def test_a_wrong_command_is_answered_with_the_reason(simulator: Simulator, wanted: object) -> None:
    answer = requests.post(f"{simulator.url}/control", json=wanted, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_web_page_cannot_control_it(simulator: Simulator) -> None:
    answer = requests.post(f"{simulator.url}/control", data='{"mode": "500"}', timeout=60)
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "query", ["vs_currency=inr&days=1", "vs_currency=usd&days=0", "vs_currency=usd&days=x"]
)
def test_parameters_that_coingecko_refuses_are_refused(simulator: Simulator, query: str) -> None:
    answer = requests.get(f"{simulator.url}/api/v3/coins/bitcoin/market_chart?{query}", timeout=60)
    assert answer.status_code == 422
