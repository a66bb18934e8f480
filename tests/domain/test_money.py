"""Reading amounts, and rounding."""

import tracemalloc
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittrade.domain.money import MAX_AMOUNT, Asset, divide_down, divide_half_up, divide_up, parse_amount
from bittrade.errors import InvalidAmount

GENERAL = "Invalid amount. Must be a positive number"

NOT_AMOUNTS = [
    # not numbers, or none that are finite
    "NaN",
    "nan",
    "Infinity",
    "-Infinity",
    "inf",
    "+inf",
    float("nan"),
    float("inf"),
    float("-inf"),
    # nothing, or less
    "",
    "0",
    "0.0",
    "0e5",
    "-0.0",
    "-1",
    "-0.5",
    0,
    -1,
    -0.0,
    -1.5,
    # not written in the contract's way
    "+1",
    " 1",
    "1 ",
    "1\n",
    "\t1",
    "1_0",
    "1_000",
    "1,000",
    "0x10",
    "0b1",
    "0o7",
    "1e",
    "e5",
    ".",
    ".e1",
    "1..5",
    "1.5.5",
    "1e1.5",
    "--1",
    "1e--1",
    "1.e",
    "1/2",
    "½",
    "²",
    "１２",
    "١٢",
    "१२",
    "1\u200b",
    "\u202e1",
    "1\x00",
    "\ud800",
    "one",
    "₹1000",
    "1000 INR",
    # not text and not a number
    True,
    False,
    None,
    [],
    ["1"],
    {},
    {"amount": 1},
    b"1",
    1 + 0j,
    # huge, or tiny
    "1e400",
    "1e-400",
    "1e999",
    "1e-999",
    1e300,
    1e-300,
    10**30,
    -(10**30),
    2**63 - 1,
    2**63,
    2**63 + 1,
    "9" * 5000,
    10**5000,
    "0." + "0" * 5000 + "1",
    "1e1000000",
    "1e-1000000",
    "1e+999999999999999999999999",
    "1" * 1_000_000,
]


@pytest.mark.parametrize("asset", list(Asset))
@pytest.mark.parametrize(
    "value", NOT_AMOUNTS, ids=lambda value: repr(value)[:24] if type(value) is not int else "int"
)
def test_what_is_not_an_amount_is_refused_with_a_reason(value: object, asset: Asset) -> None:
    with pytest.raises(InvalidAmount) as refused:
        parse_amount(value, asset)
    assert refused.value.message.startswith("Invalid amount")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1_000", "１２", True, "-1", "0", " 1"])
def test_what_is_no_positive_number_is_told_so_in_the_contract_s_words(value: object) -> None:
    with pytest.raises(InvalidAmount) as refused:
        parse_amount(value, Asset.INR)
    assert refused.value.message == GENERAL


@pytest.mark.parametrize(
    ("value", "rupees"),
    [
        ("1000", 1000),
        (1000, 1000),
        (1000.0, 1000),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1e+3", 1000),
        ("5.", 5),
        (".5e1", 5),
        ("5.e0", 5),
        ("5.00", 5),
        ("0.5e1", 5),
        ("50e-1", 5),
        ("0001", 1),
        (Decimal("7.0"), 7),
        (1e15, 10**15),
        (str(MAX_AMOUNT), MAX_AMOUNT),
        ("1e16", 10**16),
        (2**53 - 1, 2**53 - 1),
        (2**53, 2**53),
        (2**53 + 1, 2**53 + 1),
        ("100000000e-8", 1),
    ],
)
def test_rupees_are_read_in_ordinary_and_exponent_notation(value: object, rupees: int) -> None:
    assert parse_amount(value, Asset.INR) == rupees


