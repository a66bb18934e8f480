"""What of alternative.me's answers is believed, and what it becomes."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from bittrade.domain.pricing import SentimentReading
from bittrade.errors import ProviderError
from bittrade.providers.alternative_me import AlternativeMe, parse_sentiment
from bittrade.providers.http import HttpClient
from dev.simulator import Simulator

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
MIDNIGHT = str(int(datetime(2026, 1, 2, tzinfo=UTC).timestamp()))


def _answer(**changes: Any) -> dict[str, Any]:
    reading = {
        "value": "72",
        "value_classification": "Greed",
        "timestamp": MIDNIGHT,
        "time_until_update": "43200",
    }
    return {"name": "Fear and Greed Index", "data": [reading | changes], "metadata": {"error": None}}


def test_numbers_arrive_as_strings() -> None:
    assert parse_sentiment(_answer(), now=NOW) == SentimentReading(72, "Greed", date(2026, 1, 2))


@pytest.mark.parametrize("value", ["0", "100", 0, 100])
def test_the_whole_scale_is_believed(value: object) -> None:
    assert parse_sentiment(_answer(value=value), now=NOW).value == int(str(value))


@pytest.mark.parametrize(
    "value", [None, "", "-1", "101", "7.5", "1_0", " 7", "٧", "1e1", True, [], 101, -1, "9" * 5000]
)
def test_a_value_off_the_scale_is_refused(value: object) -> None:
    with pytest.raises(ProviderError):
        parse_sentiment(_answer(value=value), now=NOW)


@pytest.mark.parametrize("classification", [None, "", 7, "x" * 51, "<b>Greed</b>", "Greed\n", "Gier\x00"])
def test_a_classification_that_no_page_should_show_is_refused(classification: object) -> None:
    with pytest.raises(ProviderError, match="classification"):
        parse_sentiment(_answer(value_classification=classification), now=NOW)


@pytest.mark.parametrize(
    "timestamp", [None, "", "0", "1600000000", "9999999999", "99999999999", "2026-01-02", -1]
)
def test_a_reading_that_is_not_of_these_days_is_refused(timestamp: object) -> None:
    with pytest.raises(ProviderError):
        parse_sentiment(_answer(timestamp=timestamp), now=NOW)


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"data": []}, {"data": [None]}, {"data": {}}, _answer() | {"metadata": {"error": "down"}}],
)
def test_an_answer_without_a_reading_is_refused(data: object) -> None:
    with pytest.raises(ProviderError):
        parse_sentiment(data, now=NOW)


@pytest.mark.parametrize("ending", ["", "/"])
def test_the_base_url_works_with_and_without_its_slash(
    simulator: Simulator, http: HttpClient, ending: str
) -> None:
    reading = AlternativeMe(simulator.sentiment_url + ending, http=http).fetch_sentiment()
    assert 0 <= reading.value <= 100
    assert reading.data_date == datetime.now(UTC).date()
