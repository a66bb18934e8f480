"""What of CoinGecko's answers is believed, and what it becomes."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bittrade.domain.pricing import MAX_AHEAD, TIMEFRAMES, believed_as_of
from bittrade.errors import AnswerRefused, ProviderError
from bittrade.providers.coingecko import CoinGecko, parse_chart, parse_price
from bittrade.providers.http import HttpClient, PausesInMemory
from dev.simulator import Simulator

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _coin(**changes: Any) -> list[dict[str, Any]]:
    coin = {
        "id": "bitcoin",
        "current_price": Decimal("45000.125"),
        "market_cap": 850_000_000_000,
        "total_volume": Decimal("25000000000.5"),
        "high_24h": 46000,
        "ath": 69000,
        "ath_change_percentage": Decimal("-34.7849"),
        "ath_date": "2021-11-10T14:24:11.849Z",
        "last_updated": "2026-01-01T11:59:30.123Z",
    }
    return [{"id": "ethereum", "current_price": 1}, coin | changes]


def _points(count: int = 3, **changes: Any) -> dict[str, Any]:
    at = int(NOW.timestamp() * 1000)
    return {"prices": [[at - i * 300_000, Decimal(45_000 - i)] for i in reversed(range(count))]} | changes


def test_a_quote_has_integers_and_the_sources_own_time() -> None:
    quote = parse_price(_coin(), now=NOW)
    assert quote.btc_usd_cents == 4_500_013
    assert quote.as_of == datetime(2026, 1, 1, 11, 59, 30, 123_000, tzinfo=UTC)
    assert (quote.source, quote.market_cap_usd, quote.volume_24h_usd) == (
        "coingecko",
        850_000_000_000,
        25_000_000_001,
    )
    assert (quote.high_24h_usd_cents, quote.ath_usd_cents) == (4_600_000, 6_900_000)
    assert (quote.ath_date, quote.ath_change_bps) == (date(2021, 11, 10), -3478)


@pytest.mark.parametrize(
    "price",
    [None, "45000", True, 0, -1, Decimal("0.001"), Decimal("1e30"), 10_000_001, [], {}, Decimal("-0.0")],
)
def test_a_doubtful_price_is_refused(price: object) -> None:
    with pytest.raises(ProviderError, match="price"):
        parse_price(_coin(current_price=price), now=NOW)


@pytest.mark.parametrize(
    "moment",
    [
        None,
        1_767_268_770,
        "",
        "yesterday",
        "2026-01-01T11:59:30",
        "2026-01-01T11:59:30+05:30",
        "2026-13-01T11:59:30.123Z",
        "2026-01-01T11:54:59.000Z",
        "2026-01-01T12:05:01.000Z",
        "٢٠٢٦-01-01T11:59:30.123Z",
    ],
)
def test_a_time_that_is_missing_unreadable_old_or_of_the_future_is_refused(moment: object) -> None:
    with pytest.raises(ProviderError):
        parse_price(_coin(last_updated=moment), now=NOW)


def test_a_source_whose_clock_is_a_little_ahead_is_believed_but_gains_nothing() -> None:
    ahead = parse_price(_coin(last_updated="2026-01-01T12:00:04.000Z"), now=NOW)
    assert believed_as_of(ahead.as_of, NOW) == NOW - MAX_AHEAD
    with pytest.raises(AnswerRefused, match="of the future"):
        parse_price(_coin(last_updated="2026-01-01T12:00:06.000Z"), now=NOW)


@pytest.mark.parametrize(
    "data", [None, [], {}, "bitcoin", [None], [{"id": "Bitcoin"}], {"bitcoin": {"usd": 1}}]
)
def test_an_answer_without_bitcoin_is_refused(data: object) -> None:
    with pytest.raises(ProviderError):
        parse_price(data, now=NOW)


@pytest.mark.parametrize("junk", [None, "n/a", -1, 0, Decimal("1e25"), [], True])
def test_an_unusable_decoration_does_not_cost_the_price(junk: object) -> None:
    decorations = ("market_cap", "total_volume", "high_24h", "ath", "ath_date")
    quote = parse_price(_coin(**dict.fromkeys(decorations, junk), ath_change_percentage="?"), now=NOW)
    assert quote.btc_usd_cents == 4_500_013
    assert (
        quote.market_cap_usd
        is quote.volume_24h_usd
        is quote.high_24h_usd_cents
        is quote.ath_usd_cents
        is None
    )
    assert quote.ath_date is quote.ath_change_bps is None


def test_chart_points_come_out_oldest_first_and_once_each() -> None:
    data = _points(3)
    data["prices"] = [*reversed(data["prices"]), [data["prices"][0][0], 50_000]]
    series = parse_chart(data, timeframe="1d", now=NOW)
    assert [point.usd_cents for point in series.points] == [5_000_000, 4_499_900, 4_500_000]
    assert series.points[-1].at == NOW


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"prices": None},
        {"prices": []},
        _points(1),
        _points(5_001),
        _points(prices=[[1, 2], [3]]),
        _points(prices=[[None, 2], [3, 4]]),
        _points(prices=[[Decimal("1.5"), 2], [3, 4]]),
        _points(prices=[[True, 2], [3, 4]]),
        _points(prices=[[10**25, 2], [-(10**25), 4]]),
        _points(prices=[*_points(2)["prices"], [int(NOW.timestamp() * 1000) - 1, "45000"]]),
        _points(prices=[*_points(2)["prices"], [int(NOW.timestamp() * 1000) - 1, 0]]),
        _points(prices=[*_points(2)["prices"], [int(NOW.timestamp() * 1000) + 301_000, 1]]),
        _points(prices=[*_points(2)["prices"], [1_000_000_000_000, 45_000]]),
    ],
)
def test_a_doubtful_chart_is_refused_whole(data: object) -> None:
    with pytest.raises(ProviderError):
        parse_chart(data, timeframe="1d", now=NOW)


@pytest.mark.parametrize("junk", [None, [], [1], [None, 1], [1, None], "x"])
def test_unusable_points_are_left_out_up_to_a_tenth(junk: object) -> None:
    data = _points(18)
    data["prices"] += [junk, junk]
    assert len(parse_chart(data, timeframe="1d", now=NOW).points) == 18
    data["prices"].append(junk)
    with pytest.raises(AnswerRefused):
        parse_chart(data, timeframe="1d", now=NOW)


def test_a_chart_that_ends_long_ago_is_refused() -> None:
    with pytest.raises(ProviderError, match="s old"):
        parse_chart(_points(), timeframe="1d", now=NOW + timedelta(hours=2))
    assert parse_chart(_points(), timeframe="365d", now=NOW + timedelta(hours=2)).points


@pytest.mark.parametrize(
    ("timeframe", "count"), [("1d", 289), ("7d", 169), ("30d", 721), ("90d", 2161), ("365d", 366)]
)
def test_each_timeframe_comes_over_http_with_coingeckos_granularity(
    coingecko: CoinGecko, timeframe: str, count: int
) -> None:
    series = coingecko.fetch_chart(timeframe)
    assert abs(len(series.points) - count) <= 1
    days = (series.points[-1].at - series.points[0].at).total_seconds() / 86_400
    assert TIMEFRAMES[timeframe] - 1 < days <= TIMEFRAMES[timeframe]


def test_a_price_of_the_simulator_says_so(coingecko: CoinGecko, simulator: Simulator) -> None:
    simulator.set(price=65_000.25)
    quote = coingecko.fetch_price()
    assert (quote.source, quote.btc_usd_cents) == ("simulator", 6_500_025)


@pytest.mark.parametrize(
    ("base_url", "header"),
    [
        ("https://api.coingecko.com/api/v3", "x-cg-demo-api-key"),
        ("https://pro-api.coingecko.com/api/v3/", "x-cg-pro-api-key"),
    ],
)
def test_the_key_goes_out_under_the_header_of_its_plan(base_url: str, header: str) -> None:
    class Recorder(HttpClient):
        def get_json(self, url: str, **options: Any) -> Any:
            raise ProviderError(f"{url} {options['headers']}")

    with pytest.raises(ProviderError) as sent:
        CoinGecko(base_url, http=Recorder(pauses=PausesInMemory()), api_key="CG-1").fetch_price()
    assert sent.value.message == f"{base_url.rstrip('/')}/coins/markets {{'{header}': 'CG-1'}}"
