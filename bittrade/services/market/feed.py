"""Fetching: asks the sources in turn, and hands what they say to `sanity` or `data`.

No unit of work is open while a source is asked.
"""

import logging
import time
from dataclasses import dataclass, field

from flask import current_app

from bittrade import wire
from bittrade.domain.pricing import PriceQuote, age_ms, believed_as_of
from bittrade.errors import AnswerRefused, BitTradeError, ProviderError, SourceNotAsked
from bittrade.providers import PriceSource, alternative_me, coinbase, coingecko, kraken
from bittrade.providers.alternative_me import AlternativeMe
from bittrade.providers.coinbase import Coinbase
from bittrade.providers.coingecko import CoinGecko
from bittrade.providers.http import HttpClient
from bittrade.providers.kraken import Kraken
from bittrade.services import halt
from bittrade.services.market import data as market_data
from bittrade.services.market import price as market_price
from bittrade.services.market import sanity as market_sanity
from bittrade.services.market import sources as market_sources
from bittrade.services.market.sanity import Verdict
from bittrade.services.market.sources import Gate

log = logging.getLogger(__name__)
# All sources together: the job is ended after 20 s. The first gets the most, and each later one at least 3 s.
PRICE_DEADLINE_S = 17.0
SOURCE_DEADLINE_S = 8.0
LEFT_FOR_EACH_S = 3.0
LEAST_S = 1.0  # with less there is no use in asking
# Parts of the age up to which a price is traded on. Older than the first: the next source is asked too. Older than the
# second: whoever gives such a price has failed. And when the newest price is older than the third, nobody fetches.
OLD_PART, USELESS_PART, NEGLECTED_PART = 1 / 3, 2 / 3, 0.5


def update_price() -> bool:
    """Fetch the price and record it; True when the rates changed. Raises ProviderError where no source gave one.

    One source is enough for a small move. For a larger one, for a held price, and regularly, all of them are asked.
    """
    round_ = _Round()
    names = market_sources.in_turn(list(current_app.config["PRICE_SOURCES"]))
    for number, name in enumerate(names):
        deadline_s = round_.deadline_s(sources_after=len(names) - number - 1)
        if deadline_s < LEAST_S:
            break
        if round_.needs(name):
            round_.ask(name, deadline_s)
    return round_.end()


@dataclass(slots=True)
class _Round:
    """One round of asking for the price."""

    began: float = field(default_factory=time.monotonic)
    failures: list[str] = field(default_factory=list)
    quotes: dict[str, PriceQuote] = field(default_factory=dict)
    doubts: dict[str, int] = field(default_factory=dict)  # what is held until all have been asked, by source
    is_enough: bool = False
    is_remarkable: bool = False
    is_check_due: bool = field(default_factory=market_sanity.is_check_due)

    def deadline_s(self, *, sources_after: int) -> float:
        left = PRICE_DEADLINE_S - (time.monotonic() - self.began)
        return min(SOURCE_DEADLINE_S, left - LEFT_FOR_EACH_S * sources_after)

    def needs(self, name: str) -> bool:
        """Return whether this source is still to be asked. A regular check leaves those alone whose breaker is open."""
        if self.is_remarkable or not self.is_enough:
            return True
        return self.is_check_due and not market_sources.is_open(name)

    def ask(self, name: str, deadline_s: float) -> None:
        gate = Gate(name, is_for_price=True)
        source = _price_source(name, HttpClient(deadline_s=deadline_s, pauses=gate, permit=gate.permit))
        try:
            quote = source.fetch_price()
            market_price.refuse_simulator(quote)
        except ProviderError as error:
            self._note(name, error)
            return
        self.quotes[name] = quote
        if not market_sanity.is_small_move(quote):
            self.is_remarkable = True
            self._hold_if_denied(name, quote)
        self.is_enough = self.is_enough or _age_s(quote) <= OLD_PART * _max_age_s()

    def _hold_if_denied(self, name: str, quote: PriceQuote) -> None:
        """The others may take their time: nothing is to be traded at a price that this source denies meanwhile."""
        if not self.doubts and (doubt := market_sanity.hold_if_denied(name, quote)) is not None:
            self.doubts[name] = doubt

    def _note(self, name: str, error: ProviderError) -> None:
        reason = error.message if error.message.startswith(name) else f"{name}: {error.message}"
        self.failures.append(reason)
        log.warning("price: %s", reason)
        _note_failure(name, reason, error, is_price=True)

    def end(self) -> bool:
        """Decide; whether the rates changed. Raises ProviderError where nothing can be used."""
        if not self.quotes:
            raise ProviderError("; ".join(self.failures) or "there was no time to ask any source")
        verdict = market_sanity.judge(self.quotes, self.doubts)
        if verdict.is_contradicted:
            _halt(self.quotes)
        if verdict.accepted is None:
            held = [f"{name}: the price is held until it is confirmed" for name in self.quotes]
            raise ProviderError("; ".join([*held, *self.failures]))
        for name, quote in self.quotes.items():
            _note_answer(name, quote, verdict, is_compared=len(self.quotes) > 1)
        return verdict.recorded is not None and market_price.publish(verdict.recorded)


