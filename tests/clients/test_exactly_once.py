"""A server that is killed in the middle of a buy and started again: bought once. Watching over it: nothing is missed."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import pytest
from bittrade_client import Client, Connected, Disconnected, TransactionMade, Watch, errors

from tests.clients.conftest import PATIENT, client_of, kill_web
from tests.e2e.conftest import Person, System, wait_until

Make = Callable[[int], Person]


class Wire:
    """Between client and server: `cut` is called once, and the connection ends without an answer.

    Before the answer of a trade is passed on (`is_answered`), or when its request has been.
    """

    def __init__(self, upstream: int, cut: Callable[[], None], *, is_answered: bool) -> None:
        self._upstream, self._cut, self._is_answered = upstream, cut, is_answered
        self._lock = threading.Lock()
        self.is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(connection,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._upstream)) as server:
            asking, answering = client.makefile("rb"), server.makefile("rb")
            while request := read_message(asking):
                server.sendall(request)
                is_trade = request.startswith(b"POST /api/trade ")
                if is_trade and not self._is_answered and self._cut_once():
                    return
                answer = read_message(answering)
                if not answer or (is_trade and self._cut_once()):
                    return
                client.sendall(answer)

    def _cut_once(self) -> bool:
        with self._lock:
            if self.is_cut:
                return False
            self.is_cut = True
        self._cut()
        return True


def read_message(stream: BinaryIO) -> bytes:
    """Return one whole request or answer; nothing at the end."""
    head = b""
    while (line := stream.readline()) not in (b"", b"\r\n"):
        head += line
    length = re.search(rb"(?im)^content-length: *([0-9]+)", head)
    return head + b"\r\n" + stream.read(int(length[1]) if length else 0) if head else b""


@contextmanager
def cut_wire(system: System, *, is_answered: bool) -> Iterator[Wire]:
    def cut() -> None:
        kill_web(system)
        threading.Thread(target=system.start_web, daemon=True).start()

    wire = Wire(int(system.url.rpartition(":")[2]), cut, is_answered=is_answered)
    try:
        yield wire
    finally:
        wire.close()


@pytest.mark.parametrize("is_answered", [True, False], ids=["after its commit", "while it works"])
def test_a_server_killed_in_the_middle_of_a_buy_bought_once(
    system: System, new_person: Make, is_answered: bool
) -> None:
    person = new_person(10_000)
    with cut_wire(system, is_answered=is_answered) as wire:
        trade = client_of(person, wire.url).buy(inr=1000)
    assert wire.is_cut
    wait_until(lambda: system.rates(), "the server is back")
    client = client_of(person)
    bought = [row for row in client.transactions() if row.type == "MARKET_BUY"]
    assert [(row.id, row.client_order_id) for row in bought] == [(trade.id, trade.client_order_id)]
    assert client.balance().available_inr == 9_000
    if is_answered:
        assert trade.is_replay
    system.flask("ledger", "verify")


def test_watching_over_a_restart_misses_nothing_and_tells_nothing_twice(
    system: System, new_person: Make
) -> None:
    person = new_person(100_000)
    trader = client_of(person)
    watch = Client(system.url, person.token, retry=PATIENT).watch()
    began = watch.seq
    seen: list[object] = []
    threading.Thread(target=follow, args=(watch, seen), daemon=True).start()
    wait_until(lambda: any(isinstance(event, Connected) for event in seen), "it watches")
    trader.buy(inr=100)
    wait_until(lambda: len(seqs(seen)) == 1, "the first trade is told")
    kill_web(system)
    system.start_web()
    for _ in range(3):  # before the watch is back, or after: it makes no difference
        last = trader.buy(inr=100)
    wait_until(lambda: watch.seq == last.seq, "it has caught up")
    assert any(isinstance(event, Disconnected) for event in seen)
    last = trader.sell(inr=100)
    wait_until(lambda: watch.seq == last.seq, "it goes on")
    assert seqs(seen) == list(range(began + 1, last.seq + 1))


def test_a_watch_goes_on_where_a_program_left_off(system: System, new_person: Make) -> None:
    person = new_person(100_000)
    client = client_of(person)
    first = client.buy(inr=100)
    client.buy(inr=200)
    client.place_order("buy", 4_000_000, inr=300)
    seen: list[object] = []
    for event in client.watch(after=first.seq, poll_s=0.1):
        seen.append(event)
        if isinstance(event, Connected):
            break
    kinds = [type(event).__name__ for event in seen]
    assert kinds == ["TransactionMade", "TransactionMade", "OrderChanged", "BalanceChanged", "Connected"]
    assert seqs(seen) == [first.seq + 1, first.seq + 2]


def test_a_watch_ends_with_its_token(system: System, new_person: Make) -> None:
    person = new_person(1_000)
    client = client_of(person)
    events = iter(client.watch())
    assert any(isinstance(event, Connected) for event in events)
    client_of(person).logout_all()
    with pytest.raises(errors.TokenInvalid):
        for _event in events:
            pass


def follow(watch: Watch, seen: list[object]) -> None:
    for event in watch:
        seen.append(event)


def seqs(seen: list[object]) -> list[int]:
    return [event.transaction.seq for event in seen if isinstance(event, TransactionMade)]
