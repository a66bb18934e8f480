"""What of Coinbase's and Kraken's answers is believed, and what it becomes. The samples have the documented shapes."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bittrade.domain.pricing import MAX_AHEAD, believed_as_of
from bittrade.errors import AnswerRefused
from bittrade.providers import PriceSource, coinbase, kraken
from bittrade.providers.coinbase import Coinbase
from bittrade.providers.http import HttpClient, strict_json
from bittrade.providers.kraken import Kraken
from dev.simulator import Simulator

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
COINBASE = {
    "ask": "45000.13",
    "bid": "45000.11",
    "volume": "5471.22",
    "trade_id": 836292,
    "price": "45000.125",
    "size": "0.0007",
    "time": "2026-01-01T11:59:30.123456789Z",
    "rfq_volume": "12.03",
}
TRADE = ["45000.12500", "0.00100000", Decimal("1767268770.1234567"), "b", "l", "", 61044952]
KRAKEN = {"error": [], "result": {"XXBTZUSD": [TRADE], "last": "1767268770123456789"}}
TEXTS_THAT_ARE_NO_PRICE = [
    None, 45000, Decimal(45000), True, "", "0", "0.001", "-1", "+1", "1e5", "NaN", "Infinity", " 45000", "45,000",
    "45000.", ".5", "٤٥٠٠٠", "10000001", "9" * 13, [], {},
]  # fmt: skip


def _kraken(price: object = "45000", at: object = Decimal("1767268770.5")) -> dict[str, Any]:
    return {"error": [], "result": {"XXBTZUSD": [[price, "1", at, "b", "l", "", 1]], "last": "1"}}


def test_coinbase_gives_a_price_in_cents_and_the_time_of_the_trade() -> None:
    quote = coinbase.parse_price(COINBASE, now=NOW)
    assert (quote.btc_usd_cents, quote.source) == (4_500_013, "coinbase")
    assert quote.as_of == datetime(2026, 1, 1, 11, 59, 30, 123_456, tzinfo=UTC)
    assert quote.market_cap_usd is None


def test_kraken_gives_the_newest_trade() -> None:
    older = ["1.00000", "1", Decimal(1767268000), "b", "l", "", 1]
    data = {"error": [], "result": {"XXBTZUSD": [older, TRADE], "last": "1"}}
    quote = kraken.parse_price(data, now=NOW)
    assert (quote.btc_usd_cents, quote.source) == (4_500_013, "kraken")
    assert abs(quote.as_of - datetime(2026, 1, 1, 11, 59, 30, 123_456, tzinfo=UTC)) < timedelta(
        milliseconds=1
    )


def test_kraken_s_time_survives_our_own_json_parser() -> None:
    text = json.dumps(KRAKEN, default=float)
    assert kraken.parse_price(strict_json(text.encode()), now=NOW).as_of.year == 2026


@pytest.mark.parametrize("price", TEXTS_THAT_ARE_NO_PRICE)
def test_a_doubtful_price_is_refused(price: object) -> None:
    with pytest.raises(AnswerRefused, match="coinbase: a price"):
        coinbase.parse_price(COINBASE | {"price": price}, now=NOW)
    with pytest.raises(AnswerRefused, match="kraken: a price"):
        kraken.parse_price(_kraken(price), now=NOW)


@pytest.mark.parametrize(
    "time",
    [
        None,
        "",
        1767268770,
        "yesterday",
        "2026-01-01T11:59:30+00:00",
        "2026-01-01T11:54:59Z",
        "2026-01-01T12:05:01Z",
    ],
)
def test_a_time_of_coinbase_that_is_missing_old_or_of_the_future_is_refused(time: object) -> None:
    with pytest.raises(AnswerRefused):
        coinbase.parse_price(COINBASE | {"time": time}, now=NOW)


@pytest.mark.parametrize(
    "at", [None, "1767268770", True, 0, -1, 10**12, 1767268770 - 300, 1767269110, Decimal("1e10")]
)
def test_a_time_of_kraken_that_is_missing_old_or_of_the_future_is_refused(at: object) -> None:
    with pytest.raises(AnswerRefused):
        kraken.parse_price(_kraken(at=at), now=NOW)


@pytest.mark.parametrize("data", [None, [], {}, "x", {"message": "NotFound"}])
def test_an_answer_of_coinbase_without_a_price_is_refused(data: object) -> None:
    with pytest.raises(AnswerRefused):
        coinbase.parse_price(data, now=NOW)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"error": ["EGeneral:Too many requests"]},
        {"error": ["EService:Unavailable"], "result": KRAKEN["result"]},
        {"result": KRAKEN["result"]},
        {"error": [], "result": {}},
        {"error": [], "result": {"last": "1"}},
        {"error": [], "result": {"XXBTZUSD": [], "last": "1"}},
        {"error": [], "result": {"XXBTZUSD": [["1"]], "last": "1"}},
        {"error": [], "result": {"XXBTZUSD": [TRADE], "XETHZUSD": [TRADE], "last": "1"}},
        {"error": [], "result": [TRADE]},
    ],
)
def test_an_answer_of_kraken_without_exactly_our_trades_is_refused(data: object) -> None:
    with pytest.raises(AnswerRefused):
        kraken.parse_price(data, now=NOW)


def test_a_warning_of_kraken_beside_a_result_is_no_failure() -> None:
    data = {"error": ["WGeneral:Be warned"], "result": {"XXBTZUSD": [TRADE], "last": "1"}}
    assert kraken.parse_price(data, now=NOW).btc_usd_cents > 0
    for message in ("EGeneral:Internal error", "", None):
        with pytest.raises(AnswerRefused, match="reports an error"):
            kraken.parse_price({**data, "error": ["WGeneral:Be warned", message]}, now=NOW)


def test_a_clock_a_little_ahead_is_believed_but_gains_nothing() -> None:
    ahead = coinbase.parse_price(COINBASE | {"time": "2026-01-01T12:00:04Z"}, now=NOW)
    assert believed_as_of(ahead.as_of, NOW) == NOW - MAX_AHEAD
    with pytest.raises(AnswerRefused, match="of the future"):
        coinbase.parse_price(COINBASE | {"time": "2026-01-01T12:00:06Z"}, now=NOW)


@pytest.mark.parametrize("ending", ["", "/"])
def test_both_come_over_http_and_a_simulated_price_says_so(
    simulator: Simulator, http: HttpClient, ending: str
) -> None:
    simulator.set(price=65_000.25)
    sources: list[PriceSource] = [
        Coinbase(simulator.coinbase_url + ending, http=http),
        Kraken(simulator.kraken_url + ending, http=http),
    ]
    quotes = [source.fetch_price() for source in sources]
    assert [(quote.source, quote.btc_usd_cents) for quote in quotes] == [("simulator", 6_500_025)] * 2
    assert [source.name for source in sources] == ["coinbase", "kraken"]
