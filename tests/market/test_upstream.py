"""Breakers and budgets, the rules."""

from datetime import UTC, datetime, timedelta

from bittrade.domain.upstream import LONGEST_REST, Breaker, Budget, month_elapsed, recent

NOW = datetime(2026, 11, 16, tzinfo=UTC)  # exactly half of November is over
NOW_MS = int(NOW.timestamp() * 1000)


def failed(times: int) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker = breaker.after_failure(NOW)
    return breaker


def test_two_failures_leave_a_breaker_closed_and_a_third_opens_it_for_a_minute() -> None:
    assert failed(2).state(NOW) == "closed"
    assert failed(3).open_until == NOW + timedelta(seconds=60)
    assert failed(3).state(NOW) == "open"
    assert failed(3).state(NOW + timedelta(seconds=60)) == "half_open"


def test_each_further_failure_doubles_the_rest_up_to_a_limit() -> None:
    rests = [failed(times).open_until for times in (4, 5, 50)]
    assert rests == [NOW + timedelta(seconds=120), NOW + timedelta(seconds=240), NOW + LONGEST_REST]


def test_a_minute_has_so_many_calls_and_no_more() -> None:
    calls = [NOW_MS - second * 1000 for second in range(9)]
    assert Budget(10).refusal(calls, 0, now=NOW, is_for_price=True) is None
    refusal = Budget(10).refusal([*calls, NOW_MS], 0, now=NOW, is_for_price=True)
    assert refusal == "its 10 calls a minute are used up"


def test_the_last_three_calls_of_a_minute_are_the_prices() -> None:
    calls = [NOW_MS] * 7
    assert Budget(10).refusal(calls, 0, now=NOW, is_for_price=False) is not None
    assert Budget(10).refusal(calls, 0, now=NOW, is_for_price=True) is None


def test_a_call_of_a_minute_ago_no_longer_counts_nor_does_one_of_a_clock_that_ran_ahead() -> None:
    assert recent([NOW_MS - 60_000, NOW_MS - 59_999, NOW_MS, NOW_MS + 3_600_000], NOW_MS) == [
        NOW_MS - 59_999,
        NOW_MS,
    ]


def test_the_price_s_calls_are_spread_over_the_month() -> None:
    budget = Budget(10, 10_000)
    assert month_elapsed(NOW) == 0.5
    assert budget.refusal([], 4_334, now=NOW, is_for_price=True) is None
    assert (
        budget.refusal([], 4_335, now=NOW, is_for_price=True) == "its 10000 calls a month are used up for now"
    )
    assert budget.refusal([], 4_335, now=NOW, is_for_price=False) is None


def test_a_month_has_so_many_calls_and_what_the_price_leaves_is_the_charts() -> None:
    budget, end = Budget(10, 10_000), datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    assert budget.refusal([], 8_500, now=end, is_for_price=True) is not None
    assert budget.refusal([], 9_999, now=end, is_for_price=False) is None
    assert budget.refusal([], 10_000, now=end, is_for_price=False) is not None


def test_polling_every_thirty_seconds_never_meets_a_limit_of_a_hundred_thousand() -> None:
    budget, calls = Budget(0, 100_000), 0
    moment = datetime(2026, 12, 1, tzinfo=UTC)
    while moment.month == 12:
        assert budget.refusal([], calls, now=moment, is_for_price=True) is None
        calls, moment = calls + 1, moment + timedelta(seconds=30)


def test_no_limit_is_no_limit() -> None:
    assert Budget(0).refusal([NOW_MS] * 1000, 10**9, now=NOW, is_for_price=False) is None
