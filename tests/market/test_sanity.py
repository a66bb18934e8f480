"""A price that jumps is held until somebody confirms it; nothing is ever traded at a price that was not accepted."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import cache, wire
from bittrade.domain.consensus import Sanity
from bittrade.errors import ProviderError
from bittrade.extensions import db
from bittrade.models import AuditEvent, BitcoinData, BitcoinPriceEvent, Quote
from bittrade.services import doctor, halt, health, market
from bittrade.services.market import sanity as market_sanity
from dev.simulator import Simulator
from tests.fixtures import Person, dollars, wait_until
from tests.money.conftest import Trader

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
def _a_price_to_measure_by(inside: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COINGECKO", "COINBASE", "KRAKEN"):  # tests ask more often than a poll does
        monkeypatch.setitem(inside.config, f"{name}_CALLS_PER_MINUTE", 100)
    price_is(simulator, 50_000)
    market.update_price()
    simulator.reset()
    price_is(simulator, 50_000)


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


# --- what a held price stops ----------------------------------------------------------------------------------------


@pytest.fixture
def trader(inside: Flask, client: FlaskClient, make_user: Callable[..., Person]) -> Trader:
    return Trader(make_user(inr=1_000_000, btc=1_000_000), client)


def hold(simulator: Simulator, usd: float) -> None:
    """One source says something far off, and nobody else answers."""
    price_is(simulator, usd)
    away(simulator, *OTHERS)
    with pytest.raises(ProviderError, match="held"):
        market.update_price()


@pytest.mark.parametrize("usd", [5_000, 64_500])
def test_while_a_price_is_held_nothing_is_traded_at_the_one_before_either(
    simulator: Simulator, trader: Trader, usd: int
) -> None:
    hold(simulator, usd)
    body = {"action": "buy", "type": "market", "amount": 1000, "currency": "inr"}
    for answer in (
        trader.trade("buy", "1000"),
        trader.trade("sell", "1000"),
        trader.post("/api/trade/preview", body),
        trader.post("/api/quote"),
    ):
        assert (answer.status_code, answer.get_json()["code"]) == (503, "price_uncertain")
        assert int(answer.headers["Retry-After"]) > 0
    assert (
        trader.client.get("/api/balance", headers=trader.person.headers).get_json()["available_inr"]
        == 1_000_000
    )


def test_the_status_and_health_say_that_it_is_uncertain_and_not_what_the_price_may_be(
    simulator: Simulator, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_memory", health._Memory())
    hold(simulator, 64_500)
    status = client.get("/api/market/status")
    assert status.get_json()["trading"] == "price_uncertain"
    (event,) = (event for event in status.get_json()["prices"]["latest"] if event["outcome"] == "held")
    assert (event["btc_usd_price"], event["reason"]) == (None, "waits for confirmation")
    assert "64500" not in status.text
    assert "29.0" not in status.text
    assert client.get("/api/health").get_json()["trading"] == "price_uncertain"
    assert client.get("/api/health").get_json()["status"] == "DEGRADED"
    assert market.read_news()["market_status"]["trading"] == "price_uncertain"


def test_a_quote_of_before_is_void_while_a_price_is_held_and_after(
    simulator: Simulator, trader: Trader
) -> None:
    held = trader.post("/api/quote").get_json()["quote_id"]
    hold(simulator, 64_500)
    answer = trader.trade("buy", "1000", quote_id=held)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "price_uncertain")
    simulator.set("normal", path="coinbase")
    market.update_price()
    answer = trader.trade("buy", "1000", quote_id=held)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "quote_expired")
    fresh = trader.post("/api/quote").get_json()["quote_id"]
    assert trader.trade("buy", "1000", quote_id=fresh).get_json()["execution_price"] == 64_500 * 91


def test_a_held_price_that_another_source_refutes_lets_trading_go_on_at_the_next_poll(
    simulator: Simulator, trader: Trader
) -> None:
    hold(simulator, 64_500)
    price_is(simulator, 50_010)
    simulator.reset()
    price_is(simulator, 50_010)
    market.update_price()
    assert ("coingecko", "refuted") in outcomes()
    assert trader.trade("buy", "1000").get_json()["execution_price"] == 50_010 * 91


def test_a_held_price_stops_trading_however_long_it_waits_and_is_settled_in_the_end(
    simulator: Simulator, trader: Trader, inside: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inside.config, "MAX_PRICE_AGE_S", 86_400)
    hold(simulator, 64_500)
    make_older(minutes=11)
    assert trader.trade("buy", "1000").get_json()["code"] == "price_uncertain"
    simulator.reset()
    price_is(simulator, 50_000)
    market.update_price()
    assert trader.trade("buy", "1000").status_code == 201


def test_while_the_other_sources_are_asked_nothing_is_traded_at_a_price_that_the_first_denies(
    simulator: Simulator, trader: Trader, inside: Flask
) -> None:
    price_is(simulator, 54_000)  # no jump: nothing but a large move
    for feed in OTHERS:
        simulator.set("slow", seconds=3, path=feed)

    def update() -> None:
        with inside.app_context():
            market.update_price()

    round_ = threading.Thread(target=update)
    round_.start()
    wait_until(lambda: simulator.requests("coinbase") == 1)
    meanwhile = trader.trade("buy", "1000")
    round_.join()
    assert (meanwhile.status_code, meanwhile.get_json()["code"]) == (503, "price_uncertain")
    assert trader.trade("buy", "1000").get_json()["execution_price"] == 54_000 * 91
    assert outcomes() == [("coingecko", "confirmed")]


def test_an_answer_that_is_late_denies_nothing(simulator: Simulator, trader: Trader) -> None:
    quote = dollars(54_000, age_s=60, source="coingecko")
    assert market_sanity.hold_if_denied("coingecko", quote) is None
    assert trader.trade("buy", "1000").status_code == 201


def test_a_quote_made_by_a_clock_that_was_ahead_is_void(trader: Trader, inside: Flask) -> None:
    held = trader.post("/api/quote").get_json()["quote_id"]
    ahead = wire.now() + timedelta(hours=1)
    with db.engine.begin() as connection:
        connection.execute(
            sa.update(Quote).values(created_at=ahead, expires_at=ahead + timedelta(seconds=15))
        )
    assert trader.trade("buy", "1000", quote_id=held).get_json()["code"] == "quote_expired"


# --- a source that leads, and sources that disagree -----------------------------------------------------------------


def lies(simulator: Simulator, factor: float, *feeds: str) -> None:
    for feed in feeds:
        simulator.set("factor", factor=factor, path=feed)


def check_is_due() -> None:
    """The last comparison of the sources was too long ago."""
    with db.engine.begin() as connection:
        connection.execute(sa.update(BitcoinData).values(checked_by=None))


def source(name: str) -> dict[str, Any]:
    cache.release("market_status")
    return next(one for one in market.get_status()["sources"] if one["name"] == name)


def test_a_small_move_needs_one_source_and_a_larger_one_needs_all(simulator: Simulator) -> None:
    price_is(simulator, 50_200)
    market.update_price()
    assert simulator.requests() == 1
    price_is(simulator, 50_300)  # 0.6 % from the last one that was compared
    market.update_price()
    assert simulator.requests() == 1 + 3


def test_small_moves_that_add_up_are_a_larger_one(simulator: Simulator) -> None:
    for usd in (50_100, 50_200, 50_251):
        price_is(simulator, usd)
        market.update_price()
    assert simulator.requests() == 1 + 1 + 3


def test_the_sources_are_compared_regularly_however_still_the_price_is(simulator: Simulator) -> None:
    market.update_price()
    assert simulator.requests() == 1
    check_is_due()
    market.update_price()
    assert simulator.requests() == 1 + 3
    market.update_price()
    assert simulator.requests() == 1 + 3 + 1


@pytest.mark.parametrize("liar", ["price", "coinbase", "kraken"])
@pytest.mark.parametrize("step", [1.19, 1.03, 1.009, 0.991, 0.85])
def test_a_source_that_lies_a_little_more_each_time_leads_the_price_nowhere(
    simulator: Simulator, liar: str, step: float
) -> None:
    for number in range(1, 13):
        lies(simulator, step**number, liar)
        market.update_price()
        assert abs(newest() / 50_000 - 1) <= 0.0151
    assert market.get_status()["trading"] == "open"


def test_a_source_that_the_others_contradict_is_an_alarm_and_its_drift_shows(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    lies(simulator, 1.03, "price")
    market.update_price()
    assert newest() == 50_000
    assert outcomes() == [("coingecko", "refuted")]
    assert "the sources disagree: coingecko 51500.00, coinbase 50000.00, kraken 50000.00" in caplog.text
    assert (source("coingecko")["drift_pct"], source("kraken")["drift_pct"]) == (3, 0)
    assert any("coingecko" in finding.fault and "3 %" in finding.fault for finding in doctor.examine())


def test_two_against_one_and_the_price_in_use_halt_trading_by_themselves(
    simulator: Simulator, trader: Trader
) -> None:
    lies(simulator, 1.1, *OTHERS)
    check_is_due()
    for _ in range(2):
        with pytest.raises(ProviderError, match="held"):
            market.update_price()
    assert newest() == 50_000
    assert trader.trade("sell", "1000").get_json()["code"] == "trading_halted"
    assert "most sources contradict the price in use" in (halt.find_reason() or "")
    halt.resume_trading("looked at it")
    assert trader.trade("sell", "1000").get_json()["code"] == "price_uncertain"
    with db.engine.connect() as connection:
        halts = connection.scalars(
            sa.select(AuditEvent.id).where(AuditEvent.action == "trading_halted")
        ).all()
    assert len(halts) == 1


def test_two_sources_that_disagree_stop_trading_until_they_agree(
    simulator: Simulator, trader: Trader
) -> None:
    away(simulator, "kraken")
    lies(simulator, 1.05, "price")
    with pytest.raises(ProviderError):
        market.update_price()
    assert trader.trade("buy", "1000").get_json()["code"] == "price_uncertain"
    away(simulator, "coinbase")  # the liar is alone now, and still what the other said stands against it
    with pytest.raises(ProviderError):
        market.update_price()
    assert trader.trade("buy", "1000").get_json()["code"] == "price_uncertain"
    simulator.reset()
    price_is(simulator, 50_010)
    market.update_price()
    assert trader.trade("buy", "1000").status_code == 201


def test_a_source_that_is_alone_may_lead_the_price_only_so_far_in_a_window(simulator: Simulator) -> None:
    away(simulator, *OTHERS)
    price_is(simulator, 54_900)  # 9.8 %
    market.update_price()
    price_is(simulator, 55_100)  # 10.2 %
    with pytest.raises(ProviderError, match="held"):
        market.update_price()
    make_older(minutes=0.1)
    market.update_price()  # a second fetch says the same
    assert newest() == 55_100
    price_is(simulator, 61_000)
    for _ in range(3):  # once in a window, and no more
        with pytest.raises(ProviderError, match="held"):
            market.update_price()
        make_older(minutes=0.1)
    simulator.set("normal", path="kraken")
    market.update_price()
    assert newest() == 61_000


def test_how_far_and_how_often_is_the_operator_s(
    simulator: Simulator, inside: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inside.config, "PRICE_CHECK_BAND_PCT", 5)
    price_is(simulator, 52_000)
    market.update_price()
    assert simulator.requests() == 1


def test_the_first_price_of_all_is_compared_too(simulator: Simulator) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.delete(BitcoinData))
    lies(simulator, 1.5, "price")
    market.update_price()
    assert newest() == 50_000


@pytest.mark.parametrize("feed", ["price", "coinbase", "kraken"])
def test_a_source_whose_clock_runs_ahead_gives_no_price(simulator: Simulator, feed: str) -> None:
    simulator.set("ahead", seconds=240, path=feed)
    check_is_due()
    price_is(simulator, 50_010)
    market.update_price()
    current = market.get_current()
    assert current["btc_usd_price"] == 50_010
    name = {"price": "coingecko"}.get(feed, feed)
    assert "of the future" in source(name)["last_failure"]


def test_doctor_says_when_nobody_confirms_the_price(simulator: Simulator) -> None:
    def faults() -> str:
        return " ".join(finding.fault for finding in doctor.examine())

    check_is_due()
    assert "comes from one source" not in faults()
    long_ago = wire.now() - timedelta(seconds=301)
    with db.engine.begin() as connection:
        connection.execute(sa.update(BitcoinData).values(created_at=long_ago))
    assert "comes from one source" in faults()
    market.update_price()
    assert "comes from one source" not in faults()


def test_doctor_says_when_one_source_could_lead_the_price_further_than_the_spread_covers(
    inside: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faults() -> str:
        return " ".join(finding.fault for finding in doctor.examine())

    assert "further than the spread covers" not in faults()
    monkeypatch.setitem(inside.config, "PRICE_CONFIRM_WITHIN_PCT", 1.2)
    assert "further than the spread covers" in faults()
