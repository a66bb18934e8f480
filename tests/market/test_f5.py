"""F5, quickly: every way in which the sources can be slow, broken or liars, on all of them and on the first alone.

The same rows with the real deadlines, a real worker and trades: python -m drills.market --only F5.
"""

import time

import pytest

from bittrade.errors import BitTradeError
from bittrade.services import market
from dev.simulator import MODES, Simulator
from tests.fixtures import dollars

pytestmark = pytest.mark.usefixtures("inside", "in_no_time")
PRICE_FEEDS = ("price", "coinbase", "kraken")
# What is believable by itself has tests of its own: test_sanity.py (jump, factor) and test_sources.py (stuck).
ROWS = [*(set(MODES) - {"normal", "status", "as_html", "jump", "factor", "stuck"}), "429", "500", "302"]


@pytest.fixture(autouse=True)
def _a_good_price(inside: object, simulator: Simulator) -> None:
    simulator.set(price=50_000)
    market.record_price(dollars(50_000, age_s=5, source="simulator"))


def behave(simulator: Simulator, mode: str, *feeds: str) -> None:
    for feed in feeds:
        simulator.set(mode, path=feed, seconds=0.05 if mode.startswith("drip") else 50)


@pytest.mark.parametrize("mode", sorted(ROWS))
def test_with_all_sources_bad_the_last_good_price_stays_and_says_how_old_it_is(
    simulator: Simulator, mode: str
) -> None:
    behave(simulator, mode, *PRICE_FEEDS)
    began = time.monotonic()
    with pytest.raises(BitTradeError) as failure:
        market.update_price()
    took = time.monotonic() - began
    current = market.get_current()
    assert (current["btc_usd_price"], current["source"]) == (50_000, "simulator")
    assert current["age_ms"] >= 5_000
    assert took < 45
    print(f"\nF5 {mode:15} {took:.2f} s, last good price kept; {failure.value.message[:150]}")
    simulator.reset()


@pytest.mark.parametrize("mode", sorted(ROWS))
def test_with_the_first_source_bad_the_next_one_gives_the_price(simulator: Simulator, mode: str) -> None:
    behave(simulator, mode, "price")
    market.update_price()
    current = market.get_current()
    assert current["btc_usd_price"] == 50_000
    assert current["age_ms"] < 3_000
    assert simulator.requests("coinbase") == 1
    simulator.reset()
