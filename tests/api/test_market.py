"""/api/bitcoin/… and /api/market-rates: public market data."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade.domain.pricing import ChartPoint, ChartSeries, SentimentReading
from bittrade.services import market, settings
from tests.fixtures import add_prices, dollars, set_price

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
START = datetime(2024, 7, 19, 10, 30, tzinfo=UTC)


@pytest.fixture
def chart(app: Flask) -> Callable[..., None]:
    def record(timeframe: str = "1d") -> None:
        points = tuple(
            ChartPoint(START + timedelta(hours=hour), 4_450_000 + hour * 50_050) for hour in range(3)
        )
        with app.app_context():
            market.record_chart(ChartSeries(timeframe, points))

    return record


def test_current_has_everything_about_the_newest_price(client: FlaskClient, price: None) -> None:
    answer = client.get("/api/bitcoin/current")
    assert answer.status_code == 200
    body = answer.get_json()
    expected = {
        "btc_usd_price": 45000,
        "market_cap_usd": 850000000000,
        "volume_24h_usd": 25000000000,
        "high_24h_usd": 46000,
        "ath_usd": 69000,
        "ath_date": None,  # a documented key is never left out
        "ath_change_pct": -34.78,
        "buy_rate_inr": 4095000,
        "sell_rate_inr": 3960000,
        "stale": False,
        "source": "coingecko",
    }
    assert {name: body[name] for name in expected} == expected
    assert type(body["id"]) is type(body["age_ms"]) is type(body["buy_rate_inr"]) is int
    assert type(body["cached"]) is bool
    assert TIME.fullmatch(body["last_updated"])
    assert TIME.fullmatch(body["as_of"])


def test_market_rates_are_what_a_trade_needs(client: FlaskClient, price: None) -> None:
    body = client.get("/api/market-rates").get_json()
    expected = {"btc_usd_price": 45000, "buy_rate_inr": 4095000, "sell_rate_inr": 3960000, "stale": False}
    assert {name: body[name] for name in expected} == expected
    assert TIME.fullmatch(body["timestamp"])
    assert type(body["cached"]) is bool


def test_a_price_with_cents_is_a_json_number(app: Flask, client: FlaskClient) -> None:
    with app.app_context():
        market.record_price(replace(dollars(45_000), btc_usd_cents=4_500_057))
    assert b'"btc_usd_price":45000.57' in client.get("/api/market-rates").data


@pytest.mark.parametrize("path", ["/api/bitcoin/current", "/api/market-rates"])
def test_before_the_first_price_there_is_404(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.get_json() == {"error": "No Bitcoin data found", "code": "no_data"}


@pytest.mark.parametrize("path", ["/api/bitcoin/current", "/api/market-rates"])
def test_an_old_price_is_still_told_and_says_that_it_is_stale(
    app: Flask, client: FlaskClient, path: str
) -> None:
    set_price(app, age_s=120)
    body = client.get(path).get_json()
    assert body["stale"] is True
    assert 120_000 <= body["age_ms"] < 180_000


def test_new_multipliers_are_in_the_rates(app: Flask, client: FlaskClient, price: None) -> None:
    with app.app_context():
        settings.set_setting("buy_multiplier", "91.5")
        market.publish_rates()
    assert client.get("/api/market-rates").get_json()["buy_rate_inr"] == 4_117_500


@pytest.mark.parametrize("timeframe", ["1d", "7d", "30d", "90d", "365d"])
def test_a_chart_has_its_points_and_what_they_come_to(
    client: FlaskClient, chart: Callable[..., None], timeframe: str
) -> None:
    chart(timeframe)
    body = client.get(f"/api/bitcoin/chart/{timeframe}").get_json()
    assert body["timeframe"] == timeframe
    assert body["price_data"][0] == {"timestamp": "2024-07-19T10:30:00.000Z", "price": 44500}
    assert body["price_data"][1] == {"timestamp": "2024-07-19T11:30:00.000Z", "price": 45000.5}
    assert body["data_points_count"] == 3
    assert body["price_change_pct"] == 2.25
    assert (body["date_from"], body["date_to"]) == ("2024-07-19T10:30:00.000Z", "2024-07-19T12:30:00.000Z")
    assert TIME.fullmatch(body["last_updated"])
    assert type(body["cached"]) is bool


@pytest.mark.parametrize("timeframe", ["1d", "7d", "30d", "90d", "365d"])
def test_a_chart_that_was_never_fetched_is_404(client: FlaskClient, timeframe: str) -> None:
    answer = client.get(f"/api/bitcoin/chart/{timeframe}")
    assert answer.status_code == 404
    assert answer.get_json() == {"error": f"No chart data found for {timeframe}", "code": "no_data"}


@pytest.mark.parametrize(
    "timeframe", ["1", "1D", "2d", "max", "1d%20", "%00", "1d%0a", "..", "x" * 500, "%F0%9F%94%91"]
)
def test_a_timeframe_that_is_not_one_is_400(client: FlaskClient, timeframe: str) -> None:
    answer = client.get(f"/api/bitcoin/chart/{timeframe}")
    assert answer.status_code in (400, 404)
    expected = {400: "Invalid timeframe", 404: "Endpoint not found"}[
        answer.status_code
    ]  # ".." leaves the route
    assert answer.get_json()["error"] == expected


def test_sentiment_is_the_latest_day_s(app: Flask, client: FlaskClient) -> None:
    with app.app_context():
        market.record_sentiment(SentimentReading(50, "Neutral", date(2024, 7, 19)))
        market.record_sentiment(SentimentReading(72, "Greed", date(2024, 7, 20)))
    body = client.get("/api/bitcoin/sentiment").get_json()
    assert (body["fear_greed_value"], body["fear_greed_classification"]) == (72, "Greed")
    assert body["data_date"] == "2024-07-20"
    assert TIME.fullmatch(body["last_updated"])
    assert type(body["id"]) is int


def test_before_the_first_sentiment_there_is_404(client: FlaskClient) -> None:
    answer = client.get("/api/bitcoin/sentiment")
    assert answer.status_code == 404
    assert answer.get_json()["error"] == "No sentiment data found"


def test_history_is_newest_first_ten_by_default(app: Flask, client: FlaskClient) -> None:
    add_prices(app, *range(45_000, 45_012))
    body = client.get("/api/bitcoin/history").get_json()
    assert [row["btc_usd_price"] for row in body] == list(range(45_011, 45_001, -1))
    assert {type(row["id"]) for row in body} == {int}
    assert {row["market_cap_usd"] for row in body} == {850000000000}
    assert all(TIME.fullmatch(row["created_at"]) for row in body)
    for limit in (1, 3, 1000):
        assert len(client.get(f"/api/bitcoin/history?limit={limit}").get_json()) == min(limit, 12)


def test_a_history_of_nothing_is_an_empty_list(client: FlaskClient) -> None:
    answer = client.get("/api/bitcoin/history")
    assert (answer.status_code, answer.get_json()) == (200, [])


@pytest.mark.parametrize(
    "limit",
    [
        "0",
        "-1",
        "1001",
        "1e9",
        "1000000000",
        "1.0",
        "1.5",
        "+1",
        "%201",
        "1_0",
        "0x10",
        "NaN",
        "ten",
        "１０",
        "١٠",
        "9" * 5000,
        "true",
        "%00",
        "10%00",
        "[]",
        "%F0%9F%94%91",
    ],
)
def test_a_history_s_limit_is_1_to_1000(client: FlaskClient, limit: str) -> None:
    answer = client.get(f"/api/bitcoin/history?limit={limit}")
    assert answer.status_code == 400
    assert answer.get_json()["code"] == "invalid_input"
    assert "limit" in answer.get_json()["error"]


def test_unknown_query_keys_are_ignored(client: FlaskClient, price: None) -> None:
    assert client.get("/api/bitcoin/history?offset=5&x=%00&limit=1").status_code == 200
