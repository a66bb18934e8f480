"""alternative.me: the Fear & Greed index, one reading a day.

`fetch_sentiment` crosses the network, `parse_sentiment` is pure; neither knows the database or Flask. The wire format
carries every number as a string.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from bittrade.domain.pricing import SentimentReading
from bittrade.errors import AnswerRefused
from bittrade.providers.http import HttpClient

SOURCE = "alternative.me"
MAX_FUTURE = timedelta(minutes=5)
MAX_AGE = timedelta(days=3)  # a reading is dated midnight and may be a day late
CLASSIFICATION = re.compile(r"[A-Za-z][A-Za-z &-]{0,49}", re.ASCII)


class AlternativeMe:
    """The client for one base URL, with or without its trailing slash."""

    def __init__(self, base_url: str, *, http: HttpClient) -> None:
        # Without the slash the server redirects, and we follow no redirects.
        self._url = base_url.rstrip("/") + "/"
        self._http = http

    def fetch_sentiment(self) -> SentimentReading:
        """Fetch the latest reading. Raises ProviderError."""
        answer = self._http.get_json(self._url, source=SOURCE, params={"limit": "1"})
        return parse_sentiment(answer.data, now=answer.received_at)


def parse_sentiment(data: Any, *, now: datetime) -> SentimentReading:
    """Validate an answer of `/fng/`. Raises AnswerRefused."""
    if not isinstance(data, dict):
        raise AnswerRefused(f"{SOURCE}: the answer is not an object")
    metadata = data.get("metadata")
    if isinstance(metadata, dict) and metadata.get("error") is not None:
        raise AnswerRefused(f"{SOURCE}: reports an error")
    readings = data.get("data")
    if not isinstance(readings, list) or not readings or not isinstance(readings[0], dict):
        raise AnswerRefused(f"{SOURCE}: there is no reading")
    latest = readings[0]
    value = _integer(latest.get("value"), max_digits=3)
    if value > 100:
        raise AnswerRefused(f"{SOURCE}: the index is not between 0 and 100")
    classification = latest.get("value_classification")
    if not isinstance(classification, str) or not CLASSIFICATION.fullmatch(classification):
        raise AnswerRefused(f"{SOURCE}: the classification is missing or unreadable")
    at = datetime.fromtimestamp(_integer(latest.get("timestamp"), max_digits=10), UTC)
    if not now - MAX_AGE <= at <= now + MAX_FUTURE:
        raise AnswerRefused(f"{SOURCE}: the reading is not of these days")
    return SentimentReading(value=value, classification=classification, data_date=at.date())


def _integer(value: Any, *, max_digits: int) -> int:
    """A whole number that arrives as text, or as a JSON integer should the format ever be mended."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not re.fullmatch(rf"[0-9]{{1,{max_digits}}}", text, re.ASCII):
        raise AnswerRefused(f"{SOURCE}: a number is missing or unreadable")
    return int(text)
