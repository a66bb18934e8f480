"""Prices: which are kept, who is told, and what the cache holds."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
import redis
import sqlalchemy as sa
from flask import Flask

from bittrade import cache, unit_of_work, wire
from bittrade.domain.pricing import ChartPoint, ChartSeries, SentimentReading
from bittrade.errors import AnswerRefused, InvalidTimeframe, NoData, ProviderError
from bittrade.extensions import db, own_name
from bittrade.models import BitcoinChartData, BitcoinData, BitcoinSentiment
from bittrade.services import market, settings
from tests.fixtures import add_prices, dollars, key_of, together

pytestmark = pytest.mark.usefixtures("inside")


@pytest.fixture
def told(inside: Flask, redis_url: str) -> "Listener":
    """What web processes would hear."""
    return Listener(redis_url, inside.config["INSTALLATION_ID"])


class Listener:
    """Hears the sockets' messages as a web process does: from Redis."""

    def __init__(self, url: str, installation: str) -> None:
        self._channel = own_name(installation, "socket-events")
        self._pubsub = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(self._channel)
        # The subscription stands once a message to ourselves arrives.
        self._marks = redis.Redis.from_url(url)
        self.events()

    def events(self) -> list[str]:
        """Names of the events since the last call."""
        self._marks.publish(self._channel, "mark")
        names: list[str] = []
        while True:
            message = self._pubsub.get_message(timeout=60)
            if message is None:
                continue
            if message["data"] == b"mark":
                return names
            names += [name for name in ("btc_price_update",) if name.encode() in message["data"]]


def count(model: type) -> int:
    with db.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(model.__table__)) or 0


def test_the_first_price_is_kept_and_told(told: Listener) -> None:
    assert market.record_price(dollars(45_000)) is True
    assert told.events() == ["btc_price_update"]
    current = market.get_current()
    assert (current["btc_usd_price"], current["buy_rate_inr"], current["sell_rate_inr"]) == (
        45_000,
        4_095_000,
        3_960_000,
    )
    assert current["stale"] is False


def test_a_price_that_makes_the_same_rates_is_kept_but_not_told(told: Listener) -> None:
    market.record_price(dollars(45_000, age_s=30))
    assert market.record_price(dollars(45_000)) is False
    assert told.events() == ["btc_price_update"]
    assert count(BitcoinData) == 2


def test_a_changed_price_is_told(told: Listener) -> None:
    market.record_price(dollars(45_000, age_s=30))
    assert market.record_price(dollars(45_010)) is True
    assert told.events() == ["btc_price_update", "btc_price_update"]
    assert market.get_rates()["btc_usd_price"] == 45_010


def test_a_quote_that_was_overtaken_is_ignored() -> None:
    market.record_price(dollars(45_000))
    assert market.record_price(dollars(46_000, age_s=60)) is False
    assert count(BitcoinData) == 1
    assert market.get_rates()["btc_usd_price"] == 45_000


def test_the_same_quote_twice_is_kept_once() -> None:
    quote = dollars(45_000, age_s=5)
    market.record_price(quote)
    assert market.record_price(quote) is False
    assert count(BitcoinData) == 1


@pytest.mark.parametrize("ahead_s", [10, 200, 3600])
def test_a_time_in_the_future_is_no_price(ahead_s: float) -> None:
    with pytest.raises(AnswerRefused, match="of the future"):
        market.record_price(dollars(45_000, age_s=-ahead_s))
    assert count(BitcoinData) == 0


def test_a_clock_that_is_a_little_ahead_makes_no_price_fresher() -> None:
    market.record_price(dollars(45_000, age_s=-3))
    assert market.get_current()["age_ms"] >= 5_000
    assert market.record_price(dollars(45_010, age_s=2)) is True


def test_a_price_that_our_own_clock_dated_ahead_is_stale_and_hides_no_later_one() -> None:
    market.record_price(dollars(45_000))
    ahead = wire.now() + timedelta(hours=1)
    with db.engine.begin() as connection:
        connection.execute(sa.update(BitcoinData).values(as_of=ahead, created_at=ahead))
    assert (market.find_price_age_ms() or 0) > 3_500_000
    with unit_of_work.reading() as session:
        assert market.trading_state(session, wire.now()) == "no_price"
        assert market.is_price_neglected() is True
    assert market.record_price(dollars(45_010)) is True
    assert market.list_history(1)[0]["btc_usd_price"] == 45_010
    with unit_of_work.reading() as session:
        assert market.price_for_trade(session, wire.now()).btc_usd_cents == 45_010_00


