"""A crowd of sockets for the drills: raw WebSockets, read by one thread, that keep what they were told and come back."""

import json
import random
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import websocket

from dev.services import LOOPBACK
from drills.surroundings import Person

COME_BACK_AFTER_S = 0.2
TEXT, CLOSE = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_CLOSE


@dataclass(slots=True)
class Member:
    """One client: whose it is, and what it was told. Times are the history's."""

    person: Person | None
    connection: Any = None
    balance_seqs: list[int] = field(default_factory=list)
    balance_at: list[float] = field(default_factory=list)  # when each of these came
    rows: set[int] = field(default_factory=set)  # seqs of transactions that it knows
    ticks: Counter[str] = field(default_factory=Counter)  # by their timestamp
    tick_at: list[float] = field(default_factory=list)
    lags_ms: list[float] = field(default_factory=list)
    closed_at: list[float] = field(default_factory=list)
    close_codes: list[int | None] = field(default_factory=list)
    back_at: list[float] = field(default_factory=list)
    retry_at: float = 0.0
    is_in: bool = False
    is_opening: bool = False
    is_leaving: bool = False

    @property
    def last_seq(self) -> int:
        return self.balance_seqs[-1] if self.balance_seqs else 0


class Crowd:
    """So many sockets of these people; those of nobody only hear the price."""

    def __init__(self, port: int, people: Sequence[Person | None], now: Callable[[], float]) -> None:
        self._url = f"ws://{LOOPBACK}:{port}/socket.io/?EIO=4&transport=websocket"
        self._now = now
        self.members = [Member(person) for person in people]
        self._is_over = threading.Event()
        # An opening may wait for a process that is only starting.
        self._openers = ThreadPoolExecutor(max(1, min(64, len(people))))
        self._thread = threading.Thread(target=self._run, daemon=True)
        list(self._openers.map(self._open, self.members))
        self._thread.start()

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not is_so() and time.monotonic() < deadline:
            time.sleep(0.02)
        return is_so()

    def are_all_in(self) -> bool:
        return all(member.is_in for member in self.members)

    def forget_ticks(self) -> None:
        """Measure from here on: not how all came in."""
        for member in self.members:
            member.ticks.clear()
            member.tick_at.clear()
            member.lags_ms.clear()

    def send_away(self, count: int, rng: random.Random) -> None:
        """So many leave, without a word or with a close frame, and come back."""
        for member in rng.sample(self.members, count):
            member.is_leaving = True

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(10)
        self._openers.shutdown(cancel_futures=True)
        for member in self.members:
            if member.connection is not None:
                member.connection.close(timeout=0)

    def _open(self, member: Member) -> None:
        member.is_opening = True
        try:
            connection = websocket.create_connection(self._url, timeout=5)
            connection.send("40")
            member.connection = connection
        except (OSError, websocket.WebSocketException):
            member.retry_at = time.monotonic() + COME_BACK_AFTER_S
        member.is_opening = False

    def _run(self) -> None:
        poll = select.poll()
        by_descriptor: dict[int, Member] = {}

        def drop(descriptor: int) -> None:
            member = by_descriptor.pop(descriptor)
            poll.unregister(descriptor)
            with suppress(OSError):
                member.connection.shutdown()
            member.connection, member.retry_at = None, time.monotonic() + COME_BACK_AFTER_S

        while not self._is_over.is_set():
            for member in self.members:
                if member.connection is None:
                    if time.monotonic() >= member.retry_at and not member.is_opening:
                        member.is_opening = True
                        self._openers.submit(self._open, member)
                    continue
                descriptor = member.connection.fileno()
                if descriptor not in by_descriptor:
                    poll.register(descriptor, select.POLLIN)
                    by_descriptor[descriptor] = member
                if member.is_leaving:
                    self._leave(member)
                    drop(descriptor)
            for descriptor, _ in poll.poll(50):
                if not self._hear(by_descriptor[descriptor]):
                    drop(descriptor)

    def _leave(self, member: Member) -> None:
        member.is_leaving = member.is_in = False
        if len(member.closed_at) % 2:
            with suppress(OSError, websocket.WebSocketException):
                member.connection.send_close()
        self._note_closed(member, None)

    def _note_closed(self, member: Member, code: int | None) -> None:
        member.closed_at.append(self._now())
        member.close_codes.append(code)

    def _hear(self, member: Member) -> bool:
        """Take one frame; False when the connection is over."""
        try:
            frame = member.connection.recv_frame()
            if frame.opcode == CLOSE:
                raise websocket.WebSocketConnectionClosedException(int.from_bytes(frame.data[:2], "big"))
            if frame.opcode == TEXT:
                self._take(member, frame.data.decode())
            return True
        except (OSError, websocket.WebSocketException) as error:
            code = error.args[0] if error.args and isinstance(error.args[0], int) else None
            was_in, member.is_in = member.is_in, False
            if was_in or len(member.closed_at) == len(member.back_at):  # else it is still on its way back
                self._note_closed(member, code)
            return False

    def _take(self, member: Member, text: str) -> None:
        if text == "2":
            member.connection.send("3")
        elif text.startswith("40"):
            self._introduce(member)
        elif text.startswith("42"):
            name, payload = json.loads(text[2:])
            self._note(member, name, payload)

    def _introduce(self, member: Member) -> None:
        if member.person is None:
            self._is_back(member)
        elif member.balance_seqs:
            # From the last row, not the last balance: a socket may be cut between the two events of one trade.
            last_seq = max(member.rows, default=0)
            resume = {"token": member.person.token, "last_seq": last_seq}
            member.connection.send("42" + json.dumps(["resume", resume]))
        else:
            member.connection.send("42" + json.dumps(["authenticate", member.person.token]))

    def _is_back(self, member: Member) -> None:
        member.is_in = True
        if len(member.back_at) < len(member.closed_at):
            member.back_at.append(self._now())

    def _note(self, member: Member, name: str, payload: dict[str, Any]) -> None:
        if name == "btc_price_update":
            member.ticks[payload["timestamp"]] += 1
            member.tick_at.append(self._now())
            told_at = datetime.fromisoformat(payload["timestamp"]).timestamp()
            member.lags_ms.append((time.time() - told_at) * 1000)
        elif name == "user_balance_update":
            member.balance_at.append(self._now())
            member.balance_seqs.append(payload["seq"])
        elif name in ("user_transaction_update", "user_missed_transactions"):
            member.rows.update(row["seq"] for row in payload["transactions"])
        elif name == "authentication_success":
            self._is_back(member)


@contextmanager
def crowd(port: int, people: Sequence[Person | None], now: Callable[[], float]) -> Iterator[Crowd]:
    """While in here, these sockets are open; all of them have come in once."""
    held = Crowd(port, people, now)
    try:
        held.wait_until(held.are_all_in, 30)
        held.forget_ticks()
        yield held
    finally:
        held.close()
