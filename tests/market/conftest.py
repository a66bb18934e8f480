"""The whole feed on the run's database, against a simulator that plays every source."""

from collections.abc import Iterator

import pytest
from flask import Flask

from bittrade.services.market import feed as market_feed
from bittrade.services.market import price as market_price
from dev.simulator import Simulator, running_simulator

PRICE_FEEDS = {"coingecko": "price", "coinbase": "coinbase", "kraken": "kraken"}


@pytest.fixture(scope="session")
def _one_simulator() -> Iterator[Simulator]:
    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(_one_simulator: Simulator) -> Simulator:
    _one_simulator.reset()
    return _one_simulator


@pytest.fixture
def inside(app: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The run's application with its context entered; its sources are the simulator's."""
    for name, value in simulator.settings.items():
        monkeypatch.setitem(app.config, name, value)
    # Tests change the price many times a second; that it is told twice a second has a test of its own.
    monkeypatch.setattr(market_price, "TELL_EVERY_MS", 20)
    with app.app_context():
        yield app


@pytest.fixture
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for; the real ones are the drill's (python -m drills.market)."""
    monkeypatch.setattr(market_feed, "PRICE_DEADLINE_S", 6.0)
    monkeypatch.setattr(market_feed, "SOURCE_DEADLINE_S", 2.0)
    monkeypatch.setattr(market_feed, "LEFT_FOR_EACH_S", 2.0)
    monkeypatch.setattr(market_feed, "LEAST_S", 0.1)