def _note_answer(name: str, quote: PriceQuote, verdict: Verdict, *, is_compared: bool) -> None:
    """Note what a source's answer was worth."""
    drift = verdict.drift_bps(quote)
    if is_compared and drift is not None:
        market_sources.note_drift(name, drift)
    if name in verdict.outliers:
        market_sources.note_failure(name, f"{name}: its price was refuted by the other sources")
    elif (age_s := _age_s(quote)) > USELESS_PART * _max_age_s():
        market_sources.note_failure(name, f"{name}: its price is {age_s:.0f} s old")
    else:
        market_sources.note_success(name)


def _halt(quotes: dict[str, PriceQuote]) -> None:
    """Halt trading, once: most sources deny the price that we trade at. Who is right is for a person to decide."""
    if halt.find_reason() is None:
        prices = ", ".join(f"{name} {quote.btc_usd_cents / 100:.2f}" for name, quote in quotes.items())
        halt.halt_trading(f"price: most sources contradict the price in use: {prices}")


def _age_s(quote: PriceQuote) -> float:
    now = wire.now()
    return age_ms(believed_as_of(quote.as_of, now), now) / 1000


def _max_age_s() -> int:
    age_s: int = current_app.config["MAX_PRICE_AGE_S"]
    return age_s


def is_price_neglected() -> bool:
    """Whether the newest price is so old that its job cannot be running: Redis is away, or every worker is."""
    age = market_price.find_price_age_ms()
    return age is None or age > NEGLECTED_PART * _max_age_s() * 1000


def _note_failure(name: str, reason: str, error: ProviderError, *, is_price: bool) -> None:
    """A refusal of our own (the budget, a Retry-After that still runs) is not the source's failure."""
    if isinstance(error, SourceNotAsked):
        return
    market_sources.note_failure(name, reason)
    if is_price and isinstance(error, AnswerRefused):
        market_sanity.record_refusal(name, reason)


def _coingecko(http: HttpClient) -> CoinGecko:
    config = current_app.config
    return CoinGecko(config["COINGECKO_API_URL"], http=http, api_key=config["COINGECKO_API_KEY"])


def _price_source(name: str, http: HttpClient) -> PriceSource:
    config = current_app.config
    if name == coingecko.SOURCE:
        return _coingecko(http)
    if name == coinbase.SOURCE:
        return Coinbase(config["COINBASE_API_URL"], http=http)
    if name == kraken.SOURCE:
        return Kraken(config["KRAKEN_API_URL"], http=http)
    raise ValueError(f"there is no source {name}")


def find_inr_rate() -> int | None:
    """Fetch the market's rupees for a dollar, in units of 1 / MULTIPLIER_SCALE; None where the source does not say."""
    gate = Gate(coingecko.SOURCE, is_for_price=False)
    http = HttpClient(deadline_s=SOURCE_DEADLINE_S, attempts=1, pauses=gate, permit=gate.permit)
    try:
        return _coingecko(http).fetch_inr_rate()
    except ProviderError as error:
        log.warning("rupees for a dollar: %s", error.message)
        return None


def update_sentiment() -> None:
    """Fetch the sentiment and record it. Raises ProviderError."""
    gate = Gate(alternative_me.SOURCE, is_for_price=False)
    source = AlternativeMe(
        current_app.config["FEAR_GREED_API_URL"], http=HttpClient(pauses=gate, permit=gate.permit)
    )
    try:
        reading = source.fetch_sentiment()
    except ProviderError as error:
        _note_failure(gate.name, error.message, error, is_price=False)
        raise
    market_data.record_sentiment(reading)
    market_sources.note_success(gate.name)


def update_chart(timeframe: str) -> None:
    """Fetch one chart and record it. Raises ProviderError; SourceNotAsked while the source's breaker is open."""
    if market_sources.is_open(coingecko.SOURCE):
        raise SourceNotAsked(f"{coingecko.SOURCE}: left alone after several failures")
    gate = Gate(coingecko.SOURCE, is_for_price=False)
    config = current_app.config
    source = CoinGecko(
        config["COINGECKO_API_URL"],
        http=HttpClient(pauses=gate, permit=gate.permit),
        api_key=config["COINGECKO_API_KEY"],
    )
    try:
        series = source.fetch_chart(timeframe)
    except ProviderError as error:
        _note_failure(gate.name, error.message, error, is_price=False)
        raise
    market_data.record_chart(series)
    market_sources.note_success(gate.name)


def fill_missing() -> list[str]:
    """Fetch whatever has never come or is overdue: a fresh install, or an upstream that was away at its hour."""
    filled: list[str] = []
    failed: set[str] = set()
    for name in market_data.list_missing():
        kind = name if name in ("price", "sentiment") else "chart"
        if kind in failed:
            continue  # one chart that hangs is enough: this worker has prices to fetch
        try:
            _fill(name)
            filled.append(name)
        except BitTradeError as error:
            failed.add(kind)
            log.warning("could not fill %s: %s", name, error.message)
    return filled


def _fill(name: str) -> None:
    if name == "price":
        update_price()
    elif name == "sentiment":
        update_sentiment()
    else:
        update_chart(name)
