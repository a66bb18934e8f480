"""Candles and thinning, the arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from bittrade.domain.candles import INTERVALS, Candle, bucket, surplus, without_gaps

SORTED_TIMES = st.lists(st.integers(0, 20_000), max_size=60).map(sorted)


def test_an_interval_without_a_price_is_there_and_empty() -> None:
    found = {10: Candle(600, 1, 3, 1, 2, 5), 12: Candle(720, 2, 2, 2, 2, 1)}
    candles = without_gaps(found, first=10, last=13, interval_s=60)
    assert [candle.begins_s for candle in candles] == [600, 660, 720, 780]
    assert [candle.samples for candle in candles] == [5, 0, 1, 0]
    assert (candles[1].open, candles[1].high, candles[1].low, candles[1].close) == (None,) * 4


def test_intervals_begin_at_the_epoch() -> None:
    assert bucket(59, 60) == 0
    assert bucket(60, 60) == 1
    assert INTERVALS == {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}


def test_the_last_of_each_minute_stays() -> None:
    going, last = surplus([(1, 0), (2, 30), (3, 59), (4, 60), (5, 119), (6, 200)], 60)
    assert going == [1, 2, 4]
    assert last == (6, 200)


@given(SORTED_TIMES)
def test_thinning_leaves_exactly_one_row_in_each_interval_that_had_any(times: list[int]) -> None:
    rows = list(enumerate(times))
    going, _ = surplus(rows, 60)
    kept = [row for row in rows if row[0] not in set(going)]
    assert [bucket(at, 60) for _, at in kept] == sorted({bucket(at, 60) for at in times})


@given(SORTED_TIMES)
def test_thinning_twice_changes_nothing_more(times: list[int]) -> None:
    rows = list(enumerate(times))
    going, _ = surplus(rows, 60)
    assert surplus([row for row in rows if row[0] not in set(going)], 60)[0] == []
