"""Recurring plans: due times by the wall clock, and prices that do not suit."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittrade.domain.money import Asset
from bittrade.domain.plans import Frequency, Instalment, Skip, Timetable, zone
from bittrade.domain.pricing import Rates
from bittrade.domain.trading import Action, Order
from bittrade.errors import InvalidInput

RATES = Rates(buy_inr=4_095_000, sell_inr=3_960_000)
ZONES = ("Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Africa/Cairo")


def at(text: str, name: str = "Asia/Kolkata") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(name))


def walls(table: Timetable, count: int) -> list[str]:
    """The first due times as the zone's clock shows them."""
    found, after = [], table.start - timedelta(microseconds=1)
    for _ in range(count):
        after = table.next_due(after)
        found.append(f"{after.astimezone(zone(table.time_zone)):%Y-%m-%d %H:%M}")
    return found


def test_the_31st_falls_on_a_short_month_s_last_day() -> None:
    table = Timetable(at("2027-12-31T09:00"), Frequency.MONTHLY)
    assert walls(table, 5) == [
        "2027-12-31 09:00",
        "2028-01-31 09:00",
        "2028-02-29 09:00",
        "2028-03-31 09:00",
        "2028-04-30 09:00",
    ]


def test_an_hour_that_daylight_saving_skips_runs_at_the_next() -> None:
    table = Timetable(at("2026-03-28T02:30", "Europe/Berlin"), Frequency.DAILY, "Europe/Berlin")
    assert walls(table, 3) == ["2026-03-28 02:30", "2026-03-29 03:30", "2026-03-30 02:30"]


def test_an_hour_that_comes_twice_runs_once() -> None:
    table = Timetable(at("2026-10-24T02:30", "Europe/Berlin"), Frequency.DAILY, "Europe/Berlin")
    assert walls(table, 3) == ["2026-10-24 02:30", "2026-10-25 02:30", "2026-10-26 02:30"]
    first = table.next_due(at("2026-10-25T00:00", "Europe/Berlin"))
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert table.next_due(first) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_an_hourly_plan_passes_both_changes_of_the_clock() -> None:
    spring = Timetable(at("2026-03-29T00:30", "Europe/Berlin"), Frequency.HOURLY, "Europe/Berlin")
    assert walls(spring, 4) == [f"2026-03-29 {hour}:30" for hour in ("00", "01", "03", "04")]
    autumn = Timetable(at("2026-10-25T01:30", "Europe/Berlin"), Frequency.HOURLY, "Europe/Berlin")
    assert walls(autumn, 3) == [f"2026-10-25 {hour}:30" for hour in ("01", "02", "03")]


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from(Frequency),
    st.sampled_from(ZONES),
    st.integers(0, 400 * 86_400),
)
def test_the_next_due_time_is_the_first_one_after(
    start: datetime, frequency: Frequency, name: str, seconds: int
) -> None:
    table = Timetable(start.replace(tzinfo=UTC), frequency, name)
    after = table.start + timedelta(seconds=seconds)
    due = table.next_due(after)
    assert due > after
    longest = {
        Frequency.HOURLY: timedelta(hours=3),
        Frequency.DAILY: timedelta(hours=26),
        Frequency.WEEKLY: timedelta(days=7, hours=2),
        Frequency.MONTHLY: timedelta(days=32),
    }
    assert due - after <= longest[frequency]
    assert table.next_due(due - timedelta(microseconds=1)) == due  # the same however it is asked for


def test_missed_due_times_are_listed_oldest_first_and_bounded() -> None:
    table = Timetable(at("2026-01-01T09:00"), Frequency.DAILY)
    found = table.list_due(at("2026-01-01T09:00"), at("2026-01-05T09:00"), at_most=10)
    assert [due.day for due in found] == [2, 3, 4, 5]
    assert len(table.list_due(at("2026-01-01T09:00"), at("2027-01-05T09:00"), at_most=10)) == 10


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", "a" * 300])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        zone(name)


@pytest.mark.parametrize(
    ("action", "max_price", "min_price", "skip"),
    [
        (Action.BUY, 4_095_000, None, None),
        (Action.BUY, 4_094_999, None, Skip.PRICE_ABOVE_MAX),
        (Action.BUY, None, 4_095_001, Skip.PRICE_BELOW_MIN),
        (Action.SELL, 3_960_000, 3_960_000, None),
        (Action.SELL, None, 3_960_001, Skip.PRICE_BELOW_MIN),
        (Action.SELL, None, None, None),
    ],
)
def test_a_run_is_made_between_its_prices(
    action: Action, max_price: int | None, min_price: int | None, skip: Skip | None
) -> None:
    assert Instalment(action, Asset.INR, 1000, max_price, min_price).find_skip(RATES) is skip


def test_bounds_that_exclude_every_price_are_refused() -> None:
    with pytest.raises(InvalidInput):
        Instalment(Action.BUY, Asset.INR, 1000, max_price=1, min_price=2)


def test_a_run_is_a_market_order_of_the_instalment() -> None:
    instalment = Instalment(Action.SELL, Asset.BTC, 500)
    assert instalment.order == Order(Action.SELL, Asset.BTC, 500)
