"""Every way in which an upstream can be slow, broken or a liar ends in a ProviderError, in time, and small."""

import socket
import time
from collections.abc import Callable

import pytest

from bittrade.errors import AnswerRefused, ProviderError
from bittrade.providers.alternative_me import AlternativeMe
from bittrade.providers.coinbase import Coinbase
from bittrade.providers.coingecko import CoinGecko
from bittrade.providers.http import HttpClient, PausesInMemory
from bittrade.providers.kraken import Kraken
from dev.simulator import MODES, Simulator

Fetch = Callable[[], object]

# mode → a word of the reason that the operator reads
TRANSPORT = {
    "slow": "sent nothing for 0.3 s",
    "429": "answered 429",
    "500": "answered 500",
    "302": "redirects are not followed",
    "refuse": "cannot be reached",
    "empty": "empty body",
    "html": "did not send JSON",
    "truncated": "broke off",
    "huge": "sent more than 1000000 bytes",
    "drip": "did not finish within 0.6 s",
    "drip_headers": "did not finish within 0.6 s",
    "gzip_bomb": "sent more than 1000000 bytes",
}
# A figure that is no JSON number at all; exchanges send text, so theirs is only no price.
NUMBER_LIES = {"nan": "not finite|not a number", "1e400": "not a number"}
PRICE_LIES = {
    "negative": "between 1 cent and|not a number",
    "zero": "between 1 cent and",
    "text": "not a number",
    "times_1000": "between 1 cent and",
    "missing_coin": "missing|no prices|no price of|reports an error",
    "old_timestamp": "s old",
    "ahead": "of the future",
}
SENTIMENT_LIES = {
    "negative": "unreadable",
    "text": "unreadable",
    "times_1000": "unreadable",
    "missing_coin": "no reading",
    "old_timestamp": "not of these days",
}


@pytest.fixture(params=["price", "chart", "sentiment", "coinbase", "kraken"])
def feed(
    request: pytest.FixtureRequest,
    coingecko: CoinGecko,
    alternative_me: AlternativeMe,
    simulator: Simulator,
    http: HttpClient,
) -> tuple[str, Fetch]:
    fetches: dict[str, Fetch] = {
        "coinbase": Coinbase(simulator.coinbase_url, http=http).fetch_price,
        "kraken": Kraken(simulator.kraken_url, http=http).fetch_price,
        "price": coingecko.fetch_price,
        "chart": lambda: coingecko.fetch_chart("1d"),
        "sentiment": alternative_me.fetch_sentiment,
    }
    return request.param, fetches[request.param]


@pytest.mark.parametrize("mode", TRANSPORT)
def test_a_broken_upstream_is_one_failed_fetch_that_ends_in_time(
    feed: tuple[str, Fetch], mode: str, simulator: Simulator
) -> None:
    name, fetch = feed
    simulator.set(mode, path=name, seconds=0.05 if mode.startswith("drip") else 50)
    began = time.monotonic()
    with pytest.raises(ProviderError, match=TRANSPORT[mode]):
        fetch()
    assert time.monotonic() - began < 45
    assert simulator.requests(name) == 1


@pytest.mark.parametrize(("mode", "reason"), NUMBER_LIES.items())
@pytest.mark.parametrize("feed", ["price", "sentiment", "coinbase", "kraken"], indirect=True)
def test_a_figure_that_is_no_number_is_refused(
    feed: tuple[str, Fetch], mode: str, reason: str, simulator: Simulator
) -> None:
    name, fetch = feed
    simulator.set(mode, path=name)
    with pytest.raises(AnswerRefused, match=reason + "|unreadable"):
        fetch()


@pytest.mark.parametrize(("mode", "reason"), PRICE_LIES.items())
@pytest.mark.parametrize("feed", ["price", "coinbase", "kraken"], indirect=True)
def test_a_price_that_cannot_be_true_is_refused(
    feed: tuple[str, Fetch], mode: str, reason: str, simulator: Simulator
) -> None:
    name, fetch = feed
    simulator.set(mode, path=name, seconds=60)
    with pytest.raises(ProviderError, match=reason):
        fetch()


@pytest.mark.parametrize("mode", ["1e400", "negative", "zero", "text"])
def test_one_unusable_point_does_not_cost_a_chart(
    mode: str, simulator: Simulator, coingecko: CoinGecko
) -> None:
    simulator.set(mode, path="chart")
    assert len(coingecko.fetch_chart("1d").points) > 200


@pytest.mark.parametrize("mode", ["missing_coin", "old_timestamp"])
def test_a_chart_that_cannot_be_true_is_refused(
    mode: str, simulator: Simulator, coingecko: CoinGecko
) -> None:
    simulator.set(mode, path="chart")
    with pytest.raises(AnswerRefused, match=PRICE_LIES[mode]):
        coingecko.fetch_chart("1d")


@pytest.mark.parametrize(("mode", "reason"), SENTIMENT_LIES.items())
def test_a_sentiment_that_cannot_be_true_is_refused(
    mode: str, reason: str, simulator: Simulator, alternative_me: AlternativeMe
) -> None:
    simulator.set(mode, path="sentiment")
    with pytest.raises(ProviderError, match=reason):
        alternative_me.fetch_sentiment()


def test_every_mode_of_the_simulator_is_tried_here() -> None:
    # "status" is 429, 500 and 302; "stuck" is told by its age and "jump" by the price before it: tests/market
    believable = {"normal", "status", "stuck", "jump", "factor", "as_html"}
    tried = (TRANSPORT.keys() - {"429", "500", "302"}) | PRICE_LIES.keys() | NUMBER_LIES.keys()
    assert set(MODES) == believable | tried


def test_a_stuck_upstream_repeats_its_quote_with_its_old_time(
    simulator: Simulator, coingecko: CoinGecko
) -> None:
    simulator.set("stuck", path="price")
    assert coingecko.fetch_price() == coingecko.fetch_price()


def test_the_reason_never_contains_the_body(simulator: Simulator, alternative_me: AlternativeMe) -> None:
    simulator.set("html")
    with pytest.raises(ProviderError) as failure:
        alternative_me.fetch_sentiment()
    assert "moment" not in failure.value.message
    assert failure.value.message == "alternative.me: did not send JSON"


def test_a_closed_port_is_a_provider_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    http = HttpClient(attempts=1, pauses=PausesInMemory())
    with pytest.raises(ProviderError, match="cannot be reached"):
        CoinGecko(f"http://127.0.0.1:{port}/api/v3", http=http).fetch_price()
