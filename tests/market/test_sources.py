"""Sources in turn: who is asked, who stands in, who is left alone, and how often."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import unit_of_work, wire
from bittrade.errors import ProviderError, SourceNotAsked
from bittrade.extensions import db
from bittrade.jobs import market as jobs
from bittrade.models import BitcoinData, BitcoinPriceEvent, Upstream
from bittrade.services import market
from bittrade.services.market import feed as market_feed
from bittrade.services.market import sanity as market_sanity
from bittrade.services.market import sources as market_sources
from dev.simulator import FEEDS, Simulator
from tests.fixtures import dollars

pytestmark = pytest.mark.usefixtures("inside")


def state_of(name: str) -> dict[str, object]:
    with unit_of_work.reading() as session:
        return next(row for row in market_sources.list_states(session, wire.now()) if row["name"] == name)


def change(name: str, **values: object) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.update(Upstream).where(Upstream.name == name).values(**values))


def asked(simulator: Simulator) -> dict[str, int]:
    return {feed: count for feed in FEEDS if (count := simulator.requests(feed))}


@pytest.fixture
def compared(inside: Flask, simulator: Simulator) -> None:
    """The sources were compared just now: for a small move one of them is enough."""
    market.update_price()
    simulator.reset()
    with db.engine.begin() as connection:
        connection.execute(sa.update(Upstream).values(recent_calls="[]", month_calls=0))


@pytest.mark.usefixtures("compared")
def test_the_first_source_that_answers_is_enough(simulator: Simulator) -> None:
    assert market.update_price() is True
    assert asked(simulator) == {"price": 1}
    assert state_of("coingecko")["last_success_at"] is not None


@pytest.mark.usefixtures("compared")
@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (["price"], {"price": 2, "coinbase": 1}),
        (["price", "coinbase"], {"price": 2, "coinbase": 2, "kraken": 1}),
    ],
)
def test_the_next_source_stands_in_in_the_same_run(
    simulator: Simulator, broken: list[str], expected: dict[str, int]
) -> None:
    for feed in broken:
        simulator.set("500", path=feed)
    assert market.update_price() is True
    assert asked(simulator) == expected  # a 500 is tried once more
    assert market.get_current()["source"] == "simulator"


@pytest.mark.usefixtures("compared")
def test_the_order_of_the_sources_is_the_operator_s(
    inside: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inside.config, "PRICE_SOURCES", ["kraken", "coingecko"])
    market.update_price()
    assert asked(simulator) == {"kraken": 1}


def test_an_exchange_leaves_what_it_does_not_know_to_the_last_one_who_did_and_says_as_of_when(
    simulator: Simulator,
) -> None:
    market.update_price()
    known = market.get_current()
    simulator.set("refuse", path="price")
    market.update_price()
    current = market.get_current()
    assert current["id"] > known["id"]
    assert current["market_cap_usd"] == known["market_cap_usd"]
    assert current["market_data_as_of"] == known["as_of"] < current["as_of"]


def test_before_anybody_knew_it_the_market_cap_is_null(simulator: Simulator) -> None:
    simulator.set("refuse", path="price")
    market.update_price()
    current = market.get_current()
    assert (current["market_cap_usd"], current["ath_date"], current["market_data_as_of"]) == (
        None,
        None,
        None,
    )


def test_after_three_failures_a_source_is_asked_last_and_after_its_rest_first_again(
    simulator: Simulator,
) -> None:
    simulator.set("html", path="price")
    for _ in range(3):
        market.update_price()
    assert (state_of("coingecko")["breaker"], state_of("coingecko")["failures_in_a_row"]) == ("open", 3)
    simulator.reset()
    market.update_price()
    assert asked(simulator) == {"coinbase": 1}
    change("coingecko", open_until=wire.now() - timedelta(seconds=1))
    market.update_price()
    assert asked(simulator) == {"coinbase": 1, "price": 1}
    assert state_of("coingecko")["breaker"] == "closed"


def test_with_every_breaker_open_everybody_is_still_asked(simulator: Simulator) -> None:
    simulator.set("html")
    for _ in range(3):
        with pytest.raises(ProviderError, match=r"coingecko: .*; coinbase: .*; kraken: "):
            market.update_price()
    assert {state_of(name)["breaker"] for name in ("coingecko", "coinbase", "kraken")} == {"open"}
    simulator.set("normal", path="kraken")
    assert market.update_price() is True


def test_charts_leave_a_source_alone_whose_breaker_is_open(simulator: Simulator) -> None:
    simulator.set("html", path="price")
    for _ in range(3):
        market.update_price()
    with pytest.raises(SourceNotAsked, match="left alone"):
        market.update_chart("1d")
    assert simulator.requests("chart") == 0


@pytest.mark.usefixtures("compared")
def test_a_source_that_stands_still_is_not_enough_once_its_price_is_old(simulator: Simulator) -> None:
    simulator.set("stuck", path="price")
    market.update_price()
    with db.engine.begin() as connection:
        connection.execute(sa.update(BitcoinData).values(as_of=wire.now() - timedelta(seconds=70)))
    stuck = simulator.server.state.stuck_answers["price"]
    old = wire.timestamp(wire.now() - timedelta(seconds=60))
    at = stuck.index(b'"last_updated": "') + 17
    simulator.server.state.stuck_answers["price"] = stuck[:at] + old.encode() + stuck[at + len(old) :]
    market.update_price()
    assert asked(simulator) == {"price": 2, "coinbase": 1}
    assert market.get_current()["age_ms"] < 5_000
    assert str(state_of("coingecko")["last_failure"]).endswith("s old")


@pytest.mark.usefixtures("compared")
def test_a_used_up_minute_moves_the_price_to_the_next_source_and_is_no_failure(
    inside: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inside.config, "COINGECKO_CALLS_PER_MINUTE", 2)
    for _ in range(3):
        market.update_price()
    assert asked(simulator) == {"price": 2, "coinbase": 1}
    assert (state_of("coingecko")["calls_last_minute"], state_of("coingecko")["failed"]) == (2, 0)


def test_a_retry_counts_as_a_call_and_is_left_out_where_there_is_none_left(
    inside: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inside.config, "COINGECKO_CALLS_PER_MINUTE", 1)
    simulator.set("500", path="price")
    market.update_price()
    assert simulator.requests("price") == 1
    assert state_of("coingecko")["last_failure"] == "coingecko: answered 500"


@pytest.mark.usefixtures("compared")
def test_a_used_up_month_is_spared_until_the_next_one(
    inside: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inside.config, "COINGECKO_CALLS_PER_MONTH", 100)
    market.update_price()
    change("coingecko", month_calls=100)
    market.update_price()
    with pytest.raises(SourceNotAsked, match="100 calls a month"):
        market.update_chart("1d")
    assert asked(simulator) == {"price": 1, "coinbase": 1}
    change("coingecko", month="2026-01")
    market.update_price()
    assert simulator.requests("price") == 2
    assert state_of("coingecko")["calls_this_month"] == 1


@pytest.mark.usefixtures("compared")
def test_a_retry_after_is_kept_by_every_process_and_through_an_emptied_redis(
    simulator: Simulator, redis_url: str
) -> None:
    simulator.set("429", retry_after=60, path="price", times=1)
    market.update_price()
    market.update_price()
    assert asked(simulator) == {"price": 1, "coinbase": 2}
    assert state_of("coingecko")["paused_until"] is not None
    assert state_of("coingecko")["failures_in_a_row"] == 1  # waiting as told is no further failure


def test_one_chart_that_fails_is_enough_for_one_round_of_filling(simulator: Simulator) -> None:
    simulator.set("html", path="chart")
    assert market.fill_missing() == ["price", "sentiment"]
    assert simulator.requests("chart") == 1


def test_a_fresh_install_is_filled_with_nine_calls_three_of_them_for_the_price(simulator: Simulator) -> None:
    assert market.fill_missing() == ["price", "sentiment", "1d", "7d", "30d", "90d", "365d"]
    assert simulator.requests() == 9


def test_a_price_is_neglected_once_its_job_must_have_missed_a_turn(inside: Flask) -> None:
    assert market.is_price_neglected() is True  # there is none
    market.update_price()
    assert market.is_price_neglected() is False
    with db.engine.begin() as connection:
        connection.execute(sa.update(BitcoinData).values(as_of=wire.now() - timedelta(seconds=55)))
    assert market.is_price_neglected() is True


def test_all_sources_hanging_end_within_the_deadline(
    simulator: Simulator, in_no_time: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.set("slow", seconds=50)
    began = market_feed.time.monotonic()
    with pytest.raises(ProviderError):
        market.update_price()
    assert market_feed.time.monotonic() - began < 45
    simulator.reset()


@pytest.mark.parametrize("is_first", [True, False])
def test_in_production_no_round_of_the_job_believes_a_simulator(
    inside: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    if not is_first:
        market.update_price()
    simulator.set(price=96_000)
    monkeypatch.setitem(inside.config, "IS_PRODUCTION", True)
    with db.engine.connect() as connection:
        before = connection.scalar(sa.select(sa.func.count()).select_from(BitcoinData))
    assert "not a source in production" in jobs.update_price()
    assert "not a source in production" in str(state_of("coingecko")["last_failure"])
    with db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(BitcoinData)) == before
        assert not connection.scalar(sa.select(sa.func.count()).select_from(BitcoinPriceEvent))


def test_in_production_a_simulator_s_price_is_not_even_judged(
    inside: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inside.config, "IS_PRODUCTION", True)
    quote = dollars(45_000, source="simulator")
    for judge in (
        lambda: market_sanity.judge({"coingecko": quote}),
        lambda: market_sanity.hold_if_denied("coingecko", quote),
    ):
        with pytest.raises(ProviderError, match="not a source in production"):
            judge()
