"""Everybody gets a turn, however many one network sends."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from bittrade.errors import TooBusy
from bittrade.services.fair_queue import FairQueue
from tests.fixtures import wait_until

GUEST, CROWD = "guest", "crowd"


class Works:
    """Work that takes until it is told to end, and remembers in which order it was begun."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue, self.order = queue, []
        self.go_on = threading.Semaphore(0)
        self.threads = ThreadPoolExecutor(64)

    def start(self, network: str) -> Future:
        return self.threads.submit(self._work, network)

    def _work(self, network: str) -> None:
        with self.queue.turn(network):
            self.order.append(network)
            assert self.go_on.acquire(timeout=60)

    def waiting(self) -> int:
        return sum(map(len, self.queue._lines.values()))

    def start_and_wait(self, network: str, waiting: int) -> Future:
        future = self.start(network)
        wait_until(lambda: self.waiting() == waiting)
        return future

    def end_all(self, futures: list[Future]) -> list[str]:
        self.go_on.release(100)
        done = [type(future.exception(timeout=60)).__name__ for future in futures]
        self.threads.shutdown()
        return done


def test_who_comes_after_a_crowd_is_next_but_one() -> None:
    works = Works(FairQueue(at_once=1, waiting=20, waiting_each=10))
    first = works.start(CROWD)
    wait_until(lambda: works.order == [CROWD])
    crowd = [works.start_and_wait(CROWD, number + 1) for number in range(5)]
    guest = works.start_and_wait(GUEST, 6)
    assert works.end_all([first, *crowd, guest]) == ["NoneType"] * 7
    assert works.order.index(GUEST) == 2


def test_one_network_has_so_many_places_and_no_more() -> None:
    works = Works(FairQueue(at_once=1, waiting=20, waiting_each=3))
    first = works.start(CROWD)
    wait_until(lambda: works.order == [CROWD])
    crowd = [works.start_and_wait(CROWD, number + 1) for number in range(3)]
    with pytest.raises(TooBusy) as refused, works.queue.turn(CROWD):
        pytest.fail("it has its turn")
    assert refused.value.facts["retry_after_s"] >= 1
    guest = works.start_and_wait(GUEST, 4)
    assert works.end_all([first, *crowd, guest]) == ["NoneType"] * 5


def test_a_full_queue_makes_room_for_who_has_less_of_it() -> None:
    works = Works(FairQueue(at_once=1, waiting=4, waiting_each=4))
    first = works.start(CROWD)
    wait_until(lambda: works.order == [CROWD])
    crowd = [works.start_and_wait(CROWD, number + 1) for number in range(4)]
    guest = works.start(GUEST)
    wait_until(lambda: GUEST in works.queue._lines)
    with pytest.raises(TooBusy), works.queue.turn(CROWD):
        pytest.fail("it has its turn")
    assert sorted(works.end_all([first, *crowd, guest])) == ["NoneType"] * 5 + ["TooBusy"]
    assert works.order.count(GUEST) == 1


def test_a_queue_full_of_equals_refuses_the_next() -> None:
    works = Works(FairQueue(at_once=1, waiting=2, waiting_each=2))
    first = works.start("a")
    wait_until(lambda: works.order == ["a"])
    others = [works.start_and_wait(network, number + 1) for number, network in enumerate("bc")]
    with pytest.raises(TooBusy), works.queue.turn("d"):
        pytest.fail("it has its turn")
    assert works.end_all([first, *others]) == ["NoneType"] * 3


def test_work_that_fails_or_was_stopped_while_it_waited_keeps_no_turn() -> None:
    queue = FairQueue(at_once=1, waiting=2, waiting_each=2)
    with pytest.raises(RuntimeError), queue.turn("a"):
        raise RuntimeError

    class Stopped(BaseException):
        pass

    def stop() -> None:
        raise Stopped

    with queue.turn("a"):
        place = queue._join("b")
        place.decided.wait = stop  # type: ignore[union-attr, method-assign, assignment]
        with pytest.raises(Stopped):
            queue._wait("b", place)  # type: ignore[arg-type]
    with queue.turn("c"):
        pass


def test_one_whose_turn_came_as_it_was_stopped_passes_it_on() -> None:
    queue = FairQueue(at_once=1, waiting=2, waiting_each=2)
    with queue.turn("a"):
        place = queue._join("b")
    queue._leave("b", place)  # type: ignore[arg-type]
    with queue.turn("c"):
        pass


def test_with_room_for_two_two_work_at_once() -> None:
    works = Works(FairQueue(at_once=2, waiting=2, waiting_each=2))
    futures = [works.start("a"), works.start("a")]
    wait_until(lambda: len(works.order) == 2)
    futures.append(works.start_and_wait("a", 1))
    assert works.end_all(futures) == ["NoneType"] * 3
