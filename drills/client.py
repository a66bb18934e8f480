"""A client's HTTP: kept connections, time limits, and every outcome as a value: an answer or the error's name."""

import json
import select
import socket
import struct
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from dev.services import LOOPBACK
from drills.surroundings import Person

# Longer than any answer may take, so that one which takes too long is seen and measured.
TIMEOUT_S = 20.0
# The server cuts kept connections after 5 s; younger ones are used again, if they are still open.
PATHS = {"trade": "/api/trade", "balance": "/api/balance", "page": "/api/transactions?limit=20"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A status with its body, or an error."""

    status: int | None = None
    body: dict[str, Any] | None = None
    error: str | None = None
    retry_after: str | None = None
    is_replay: bool = False


class Client:
    """One connection at a time to the server; not for two threads."""

    def __init__(self, port: int, *, timeout_s: float = TIMEOUT_S) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self._connection: HTTPConnection | None = None

    def trade(self, person: Person, body: dict[str, Any], key: str) -> Outcome:
        return self._request("POST", PATHS["trade"], _headers(person, key), json.dumps(body).encode())

    def read(self, person: Person, kind: str) -> Outcome:
        """The user's balance or the first page of their history."""
        return self._request("GET", PATHS[kind], _headers(person), None)

    def send(
        self, person: Person, method: str, path: str, body: object = None, key: str | None = None
    ) -> Outcome:
        """Any other request."""
        text = None if body is None else json.dumps(body).encode()
        return self._request(method, path, _headers(person, key), text)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Outcome:
        try:
            connection = self._connect()
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            self.close()
            return Outcome(error=f"{type(error).__name__}: {error}"[:200])
        if answer.will_close:
            self.close()
        return _outcome(
            answer.status, text, answer.getheader("Retry-After"), answer.getheader("Idempotent-Replayed")
        )

    def _connect(self) -> HTTPConnection:
        """The kept connection, unless the server has closed it meanwhile."""
        held = self._connection
        if held is not None and held.sock is not None:
            watch = select.poll()  # select() knows no descriptor above 1,023
            watch.register(held.sock, select.POLLIN)
            if not watch.poll(0):
                return held
        self.close()
        self._connection = HTTPConnection(LOOPBACK, self._port, timeout=self._timeout_s)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection


def ask(
    port: int,
    method: str,
    path: str,
    *,
    body: str | None = None,
    token: str = "",
    timeout_s: float = TIMEOUT_S,
) -> tuple[int, float]:
    """One request on a connection of its own: the status, and the milliseconds it took; 0 where nobody answered."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    began = time.monotonic()
    connection = HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        status = answer.status
    except (OSError, HTTPException):
        status = 0
    finally:
        connection.close()
    return status, (time.monotonic() - began) * 1000


def send_and_vanish(port: int, person: Person, body: dict[str, Any], key: str, *, with_reset: bool) -> None:
    """Send a trade's every byte and be gone before the answer: with a TCP reset, or an ordinary close."""
    text = json.dumps(body).encode()
    headers = {"Host": LOOPBACK, "Content-Length": str(len(text)), **_headers(person, key)}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
        connection.sendall(f"POST {PATHS['trade']} HTTP/1.1\r\n{head}\r\n".encode() + text)
        if with_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _headers(person: Person, key: str | None = None) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {person.token}", "Content-Type": "application/json"}
    return headers if key is None else headers | {"Idempotency-Key": key}


def _outcome(status: int, text: bytes, retry_after: str | None, replayed: str | None) -> Outcome:
    try:
        body = json.loads(text)
    except ValueError:
        return Outcome(status=status, error=f"not JSON: {text[:100]!r}", retry_after=retry_after)
    if not isinstance(body, dict):
        return Outcome(status=status, error=f"not an object: {text[:100]!r}", retry_after=retry_after)
    return Outcome(status, body, None, retry_after, replayed == "true")
