"""Rates, multipliers, ages."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittrade.domain.pricing import (
    ChartPoint,
    ChartSeries,
    Multipliers,
    Rates,
    age_ms,
    cents,
    parse_multiplier,
    rates_for,
)
from bittrade.errors import InvalidInput

FIRST = Multipliers.parse(buy="91", sell="88")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_the_document_s_price_makes_the_document_s_rates() -> None:
    assert rates_for(4_500_000, FIRST) == Rates(buy_inr=4_095_000, sell_inr=3_960_000)


@pytest.mark.parametrize(
    ("usd_cents", "multiplier", "rate"),
    [
        (1, "50", 1),  # 0.5 rupees: halves go up
        (1, "49.9999", 0),
        (50, "91", 46),  # 45.5
        (45_000_01, "91", 4_095_001),  # 4,095,000.91
        (45_000_01, "0.0001", 5),  # 4.500001
    ],
)
def test_a_rate_is_rounded_half_up_once(usd_cents: int, multiplier: str, rate: int) -> None:
    assert rates_for(usd_cents, Multipliers.parse(buy=multiplier, sell=multiplier)).buy_inr == rate


@given(st.integers(1, 10**12), st.integers(1, 10**8))
def test_law_a_rate_is_what_exact_decimals_say(usd_cents: int, scaled: int) -> None:
    exact = Decimal(usd_cents) / 100 * Decimal(scaled) / 10_000
    rates = rates_for(usd_cents, Multipliers(buy=scaled, sell=scaled))
    assert rates.buy_inr == rates.sell_inr == int(exact.to_integral_value(ROUND_HALF_UP))


@given(st.integers(1, 10**12), st.integers(1, 10**8), st.integers(0, 10**7))
def test_law_a_buyer_never_pays_less_than_a_seller_gets(usd_cents: int, sell: int, spread: int) -> None:
    rates = rates_for(usd_cents, Multipliers(buy=sell + spread, sell=sell))
    assert rates.buy_inr >= rates.sell_inr


@pytest.mark.parametrize(
    ("text", "scaled"),
    [("91", 910_000), ("91.25", 912_500), ("0.0001", 1), ("91.", 910_000), ("10000", 100_000_000)],
)
def test_a_multiplier_has_four_places(text: str, scaled: int) -> None:
    assert parse_multiplier(text) == scaled


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0.0",
        "-1",
        "+1",
        "1e2",
        " 91",
        "91 ",
        "9_1",
        "0x5b",
        "NaN",
        "inf",
        "91.00001",
        "10000.0001",
        "10001",
        "９１",
        "91.２",
        ".5",
        "1.2.3",
        "91.-1",
        "9" * 5000,
        "\x00",
    ],
)
def test_what_is_not_a_multiplier_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_multiplier(text)


def test_the_buy_multiplier_may_equal_the_sell_multiplier_but_not_be_below_it() -> None:
    assert Multipliers.parse(buy="88", sell="88").buy == 880_000
    with pytest.raises(InvalidInput, match="must not be below"):
        Multipliers.parse(buy="87.9999", sell="88")


@pytest.mark.parametrize(
    ("after", "age"),
    [
        (timedelta(0), 0),
        (timedelta(milliseconds=1), 1),
        (timedelta(microseconds=1999), 1),
        (timedelta(seconds=90), 90_000),
        (timedelta(days=400), 400 * 86_400_000),
        (timedelta(seconds=-5), 0),  # the source's clock is ahead of ours
        (timedelta(seconds=-6), 6000),  # too far: as wrong as if it were behind
    ],
)
def test_an_age_is_in_milliseconds_and_never_negative(after: timedelta, age: int) -> None:
    assert age_ms(NOON, NOON + after) == age


def test_an_age_does_not_depend_on_the_zone_that_a_time_is_written_in() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    assert age_ms(NOON, (NOON + timedelta(seconds=1)).astimezone(kolkata)) == 1000


@pytest.mark.parametrize(
    ("usd", "expected"), [("45000", 4_500_000), ("0.005", 1), ("0.0049", 0), ("1e2", 10_000)]
)
def test_dollars_become_whole_cents(usd: str, expected: int) -> None:
    assert cents(Decimal(usd)) == expected


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_a_price_that_is_not_finite_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        cents(Decimal(value))


@pytest.mark.parametrize(
    ("first", "last", "change"),
    [(100, 102, 200), (100, 100, 0), (100, 50, -5000), (0, 5, None), (100, 300, 20_000)],
)
def test_a_chart_s_change_is_from_its_first_to_its_last_point(
    first: int, last: int, change: int | None
) -> None:
    points = (ChartPoint(NOON, first), ChartPoint(NOON, 7), ChartPoint(NOON, last))
    assert ChartSeries("1d", points).change_bps == change
