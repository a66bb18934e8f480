"""Rupees and satoshis: whole numbers, their grammar, and rounding with a name.

An amount is an `int` of the asset's smallest unit from the moment it is parsed; floats never enter. Grammar from
`POST /api/trade` in the API contract: ordinary or exponent notation, as a string or a JSON number.
"""

import re
from decimal import Decimal
from enum import StrEnum

from bittrade.errors import InvalidAmount

SATOSHIS_PER_BTC = 100_000_000
# Far above all bitcoin (2.1e15 satoshis) and all rupees (some 4e14), and below what a BIGINT holds (9.2e18).
MAX_AMOUNT = 10**16
# The longest sensible amount: 16 digits, a point, 8 places and an exponent. Longer text is refused unread.
_MAX_TEXT = 64
_NEARLY = Decimal("0.001")
_AMOUNT = re.compile(r"(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?", re.ASCII)


class Asset(StrEnum):
    """What BitTrade keeps books in; each in its own unit."""

    INR = "INR"  # whole rupees
    BTC = "BTC"  # satoshis


PLACES = {Asset.INR: 0, Asset.BTC: 8}


def parse_amount(value: object, asset: Asset) -> int:
    """Read a client's amount as rupees (INR) or satoshis (BTC); at least 1 of them.

    `value` is the string or the JSON number that was sent. Raises InvalidAmount with the reason.
    """
    digits, exponent = _significand(_text_of(value))
    if digits == 0:
        raise InvalidAmount()
    shift = exponent + PLACES[asset]
    # A value below 10**64 with |exponent| < 1100: bounded before any power is taken.
    while shift < 0 and digits % 10 == 0:
        digits //= 10
        shift += 1
    if shift < 0:
        raise InvalidAmount(_too_precise(asset))
    if shift > 16 or digits * 10**shift > MAX_AMOUNT:
        raise InvalidAmount("Invalid amount. Too large")
    return digits * 10**shift


def parse_nearly_satoshis(value: Decimal) -> int:
    """Read satoshis that a client computed as a float: within a thousandth of a whole number, at least 1.

    Raises InvalidAmount.
    """
    if not value.is_finite() or not 0 < value <= MAX_AMOUNT:
        raise InvalidAmount()
    whole = int(value.to_integral_value())
    if abs(value - whole) > _NEARLY or whole == 0:
        raise InvalidAmount("Invalid amount. Satoshis are whole")
    return whole


def _text_of(value: object) -> str:
    """The digits as the client wrote them. A float stands for its shortest notation, as JSON writers print it."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidAmount()
    elif isinstance(value, int) and abs(value) > MAX_AMOUNT:
        raise InvalidAmount("Invalid amount. Too large" if value > 0 else None)
    else:
        text = str(value)
    if len(text) > _MAX_TEXT:
        raise InvalidAmount()
    return text


def _significand(text: str) -> tuple[int, int]:
    """Digits and power of ten: '1.50e-3' is (150, -5)."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise InvalidAmount()
    whole, fraction, exponent = match[1], match[2] or "", int(match[3] or 0)
    return int(whole + fraction), exponent - len(fraction)


def _too_precise(asset: Asset) -> str:
    return (
        "Invalid amount. INR amounts are whole rupees"
        if asset is Asset.INR
        else "Invalid amount. BTC amounts have at most 8 decimal places"
    )


def divide_down(numerator: int, denominator: int) -> int:
    """Round towards zero: for what the house pays out. Both arguments are non-negative."""
    return numerator // denominator


def divide_up(numerator: int, denominator: int) -> int:
    """Round away from zero: for what the house takes in. Both arguments are non-negative."""
    return -(-numerator // denominator)


def divide_half_up(numerator: int, denominator: int) -> int:
    """Round to the nearest whole, halves up: for rates and percentages, where no money moves. `denominator` > 0."""
    return (2 * numerator + denominator) // (2 * denominator)
