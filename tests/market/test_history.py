"""Candles from our own rows, before and after thinning, on both databases."""

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import wire
from bittrade.domain.candles import INTERVALS
from bittrade.domain.money import Asset
from bittrade.domain.trading import Action, Order
from bittrade.extensions import db
from bittrade.models import BitcoinData, Transaction
from bittrade.services import market, trade
from bittrade.services.market import retention as market_retention
from bittrade.services.trade import Instruction
from tests.fixtures import new_user, set_price


def add(prices: list[tuple[datetime, int]]) -> None:
    """Rows as recording leaves them: ids follow the time. Prices in cents."""
    rows = [
        {"btc_usd_cents": cents, "as_of": at, "created_at": at, "source": "coingecko"} for at, cents in prices
    ]
    with db.engine.begin() as connection:
        connection.execute(sa.insert(BitcoinData.__table__), rows)


def minute_ago(minutes: int, second: int = 0) -> datetime:
    now = wire.now().replace(second=0, microsecond=0)
    return now - timedelta(minutes=minutes) + timedelta(seconds=second, microseconds=999_000)


def ohlc(candle: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(candle[key] for key in ("open", "high", "low", "close", "samples"))


def test_candles_are_oldest_first_without_gaps_and_begin_with_the_first_price(
    on_both_databases: Flask,
) -> None:
    with on_both_databases.app_context():
        add([(minute_ago(4, 0), 100_00), (minute_ago(4, 20), 120_50), (minute_ago(4, 40), 90_00)])
        add([(minute_ago(2, 59), 95_00)])
        candles = market.get_candles("1m", 100)["candles"]
    assert [ohlc(candle) for candle in candles[:3]] == [
        (100, 120.5, 90, 90, 3),
        (None, None, None, None, 0),
        (95, 95, 95, 95, 1),
    ]
    assert [candle["complete"] for candle in candles[:3]] == [True, True, True]
    assert candles[-1]["complete"] is False
    times = [datetime.fromisoformat(candle["timestamp"]) for candle in candles]
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {timedelta(minutes=1)}


@pytest.mark.parametrize(("interval", "seconds"), INTERVALS.items())
def test_every_interval_counts_each_price_once(on_both_databases: Flask, interval: str, seconds: int) -> None:
    now = wire.now()
    with on_both_databases.app_context():
        add([(now - timedelta(minutes=minutes), 100_00 + minutes) for minutes in range(200, 0, -1)])
        candles = market.get_candles(interval, 500)["candles"]
    assert sum(candle["samples"] for candle in candles) == 200
    begins = [datetime.fromisoformat(candle["timestamp"]).timestamp() for candle in candles]
    assert all(at % seconds == 0 for at in begins)
    assert candles[-1]["timestamp"] <= wire.timestamp(now)


def test_a_stretch_longer_than_the_limit_ends_with_now(client: FlaskClient, app: Flask) -> None:
    with app.app_context():
        add([(wire.now() - timedelta(days=3), 50_000_00)])
    answer = client.get("/api/bitcoin/candles?interval=1m&limit=10").get_json()
    assert len(answer["candles"]) == 10
    assert {candle["samples"] for candle in answer["candles"]} == {0}
    assert answer["interval"] == "1m"


def test_before_the_first_price_there_are_no_candles(client: FlaskClient) -> None:
    answer = client.get("/api/bitcoin/candles")
    assert (answer.status_code, answer.get_json()["error"]) == (404, "No Bitcoin data found")


@pytest.mark.parametrize(
    "query", ["interval=2m", "interval=", "limit=0", "limit=501", "limit=x", "interval=1d&limit=-1"]
)
def test_a_query_that_makes_no_sense_is_refused(client: FlaskClient, query: str) -> None:
    status = client.get(f"/api/bitcoin/candles?{query}").status_code
    assert status == (404 if query == "interval=" else 400)  # an empty value counts as left out


# --- Retention ----------------------------------------------------------------------------------------------------


def old_prices(*, days: float, hours: int, every_s: int = 30) -> list[tuple[datetime, int]]:
    begin = (wire.now() - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
    count = hours * 3600 // every_s
    return [(begin + timedelta(seconds=every_s * number), 50_000_00 + number) for number in range(count)]


def kept() -> list[datetime]:
    with db.engine.connect() as connection:
        return list(connection.scalars(sa.select(BitcoinData.as_of).order_by(BitcoinData.id)))


def test_a_week_of_prices_stays_then_one_a_minute_then_one_an_hour(on_both_databases: Flask) -> None:
    with on_both_databases.app_context():
        add([*old_prices(days=100, hours=3), *old_prices(days=30, hours=3), *old_prices(days=1, hours=1)])
        assert market.thin_prices() == 360 - 3 + 360 - 180
        times = kept()
        assert len(times) == 3 + 180 + 120
        assert [at.second for at in times[3:183]] == [30] * 180  # the last of each minute
        assert market.thin_prices() == 0


def test_a_price_that_a_receipt_names_is_never_thinned_out(on_both_databases: Flask) -> None:
    person = new_user(on_both_databases, inr=1_000)
    with on_both_databases.app_context():
        set_price(on_both_databases)
        answer = trade.place_trade(person.id, Instruction(Order(Action.BUY, Asset.INR, 100))).answer
        begin = minute_ago(60 * 24 * 100)
        with db.engine.begin() as connection:
            named = connection.scalar(sa.select(Transaction.price_id).where(Transaction.id == answer["id"]))
            assert named == connection.scalar(sa.select(BitcoinData.id))
            connection.execute(sa.update(BitcoinData).values(as_of=begin, created_at=begin))
        add([(begin + timedelta(seconds=number), 50_000_00) for number in range(1, 4)])
        assert (market.thin_prices(), market.thin_prices()) == (2, 0)
        with db.engine.connect() as connection:
            ids = connection.scalars(sa.select(BitcoinData.id).order_by(BitcoinData.id)).all()
        assert (ids[0], len(ids)) == (named, 2)  # and the last of its hour


def test_thinning_sees_every_row_also_where_a_clock_was_ahead(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_retention, "READ_ROWS", 2)
    begin = minute_ago(60 * 24 * 30)
    with app.app_context():
        add([(begin - timedelta(seconds=second), 50_000_00) for second in (7, 8, 9, 10, 11, 12)])
        assert market.thin_prices() == 5


def test_candles_of_thinned_hours_are_still_there(on_both_databases: Flask) -> None:
    with on_both_databases.app_context():
        add([*old_prices(days=100, hours=48), *old_prices(days=30, hours=3), (wire.now(), 60_000_00)])
        market.thin_prices()
        candles = [candle for candle in market.get_candles("1d", 500)["candles"] if candle["samples"]]
        assert sum(candle["samples"] for candle in candles) == 48 + 180 + 1
        assert all(candle["low"] <= candle["open"] <= candle["high"] for candle in candles)


def test_the_newest_price_stays_however_old_it_is(app: Flask) -> None:
    with app.app_context():
        add(old_prices(days=400, hours=1))
        market.thin_prices()
        assert len(kept()) == 1
        assert market.find_price_age_ms() is not None


def test_thinning_works_in_batches_and_goes_on_where_it_stopped(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_retention, "READ_ROWS", 50)
    monkeypatch.setattr(market_retention, "DELETE_ROWS", 20)
    with app.app_context():
        add(old_prices(days=30, hours=2))
        assert market.thin_prices(run_s=0) == 20  # one batch, then the time is over
        assert market.thin_prices() == 100
        assert len(kept()) == 120


def test_how_long_prices_are_kept_is_the_operator_s(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "PRICE_RAW_DAYS", 60)
    with app.app_context():
        add(old_prices(days=30, hours=1))
        assert market.thin_prices() == 0
