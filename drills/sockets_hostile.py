"""The hostile sockets of drill F9, in a process of their own: `python -m drills.sockets_hostile PORT TOKEN SECONDS IDLE`."""

import json
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import websocket

from dev.services import LOOPBACK

SLOW, FLOODS, BOMBS = 10, 3, 3
MEGABYTE = 1_000_000


def _connect(port: int, **options: Any) -> Any:
    url = f"ws://{LOOPBACK}:{port}/socket.io/?EIO=4&transport=websocket"
    return websocket.create_connection(url, timeout=5, **options)


def _flood(port: int, counts: dict[str, int], is_over: threading.Event) -> None:
    event = websocket.ABNF.create_frame('42["authenticate","nobody"]', websocket.ABNF.OPCODE_TEXT).format()
    while not is_over.wait(0.1):
        with suppress(websocket.WebSocketException, OSError):
            connection = _connect(port)
            connection.send("40")
            try:
                while not is_over.is_set():
                    connection.sock.sendall(event * 500)
            except OSError:
                counts["floods cut"] += 1


def _bomb(port: int, counts: dict[str, int], is_over: threading.Event) -> None:
    while not is_over.wait(0.2):
        with suppress(websocket.WebSocketException, OSError):
            connection = _connect(port)
            try:
                connection.sock.sendall(b"\x81\xff" + (64 * MEGABYTE).to_bytes(8, "big") + b"\0\0\0\0")
                for _ in range(640):
                    connection.sock.sendall(b"4" * (MEGABYTE // 10))
            except OSError:
                counts["bombs cut"] += 1


def _read_nothing(port: int, token: str, counts: dict[str, int], is_over: threading.Event) -> None:
    slow = []
    for _ in range(SLOW):
        connection = _connect(port, sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
        connection.send("40")
        slow.append(connection)
    ask = f'42["authenticate","{token}"]'
    while slow and not is_over.wait(1 / 40):
        for connection in list(slow):
            try:
                connection.send(ask)
            except (OSError, websocket.WebSocketException):
                counts["slow cut"] += 1
                slow.remove(connection)


def _stay_idle(port: int, wanted: int, counts: dict[str, int], is_over: threading.Event) -> None:
    idle = []
    for _ in range(wanted):
        if is_over.is_set():
            break
        try:
            idle.append(_connect(port))
            counts["idle"] += 1
        except (OSError, websocket.WebSocketException):
            counts["refused"] += 1
    is_over.wait()


def main() -> None:
    port, token, seconds, idle = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    is_over = threading.Event()
    counts = {"refused": 0, "idle": 0, "floods cut": 0, "bombs cut": 0, "slow readers": SLOW, "slow cut": 0}
    threads = [threading.Thread(target=_flood, args=(port, counts, is_over)) for _ in range(FLOODS)]
    threads += [threading.Thread(target=_bomb, args=(port, counts, is_over)) for _ in range(BOMBS)]
    threads += [threading.Thread(target=_read_nothing, args=(port, token, counts, is_over))]
    threads += [threading.Thread(target=_stay_idle, args=(port, idle, counts, is_over))]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    is_over.set()
    for thread in threads:
        thread.join(20)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