@pytest.mark.parametrize(
    ("value", "satoshis"),
    [
        ("1", 100_000_000),
        ("0.5", 50_000_000),
        (".5", 50_000_000),
        (".0005", 50_000),
        ("5.", 500_000_000),
        (0.5, 50_000_000),
        ("1e-8", 1),
        (1e-8, 1),
        ("0.00000001", 1),
        ("0.000000010", 1),
        ("21000000", 2_100_000_000_000_000),
        (0.1, 10_000_000),
        (0.3, 30_000_000),
        (Decimal("0.00000007"), 7),
    ],
)
def test_bitcoin_is_read_to_eight_places(value: object, satoshis: int) -> None:
    assert parse_amount(value, Asset.BTC) == satoshis


@pytest.mark.parametrize("value", ["0.5", "1000.01", "1e-1", 0.5, 0.1 + 0.2])
def test_a_part_of_a_rupee_is_refused_and_not_rounded(value: object) -> None:
    with pytest.raises(InvalidAmount, match="whole rupees"):
        parse_amount(value, Asset.INR)


@pytest.mark.parametrize("value", ["0.000000001", "1e-9", "1.123456789", 0.1 + 0.2])
def test_a_part_of_a_satoshi_is_refused_and_not_rounded(value: object) -> None:
    with pytest.raises(InvalidAmount, match="8 decimal places"):
        parse_amount(value, Asset.BTC)


@pytest.mark.parametrize("value", ["1e17", 10**17, str(10**16 + 1), 10**16 + 1])
def test_more_than_there_is_is_too_large(value: object) -> None:
    with pytest.raises(InvalidAmount, match="Too large"):
        parse_amount(value, Asset.INR)


def _most_bytes(value: object) -> int:
    """Memory that the refusal took at once."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidAmount):
            parse_amount(value, Asset.BTC)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", ["1e1000000", "9" * 1_000_000, "1e-1000000", "1e999", "1" * 60 + "e999"])
def test_a_number_that_would_be_huge_is_refused_without_ever_being_built(value: str) -> None:
    # 10**1_000_000 alone has 415 kB.
    assert _most_bytes(value) < 50_000


@given(st.text(max_size=80) | st.text(alphabet="0123456789.eE+-_ ", max_size=40))
def test_any_text_is_an_amount_in_range_or_refused(text: str) -> None:
    try:
        amount = parse_amount(text, Asset.BTC)
    except InvalidAmount:
        return
    assert type(amount) is int
    assert amount == Fraction(text) * 10**8
    assert 1 <= amount <= MAX_AMOUNT


@given(st.integers() | st.floats() | st.decimals())
def test_any_number_is_an_amount_in_range_or_refused(value: object) -> None:
    try:
        amount = parse_amount(value, Asset.INR)
    except InvalidAmount:
        return
    assert type(amount) is int
    assert amount == value


@given(st.integers(1, MAX_AMOUNT))
def test_every_satoshi_count_can_be_said(satoshis: int) -> None:
    whole, rest = divmod(satoshis, 10**8)
    assert parse_amount(f"{whole}.{rest:08d}", Asset.BTC) == satoshis
    assert parse_amount(f"{satoshis}e-8", Asset.BTC) == satoshis


amounts = st.integers(0, 10**40)
divisors = st.integers(1, 10**20)


@given(amounts, divisors)
def test_rounding_down_never_exceeds_and_is_less_than_one_off(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert exact - 1 < divide_down(numerator, denominator) <= exact


@given(amounts, divisors)
def test_rounding_up_never_falls_short_and_is_less_than_one_off(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert exact <= divide_up(numerator, denominator) < exact + 1


@given(st.integers(-(10**40), 10**40), divisors)
def test_rounding_half_up_is_the_nearest_and_takes_the_upper_of_two(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    rounded = divide_half_up(numerator, denominator)
    assert exact - Fraction(1, 2) < rounded <= exact + Fraction(1, 2)


@pytest.mark.parametrize(
    ("numerator", "rounded"), [(0, 0), (4, 0), (5, 1), (14, 1), (15, 2), (-5, 0), (-6, -1)]
)
def test_halves_go_up(numerator: int, rounded: int) -> None:
    assert divide_half_up(numerator, 10) == rounded
