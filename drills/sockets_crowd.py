"""A crowd of sockets for the drills: raw WebSockets, read by one thread, that keep what they were told and come back."""

import json
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
    """One client: whose it is, and what it was told."""

    person: Person | None
    connection: Any = None
    balance_seqs: list[int] = field(default_factory=list)
    rows: Counter[int] = field(default_factory=Counter)  # seqs of transactions that it knows
    ticks: Counter[str] = field(default_factory=Counter)  # by their timestamp
    lags_ms: list[float] = field(default_factory=list)
    closed_at: list[float] = field(default_factory=list)
    close_codes: list[int | None] = field(default_factory=list)
    back_at: list[float] = field(default_factory=list)
    retry_at: float = 0.0
    is_in: bool = False
    is_opening: bool = False

    @property
    def last_seq(self) -> int:
        return self.balance_seqs[-1] if self.balance_seqs else 0


class Crowd:
    """So many sockets of these people; those of nobody only hear the price."""

    def __init__(self, port: int, people: Sequence[Person | None]) -> None:
        self._url = f"ws://{LOOPBACK}:{port}/socket.io/?EIO=4&transport=websocket"
        self.members = [Member(person) for person in people]
        self._is_over = threading.Event()
        self._openers = ThreadPoolExecutor(
            max(1, min(64, len(people)))
        )  # an opening may wait for a new process
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
        while not self._is_over.is_set():
            for member in self.members:
                if member.connection is None:
                    if time.monotonic() >= member.retry_at and not member.is_opening:
                        member.is_opening = True
                        self._openers.submit(self._open, member)
                elif (descriptor := member.connection.fileno()) not in by_descriptor:
                    poll.register(descriptor, select.POLLIN)
                    by_descriptor[descriptor] = member
            for descriptor, _ in poll.poll(50):
                member = by_descriptor[descriptor]
                if not self._hear(member):
                    poll.unregister(descriptor)
                    del by_descriptor[descriptor]
                    with suppress(OSError):
                        member.connection.shutdown()
                    member.connection, member.retry_at = None, time.monotonic() + COME_BACK_AFTER_S

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
            member.is_in = False
            member.closed_at.append(time.monotonic())
            member.close_codes.append(code)
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
            resume = {"token": member.person.token, "last_seq": member.last_seq}
            member.connection.send("42" + json.dumps(["resume", resume]))
        else:
            member.connection.send("42" + json.dumps(["authenticate", member.person.token]))

    def _is_back(self, member: Member) -> None:
        member.is_in = True
        if member.closed_at:
            member.back_at.append(time.monotonic())

    def _note(self, member: Member, name: str, payload: dict[str, Any]) -> None:
        if name == "btc_price_update":
            member.ticks[payload["timestamp"]] += 1
            member.lags_ms.append(
                (time.time() - datetime.fromisoformat(payload["timestamp"]).timestamp()) * 1000
            )
        elif name == "user_balance_update":
            member.balance_seqs.append(payload["seq"])
        elif name in ("user_transaction_update", "user_missed_transactions"):
            member.rows.update(row["seq"] for row in payload["transactions"])
        elif name == "authentication_success":
            self._is_back(member)
