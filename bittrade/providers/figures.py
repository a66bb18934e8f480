"""Reading figures and times out of parsed JSON: strictly, because whatever is doubtful here could become a trade.

Pure; every refusal is AnswerRefused and names the source. Numbers are int or Decimal (`http.strict_json` makes no float).
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from bittrade.domain.pricing import MAX_AHEAD, cents
from bittrade.errors import AnswerRefused
from bittrade.providers.http import Answer

SIMULATOR = "simulator"
MAX_BTC_USD = Decimal(10_000_000)  # a hundred times today's price: beyond it the figure is a mistake
MAX_QUOTE_AGE = timedelta(minutes=5)
ISO_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
PLAIN_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,18})?", re.ASCII)


def source_of(answer: Answer, name: str) -> str:
    """What a price of this answer says it is from: the simulator must never pass for the real thing."""
    return SIMULATOR if answer.server.startswith("bittrade-simulator") else name


def decimal(value: Any) -> Decimal | None:
    """A JSON number as Decimal; None for everything else. True is an int in Python, but no price."""
    return Decimal(value) if type(value) is int or isinstance(value, Decimal) else None


def decimal_text(value: Any) -> Decimal | None:
    """A plain decimal that arrives as text, as exchanges send theirs; no exponent, no sign, no NaN."""
    if not isinstance(value, str) or not PLAIN_DECIMAL.fullmatch(value):
        return None
    try:
        return Decimal(value)
    except InvalidOperation:
        return None


def price_cents(price: Decimal | None, *, source: str) -> int:
    """A price in whole cents. Raises AnswerRefused for none, and beyond 1 cent to MAX_BTC_USD."""
    if price is None:
        raise AnswerRefused(f"{source}: a price is missing or not a number")
    if not 0 < price <= MAX_BTC_USD or (amount := cents(price)) <= 0:
        raise AnswerRefused(f"{source}: a price is not between 1 cent and {MAX_BTC_USD} USD")
    return amount


def utc_time(value: Any, name: str, *, source: str) -> datetime:
    """An ISO 8601 time that ends in Z; digits beyond microseconds are dropped."""
    if not isinstance(value, str) or not ISO_UTC.fullmatch(value):
        raise AnswerRefused(f"{source}: {name} is missing or not a UTC time")
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
    except ValueError:
        raise AnswerRefused(f"{source}: {name} is not a UTC time") from None


def unix_time(seconds: Any, name: str, *, source: str) -> datetime:
    """Unix seconds, perhaps with a fraction."""
    moment = decimal(seconds)
    if moment is None or not 0 < moment < 10**11:
        raise AnswerRefused(f"{source}: {name} is missing or not a time")
    return datetime.fromtimestamp(float(moment), UTC)


def check_recent(
    at: datetime,
    *,
    now: datetime,
    max_age: timedelta,
    what: str,
    source: str,
    max_ahead: timedelta = MAX_AHEAD,
) -> None:
    """Raise AnswerRefused for a time that is too old, or further ahead than clocks may disagree."""
    if at > now + max_ahead:
        raise AnswerRefused(f"{source}: the {what} claims to be of the future")
    if at < now - max_age:
        raise AnswerRefused(f"{source}: the {what} is {int((now - at).total_seconds())} s old")
