"""The hostile sockets of drill F9, in a process of their own: `python -m drills.hostile PORT TOKEN SECONDS IDLE`.

Beside the drills, they would keep the ones that measure from their turn. Prints what became of them, as JSON.
"""

import json
import os
import resource
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import websocket

from dev.services import LOOPBACK

SLOW, DAWDLERS, OTHERS, ASKERS = 10, 5, 3, 60
PING = b"x" * 125
FILL_S = 180.0
MEGABYTE = 1_000_000
TEXT, CONTINUATION = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_CONT
NONSENSE = (
    "x",
    "",
    "44{}",
    "4" + "[" * 8000,
    "42" + "9" * 5000 + '["authenticate"]',
    "451-[",
    "40/admin,",
    "1",
)
RESERVED = ("connect", "disconnect", "message", "join", "*", "user:1")
ENDED = (OSError, websocket.WebSocketException)
Attack = Callable[[Any, "Counter[str]", threading.Event], None]


def _connect(port: int, **options: Any) -> Any:
    url = f"ws://{LOOPBACK}:{port}/socket.io/?EIO=4&transport=websocket"
    return websocket.create_connection(url, timeout=5, **options)


def _again_and_again(
    name: str, attack: Attack, port: int, counts: "Counter[str]", is_over: threading.Event
) -> None:
    """Open a socket, do what is bad until it is cut, and come back."""
    while not is_over.wait(0.1):
        with suppress(*ENDED):
            connection = _connect(port)
            try:
                attack(connection, counts, is_over)
            except ENDED:
                counts[f"{name} cut"] += 1
            connection.shutdown()


def _flood(connection: Any, _counts: "Counter[str]", is_over: threading.Event) -> None:
    """As many events as the connection takes."""
    connection.send("40")
    event = websocket.ABNF.create_frame('42["authenticate","nobody"]', TEXT).format()
    while not is_over.is_set():
        connection.sock.sendall(event * 500)


def _huge_frame(connection: Any, _counts: "Counter[str]", _is_over: threading.Event) -> None:
    """One frame that says it has 64 MB, and sends them."""
    connection.sock.sendall(b"\x81\xff" + (64 * MEGABYTE).to_bytes(8, "big") + b"\0\0\0\0")
    for _ in range(640):
        connection.sock.sendall(b"4" * (MEGABYTE // 10))


def _endless_message(connection: Any, _counts: "Counter[str]", is_over: threading.Event) -> None:
    """One message in fragments, each of them small."""
    connection.sock.sendall(websocket.ABNF.create_frame("4", TEXT, fin=0).format())
    piece = websocket.ABNF.create_frame("4" * 1000, CONTINUATION, fin=0).format()
    while not is_over.is_set():
        connection.sock.sendall(piece)


def _nonsense(connection: Any, counts: "Counter[str]", is_over: threading.Event) -> None:
    """What is neither Engine.IO nor Socket.IO, and events that a client must not send, slowly enough to be heard."""
    connection.send("40")
    number = 0
    while not is_over.wait(0.05):
        events = [json.dumps([name, {"room": "user:1"}]) for name in RESERVED]
        texts = (*(f"42{event}" for event in events), *NONSENSE)
        connection.send(texts[number % len(texts)])
        number += 1
        counts["nonsense sent"] += 1
        if connection.recv_frame().opcode == websocket.ABNF.OPCODE_CLOSE:
            return


def _ask(connection: Any, counts: "Counter[str]", is_over: threading.Event) -> None:
    """What costs, as often as a socket may send anything without being cut."""
    connection.send("40")
    while not is_over.wait(1 / 45):
        connection.send('42["authenticate","nobody"]')
        counts["asks"] += 1


def _read_nothing(port: int, token: str, counts: "Counter[str]", is_over: threading.Event) -> None:
    """Ask for much, and read none of it: after the few events that a socket may send, the answers to pings."""
    slow = []
    for _ in range(SLOW):
        connection = _connect(port, sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
        connection.send("40")
        slow.append(connection)
    for connection in slow:
        connection.send(f'42["authenticate","{token}"]')
    while slow and not is_over.wait(1 / 80):
        for connection in list(slow):
            try:
                connection.ping(PING)
            except ENDED:
                counts["slow cut"] += 1
                slow.remove(connection)


def _dawdle(port: int, token: str, counts: "Counter[str]", is_over: threading.Event) -> None:
    """Ask for more than it reads, and see that what it reads is whole, to the last frame before it is cut."""
    while not is_over.wait(0.1):
        with suppress(*ENDED):
            connection = _connect(port, sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
            connection.send("40")
            connection.send(f'42["authenticate","{token}"]')
            while not is_over.wait(0.05):
                with suppress(*ENDED):  # it may be cut: what was sent before that is read all the same
                    for _ in range(5):
                        connection.ping(PING)
                for _ in range(2):
                    frame = connection.recv_frame()
                    if frame.opcode == TEXT:
                        counts["dawdlers' frames"] += 1
                        counts["dawdlers' broken frames"] += not _is_whole(frame.data)
                    elif frame.opcode == websocket.ABNF.OPCODE_PONG:
                        counts["dawdlers' frames"] += 1
                        counts["dawdlers' broken frames"] += frame.data != PING


def _is_whole(data: bytes) -> bool:
    text = data.decode(errors="replace")
    if text == "2" or text[:1] in "01":
        return True
    try:
        json.loads(text[2:])
    except ValueError:
        return False
    return text.startswith("4")


def _stay_idle(port: int, wanted: int, counts: "Counter[str]", is_over: threading.Event) -> None:
    """Open so many transports, say nothing on any."""
    idle = []
    for _ in range(wanted):
        if is_over.is_set():
            break
        try:
            idle.append(_connect(port))
            counts["idle"] += 1
        except ENDED:
            counts["refused"] += 1
    is_over.wait()


def main() -> None:
    port, token, seconds, idle = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    is_over = threading.Event()
    counts: Counter[str] = Counter({"slow readers": SLOW, "slow cut": 0, "dawdlers' broken frames": 0})
    attacks = {
        "floods": _flood,
        "huge frames": _huge_frame,
        "endless messages": _endless_message,
        "nonsense": _nonsense,
    }
    work = [
        partial(_again_and_again, name, attack, port, counts, is_over)
        for name, attack in attacks.items()
        for _ in range(OTHERS)
    ]
    work += [partial(_again_and_again, "asks", _ask, port, counts, is_over)] * ASKERS
    work += [partial(_dawdle, port, token, counts, is_over)] * DAWDLERS
    work += [partial(_read_nothing, port, token, counts, is_over)]
    work += [partial(_stay_idle, port, idle, counts, is_over)]
    threads = [threading.Thread(target=task, daemon=True) for task in work]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    # On a busy machine it takes longer until enough waits for those who read nothing.
    deadline = time.monotonic() + FILL_S
    while counts["slow cut"] < SLOW and time.monotonic() < deadline:
        time.sleep(0.1)
    is_over.set()
    for thread in threads:
        thread.join(20)
    print(json.dumps(counts), flush=True)
    os._exit(0)  # thousands of sockets: closing each by hand would take longer than the drill


if __name__ == "__main__":
    main()