def test_the_cache_holds_the_newest_price_for_at_most_a_minute(inside: Flask, redis_url: str) -> None:
    market.record_price(dollars(45_000))
    with redis.Redis.from_url(redis_url) as client:
        assert 30 < client.ttl(key_of(inside, "latest_btc_price")) <= 60
    assert market.get_current()["cached"] is True


def test_one_shape_whether_from_the_cache_or_the_database(redis_url: str) -> None:
    market.record_price(dollars(45_000))
    with redis.Redis.from_url(redis_url) as client:
        for read in (market.get_current, market.get_rates):
            client.flushdb()
            missed, hit = read(), read()
            assert (missed.pop("cached"), hit.pop("cached")) == (False, True)
            for clock in ("age_ms", "timestamp"):
                assert type(missed.pop(clock, "")) is type(hit.pop(clock, ""))
            assert missed == hit


def test_an_old_price_says_that_it_is_stale() -> None:
    market.record_price(dollars(45_000, age_s=91))
    current = market.get_current()
    assert current["stale"] is True
    assert 91_000 <= current["age_ms"] < 151_000


def test_a_price_from_the_simulator_says_so() -> None:
    market.record_price(dollars(45_000, source="simulator"))
    assert market.get_rates()["source"] == "simulator"


def test_before_the_first_price_there_is_no_data() -> None:
    with pytest.raises(NoData, match="No Bitcoin data found"):
        market.get_current()
    assert set(market.read_news()) == {"market_status"}
    assert market.find_price_age_ms() is None
    assert market.list_history(10) == []


def test_the_simulator_is_no_source_in_production(inside: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inside.config, "IS_PRODUCTION", True)
    with pytest.raises(ProviderError):
        market.record_price(dollars(45_000, source="simulator"))


def test_history_is_newest_first(inside: Flask) -> None:
    add_prices(inside, *range(45_000, 45_005))
    assert [row["btc_usd_price"] for row in market.list_history(3)] == [45_004, 45_003, 45_002]


def test_a_change_of_the_multipliers_is_in_the_very_next_answer(told: Listener) -> None:
    market.record_price(dollars(45_000))
    settings.set_setting("buy_multiplier", "92")
    market.publish_rates()
    assert told.events() == ["btc_price_update", "btc_price_update"]
    assert market.get_rates()["buy_rate_inr"] == 4_140_000


def test_prices_that_race_leave_the_newest_in_the_cache_and_the_database(inside: Flask) -> None:
    quotes = [dollars(45_000 + step, age_s=20 - step) for step in range(10)]

    def record(number: int) -> None:
        with inside.app_context():
            market.record_price(quotes[number])

    together(10, record)
    assert market.list_history(1)[0]["btc_usd_price"] == 45_009
    with db.engine.connect() as connection:
        times = connection.scalars(sa.select(BitcoinData.as_of).order_by(BitcoinData.id)).all()
    assert times == sorted(times)


# --- Sentiment and charts -----------------------------------------------------------------------------------------


def series(timeframe: str = "1d", *prices: int) -> ChartSeries:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    values = prices or (4_400_000, 4_450_050, 4_500_000)
    return ChartSeries(
        timeframe,
        tuple(ChartPoint(start + timedelta(hours=hour), cents) for hour, cents in enumerate(values)),
    )


def test_a_chart_is_kept_once_for_each_timeframe_and_the_newest_wins() -> None:
    market.record_chart(series("1d", 100_00))
    market.record_chart(series("1d"))
    market.record_chart(series("7d"))
    assert count(BitcoinChartData) == 2
    chart = market.get_chart("1d")
    assert chart["price_data"][1] == {"timestamp": "2026-01-01T01:00:00.000Z", "price": 44_500.5}
    assert chart["data_points_count"] == 3
    assert chart["price_change_pct"] == 2.27
    assert (chart["date_from"], chart["date_to"]) == ("2026-01-01T00:00:00.000Z", "2026-01-01T02:00:00.000Z")


# By hand, from the specification: a test that reads the program's own table cannot fail.
CHART_LIFETIMES_S = {"1d": 3600, "7d": 6 * 3600, "30d": 12 * 3600, "90d": 18 * 3600, "365d": 24 * 3600}


