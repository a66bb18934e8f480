"""Leaders and followers: whoever stops, the others go on."""

import threading
from collections.abc import Sequence

import pytest

from bittrade import group_commit
from bittrade.errors import OutcomeUnknown, TooBusy
from bittrade.group_commit import GroupCommit
from tests.fixtures import together, wait_until


class Work:
    """Executes batches when it is let; remembers them."""

    def __init__(self, *, at_most: int = 100) -> None:
        self.batches: list[list[int]] = []
        self.may_go = threading.Event()
        self.error: BaseException | None = None
        self.group: GroupCommit[int, int] = GroupCommit(self.execute, at_most=at_most)

    def execute(self, several: list[int]) -> Sequence[int]:
        self.batches.append(several)
        assert self.may_go.wait(60)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return [number * 10 for number in several]

    def start(self, number: int, said: dict[int, object]) -> threading.Thread:
        def run() -> None:
            try:
                said[number] = self.group.run(number)
            except BaseException as error:
                said[number] = type(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def test_alone_nobody_waits() -> None:
    work = Work()
    work.may_go.set()
    assert [work.group.run(number) for number in (1, 2)] == [10, 20]
    assert work.batches == [[1], [2]]


def test_who_comes_meanwhile_goes_together_and_never_more_than_allowed() -> None:
    work, said = Work(at_most=3), dict[int, object]()
    threads = [work.start(0, said)]
    wait_until(lambda: bool(work.batches))
    threads += [work.start(number, said) for number in range(1, 6)]
    wait_until(lambda: len(work.group._waiting) == 5)
    work.may_go.set()
    for thread in threads:
        thread.join(60)
    assert [len(batch) for batch in work.batches] == [1, 3, 2]
    assert said == {number: number * 10 for number in range(6)}


def test_a_leader_that_is_stopped_leaves_no_one_waiting() -> None:
    work, said = Work(at_most=2), dict[int, object]()
    threads = [work.start(0, said)]
    wait_until(lambda: bool(work.batches))
    threads += [work.start(number, said) for number in (1, 2, 3)]
    wait_until(lambda: len(work.group._waiting) == 3)
    work.error = SystemExit()
    work.may_go.set()
    wait_until(lambda: len(said) == 4)
    assert said[0] is SystemExit
    assert [said[number] for number in (1, 2, 3)] == [10, 20, 30]


def test_who_was_in_the_batch_of_a_leader_that_is_stopped_knows_nothing() -> None:
    work, said = Work(), dict[int, object]()
    threads = [work.start(0, said)]
    wait_until(lambda: bool(work.batches))
    threads += [work.start(number, said) for number in (1, 2)]
    wait_until(lambda: len(work.group._waiting) == 2)
    execute, work.group._execute = work.group._execute, lambda _several: _stop()
    work.may_go.set()
    wait_until(lambda: len(said) == 3)
    assert said[0] == 0
    assert sorted((said[1], said[2]), key=str) == sorted((SystemExit, OutcomeUnknown), key=str)
    work.group._execute = execute
    assert work.group.run(4) == 40


def _stop() -> Sequence[int]:
    raise SystemExit


def test_whose_turn_does_not_come_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "WAIT_S", 0.05)
    work, said = Work(), dict[int, object]()
    first = work.start(0, said)
    wait_until(lambda: bool(work.batches))
    with pytest.raises(TooBusy):
        work.group.run(1)
    assert not work.group._waiting
    work.may_go.set()
    first.join(60)
    assert (said, work.group.run(2)) == ({0: 0}, 20)


def test_a_hundred_at_once_each_get_their_own() -> None:
    work = Work(at_most=7)
    work.may_go.set()
    assert together(100, work.group.run) == [number * 10 for number in range(100)]
