"""What repeats is written once, then as a count; one owner's hides nothing of another's."""

from bittrade.domain.tally import FIRST_WINDOW_S, LONGEST_WINDOW_S, Tally


def new() -> Tally[str]:
    return Tally(causes_an_owner=3, owners=2)


def test_the_first_is_written_and_the_others_become_a_count() -> None:
    tally = new()
    assert [tally.add(1, "login_failed", "here", str(n), 0) for n in range(5)] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert tally.take_due(FIRST_WINDOW_S - 1) == []
    (due,) = tally.take_due(FIRST_WINDOW_S)
    assert (due.repeats, due.what, due.window_s) == (4, "4", FIRST_WINDOW_S)


def test_what_happened_once_is_forgotten_and_written_anew() -> None:
    tally = new()
    tally.add(1, "a", "x", "", 0)
    assert tally.take_due(FIRST_WINDOW_S) == []
    assert len(tally) == 0
    assert tally.add(1, "a", "x", "", FIRST_WINDOW_S)


def test_what_goes_on_is_written_ever_more_rarely() -> None:
    tally, written, total = new(), 0, 0
    for second in range(86_400):
        for due in tally.take_due(second):
            written, total = written + 1, total + due.repeats
        written += tally.add(1, "a", "x", "", second)
    assert written <= 24 + 8
    assert 86_400 - LONGEST_WINDOW_S <= written + total <= 86_400 + written


def test_the_windows_are_a_minute_first_and_an_hour_at_most() -> None:
    assert (FIRST_WINDOW_S, LONGEST_WINDOW_S) == (60, 3600)


def test_all_counts_that_are_due_are_taken_at_once() -> None:
    tally = new()
    for cause in ("x", "y", "z") * 2:
        tally.add(1, "a", cause, cause, 0)
    tally.add(2, "a", "once", "", 0)
    assert sorted(due.what for due in tally.take_due(FIRST_WINDOW_S)) == ["x", "y", "z"]
    assert len(tally) == 3


def test_each_owner_and_cause_is_counted_apart() -> None:
    tally = new()
    assert tally.add(1, "a", "x", "", 0)
    assert tally.add(1, "a", "y", "", 0)
    assert tally.add(1, "b", "x", "", 0)
    assert tally.add(2, "a", "x", "", 0)
    assert tally.add(None, "a", "x", "", 0)
    assert not tally.add(2, "a", "x", "", 0)


def test_an_owner_s_many_causes_are_one_more_cause_and_silence_nobody_else() -> None:
    tally = new()
    written = [tally.add(1, "a", f"cause {number}", "", 0) for number in range(1000)]
    assert written == [True] * 4 + [False] * 996
    assert tally.add(2, "a", "x", "", 0)
    assert sum(due.repeats for due in tally.take_due(FIRST_WINDOW_S)) == 996


def test_more_owners_than_are_remembered_are_counted_together() -> None:
    tally = new()
    written = [tally.add(owner, "a", "x", "", 0) for owner in range(1000)]
    assert written == [True] * 3 + [False] * 997
    assert len(tally) == 3
    assert sum(due.repeats for due in tally.take_due(FIRST_WINDOW_S)) == 997
    tally.take_due(FIRST_WINDOW_S * 10)
    assert tally.add(999, "a", "x", "", FIRST_WINDOW_S * 10)  # there is room again