def lifetime_s(app: Flask, redis_url: str, name: str) -> int:
    with redis.Redis.from_url(redis_url) as client:
        left: int = client.ttl(key_of(app, name))
        return left


@pytest.mark.parametrize("timeframe", CHART_LIFETIMES_S)
def test_a_chart_is_cached_for_its_stated_time(inside: Flask, timeframe: str, redis_url: str) -> None:
    stated_s = CHART_LIFETIMES_S[timeframe]
    market.record_chart(series(timeframe))
    assert stated_s - 60 < lifetime_s(inside, redis_url, f"chart_data_{timeframe}") <= stated_s
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    market.get_chart(timeframe)  # filled by who asked, it lives as long
    assert stated_s - 60 < lifetime_s(inside, redis_url, f"chart_data_{timeframe}") <= stated_s


def test_the_sentiment_is_cached_for_a_day(inside: Flask, redis_url: str) -> None:
    market.record_sentiment(SentimentReading(72, "Greed", date(2026, 1, 2)))
    day_s = 24 * 3600
    assert day_s - 60 < lifetime_s(inside, redis_url, "bitcoin_sentiment") <= day_s
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    market.get_sentiment()
    assert day_s - 60 < lifetime_s(inside, redis_url, "bitcoin_sentiment") <= day_s


@pytest.mark.parametrize(("name", "stated_ms"), [("candles_1m", 5_000), ("market_status", 1_000)])
def test_what_changes_by_itself_is_cached_for_no_longer_than_stated(
    inside: Flask, redis_url: str, name: str, stated_ms: int
) -> None:
    market.record_price(dollars(45_000))
    market.get_candles("1m", 5)
    market.get_status()
    with redis.Redis.from_url(redis_url) as client:
        left = client.pttl(key_of(inside, name))
    assert left <= stated_ms  # -2: gone already, which is as good
    assert left != -1  # for ever


def test_a_chart_has_one_shape_whether_from_the_cache_or_the_database(redis_url: str) -> None:
    market.record_chart(series())
    hit = market.get_chart("1d")
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    missed = market.get_chart("1d")
    assert (hit.pop("cached"), missed.pop("cached")) == (True, False)
    assert hit == missed


@pytest.mark.parametrize("timeframe", ["", "1", "1D", "2d", "365", "1d ", "１d", "../1d", "1d\x00"])
def test_a_timeframe_that_is_not_one_is_refused(timeframe: str) -> None:
    with pytest.raises(InvalidTimeframe):
        market.get_chart(timeframe)


def test_a_day_has_one_sentiment_and_the_newest_reading_wins(redis_url: str) -> None:
    day = date(2026, 1, 2)
    market.record_sentiment(SentimentReading(20, "Fear", day))
    market.record_sentiment(SentimentReading(72, "Greed", day))
    market.record_sentiment(SentimentReading(50, "Neutral", day - timedelta(days=1)))
    assert count(BitcoinSentiment) == 2
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    sentiment = market.get_sentiment()
    assert (
        sentiment["fear_greed_value"],
        sentiment["fear_greed_classification"],
        sentiment["data_date"],
    ) == (
        72,
        "Greed",
        "2026-01-02",
    )


def test_yesterday_s_sentiment_that_arrives_late_does_not_hide_today_s() -> None:
    day = date(2026, 1, 2)
    market.record_sentiment(SentimentReading(72, "Greed", day))
    market.record_sentiment(SentimentReading(50, "Neutral", day - timedelta(days=1)))
    assert market.get_sentiment()["data_date"] == "2026-01-02"


def test_everything_is_missing_at_first_and_nothing_once_it_was_recorded() -> None:
    assert market.list_missing() == ["price", "sentiment", "1d", "7d", "30d", "90d", "365d"]
    market.record_price(dollars(45_000))
    market.record_sentiment(SentimentReading(72, "Greed", date(2026, 1, 2)))
    for timeframe in cache.CHART_TTL_S:
        market.record_chart(series(timeframe))
    assert market.list_missing() == []


def test_a_broadcast_that_fails_does_not_undo_the_price(
    inside: Flask, new_app: Callable[..., Flask], nobody_listens: int
) -> None:
    deaf = new_app(REDIS_URL=f"redis://127.0.0.1:{nobody_listens}/0")
    with deaf.app_context():
        assert market.record_price(dollars(45_000)) is True
        assert market.get_current()["cached"] is False
