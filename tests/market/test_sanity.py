"""A price that jumps is held until somebody confirms it; nothing is ever traded at a price that was not accepted."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import wire
from bittrade.domain.pricing import Sanity
from bittrade.errors import ProviderError
from bittrade.extensions import db
from bittrade.models import BitcoinData, BitcoinPriceEvent
from bittrade.services import market
from dev.simulator import Simulator
from tests.fixtures import Person

pytestmark = pytest.mark.usefixtures("inside")
OTHERS = ("coinbase", "kraken")


def price_is(simulator: Simulator, usd: float) -> None:
    simulator.set(price=usd)


def away(simulator: Simulator, *feeds: str) -> None:
    for feed in feeds:
        simulator.set("html", path=feed)


def newest() -> float:
    return float(market.get_current()["btc_usd_price"])


def make_older(*, minutes: float) -> None:
    """What is held was held that long ago."""
    with db.engine.begin() as connection:
        connection.execute(sa.update(BitcoinPriceEvent).values(at=wire.now() - timedelta(minutes=minutes)))


def outcomes() -> list[tuple[str, str]]:
    with db.engine.connect() as connection:
        table = BitcoinPriceEvent
        rows = connection.execute(sa.select(table.provider, table.outcome).order_by(table.id))
        return [(row.provider, row.outcome) for row in rows]


@pytest.fixture(autouse=True)
def _a_price_to_measure_by(inside: Flask, simulator: Simulator) -> None:
    price_is(simulator, 50_000)
    market.update_price()
    simulator.reset()


@pytest.mark.parametrize(
    ("usd", "is_jump"), [(60_000, False), (60_001, True), (40_000, False), (39_999, True)]
)
def test_twenty_percent_either_way_is_no_jump_and_a_dollar_more_is(usd: int, is_jump: bool) -> None:
    assert Sanity(2_000, 200).is_jump(usd * 100, 50_000 * 100) is is_jump


def test_a_lie_of_one_source_is_refuted_by_the_next_in_the_same_run(simulator: Simulator) -> None:
    price_is(simulator, 50_100)
    simulator.set("jump", path="price")
    for _ in range(3):
        market.update_price()
        assert newest() == 50_100
    assert set(outcomes()) == {("coingecko", "refuted")}
    assert market.get_status()["sources"][0]["breaker"] == "open"


def test_a_jump_that_a_second_source_confirms_is_accepted_at_once(simulator: Simulator) -> None:
    price_is(simulator, 70_000)
    assert market.update_price() is True
    assert newest() == 70_000
    assert outcomes() == [("coingecko", "confirmed")]


def test_a_jump_with_nobody_else_to_ask_waits_for_a_second_fetch(simulator: Simulator) -> None:
    price_is(simulator, 70_000)
    away(simulator, *OTHERS)
    with pytest.raises(ProviderError, match="coingecko: the price is held"):
        market.update_price()
    with pytest.raises(ProviderError):  # another job at the same moment: not a second fetch
        market.update_price()
    assert newest() == 50_000
    make_older(minutes=0.1)
    assert market.update_price() is True
    assert newest() == 70_000
    confirmed = [event for event in outcomes() if event[0] == "coingecko"]
    assert set(confirmed) == {("coingecko", "confirmed")}


def test_the_same_answer_again_is_not_a_second_fetch(simulator: Simulator) -> None:
    price_is(simulator, 70_000)
    simulator.set("stuck", path="price")
    away(simulator, *OTHERS)
    for _ in range(2):
        with pytest.raises(ProviderError):
            market.update_price()
        make_older(minutes=0.1)
    assert newest() == 50_000


def test_a_second_fetch_that_says_something_else_again_confirms_nothing(simulator: Simulator) -> None:
    away(simulator, *OTHERS)
    for usd in (70_000, 75_000, 90_000):
        price_is(simulator, usd)
        with pytest.raises(ProviderError):
            market.update_price()
        make_older(minutes=0.1)
    assert newest() == 50_000


def test_two_sources_that_contradict_each_other_confirm_nothing_however_often(simulator: Simulator) -> None:
    price_is(simulator, 70_000)
    simulator.set("jump", path="price")  # 105,000
    away(simulator, "kraken")
    for _ in range(3):
        with pytest.raises(ProviderError):
            market.update_price()
        make_older(minutes=0.1)
    assert newest() == 50_000


def test_a_held_price_is_forgotten_after_ten_minutes(simulator: Simulator) -> None:
    price_is(simulator, 70_000)
    away(simulator, *OTHERS)
    with pytest.raises(ProviderError):
        market.update_price()
    make_older(minutes=11)
    with pytest.raises(ProviderError):
        market.update_price()


def test_after_hours_without_a_feed_a_jump_is_still_held_and_a_second_source_is_enough(
    simulator: Simulator,
) -> None:
    with db.engine.begin() as connection:
        long_ago = wire.now() - timedelta(hours=9)
        connection.execute(sa.update(BitcoinData).values(as_of=long_ago, created_at=long_ago))
    price_is(simulator, 70_000)
    away(simulator, *OTHERS)
    with pytest.raises(ProviderError):
        market.update_price()
    simulator.set("normal", path="coinbase")
    assert market.update_price() is True
    assert newest() == 70_000


def test_a_refused_price_is_recorded_counted_and_shown(simulator: Simulator, client: FlaskClient) -> None:
    price_is(simulator, 50_000)
    simulator.set("zero", path="price")
    market.update_price()
    prices = client.get("/api/market/status").get_json()["prices"]
    assert prices["counts"] == {"held": 0, "confirmed": 0, "refuted": 0, "refused": 1}
    assert prices["latest"][0]["provider"] == "coingecko"
    assert "between 1 cent" in prices["latest"][0]["reason"]


def test_nobody_trades_at_a_held_price(
    simulator: Simulator, client: FlaskClient, make_user: Callable[..., Person], inside: Flask
) -> None:
    person = make_user(inr=1_000_000)
    price_is(simulator, 5_000)
    away(simulator, *OTHERS)
    with pytest.raises(ProviderError):
        market.update_price()
    body = {"action": "buy", "type": "market", "amount": 1000, "currency": "inr"}
    answer = client.post("/api/trade", json=body, headers=person.headers)
    assert answer.get_json()["execution_price"] == 50_000 * 91
