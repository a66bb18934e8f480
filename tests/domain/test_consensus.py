"""What several sources say together."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittrade.domain.consensus import LAG, Report, Sanity, consensus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SANITY = Sanity(jump_limit_bps=2_000, confirm_within_bps=100, check_band_bps=50, window_limit_bps=1_000)
IN_USE = 50_000_00


def reports(*usd: float, ages_s: tuple[float, ...] = ()) -> list[Report]:
    ages_s = ages_s or (0.0,) * len(usd)
    return [
        Report(name, round(price * 100), NOW - timedelta(seconds=age_s))
        for name, price, age_s in zip("abcd", usd, ages_s, strict=False)
    ]


def said(*usd: float, in_use: int | None = IN_USE, ages_s: tuple[float, ...] = ()) -> tuple[str, str, bool]:
    found = consensus(reports(*usd, ages_s=ages_s), in_use, SANITY)
    names = ("".join(one.source for one in group) for group in (found.agreed, found.outliers))
    agreed, outliers = names
    return agreed, outliers, found.is_contradicted


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        ((50_000, 50_100), ("ab", "", False)),
        ((50_000, 50_501), ("", "", False)),  # nobody can say who is right
        ((59_000, 50_000, 50_010), ("bc", "a", False)),  # one against two and the price in use
        ((50_000, 53_000, 53_010), ("bc", "a", True)),  # two against one and the price in use
        ((54_000, 53_000, 53_010), ("bc", "a", False)),  # the market moved, and one is wrong
        ((50_000, 52_000, 54_000), ("", "", False)),
        ((75_000, 50_010), ("b", "a", False)),  # a jump, and a source that stands by the price in use
        ((75_000, 90_000, 50_010), ("c", "ab", False)),
        ((75_000, 54_000), ("", "", False)),
        ((50_000, 50_010, 60_000, 60_010), ("", "", False)),
    ],
)
def test_more_than_half_must_agree(usd: tuple[float, ...], expected: tuple[str, str, bool]) -> None:
    assert said(*usd) == expected


def test_before_the_first_price_two_that_disagree_are_no_price() -> None:
    assert said(75_000, 50_000, in_use=None) == ("", "", False)
    assert said(50_000, 50_010, in_use=None) == ("ab", "", False)
    assert consensus([], None, SANITY).agreed == ()


def test_an_older_price_may_differ_by_more_and_is_never_the_one_that_is_taken() -> None:
    late = (LAG.total_seconds() + 1, 0.0)
    assert said(50_000, 50_800, ages_s=late) == ("ba", "", False)
    assert said(50_000, 50_800, ages_s=(LAG.total_seconds(), 0.0)) == ("", "", False)
    assert said(50_000, 51_500, ages_s=late) == ("", "", False)


def test_a_late_source_that_stands_by_the_price_in_use_contradicts_nobody() -> None:
    assert said(50_000, 53_000, 53_010, ages_s=(40.0, 0.0, 0.0)) == ("bc", "a", False)


@given(st.floats(0.2, 5), st.integers(0, 2), st.lists(st.floats(0.9999, 1.0001), min_size=2, max_size=2))
def test_one_liar_among_three_never_leads_the_price_beyond_the_tolerance(
    factor: float, place: int, honest: list[float]
) -> None:
    usd = [50_000 * one for one in honest]
    usd.insert(place, 50_000 * factor)
    found = consensus(reports(*usd), IN_USE, SANITY)
    assert found.agreed
    assert not found.is_contradicted
    assert abs(found.agreed[0].usd_cents / IN_USE - 1) <= 0.0102


def test_unless_it_is_said_every_move_is_checked_and_the_window_has_no_limit() -> None:
    sanity = Sanity(jump_limit_bps=2_000, confirm_within_bps=100)
    assert not sanity.is_small_move(10_001, 10_000)
    assert sanity.is_small_move(10_000, 10_000)
    assert sanity.is_within_window(99_999, 1)


def test_a_price_lags_after_half_a_minute() -> None:
    assert timedelta(seconds=30) == LAG
