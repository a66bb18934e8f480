"""HTTP: one request, asked until it is answered, within bounds. It must not know what is asked.

What may be asked again: what carries an Idempotency-Key, what only reads, what comes to the same when it is done twice.
Anything else only where it certainly was not done: refused before work, or never sent.
"""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import requests
from urllib3.exceptions import NewConnectionError

from bittrade_client.errors import ApiError, UnexpectedAnswer, Unreachable, error_of

REFUSED_BEFORE_WORK = frozenset({"rate_limited", "too_busy", "shutting_down"})
PERHAPS_DONE = frozenset({"database_unavailable", "outcome_unknown", "body_too_slow"})
GATEWAY = frozenset({502, 503, 504})  # of something between us and the server, which says no code
CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to go on: so many times, for so many seconds, with growing pauses. The server's Retry-After wins over ours."""

    attempts: int = 8
    for_s: float = 60.0
    first_pause_s: float = 0.25
    longest_pause_s: float = 8.0

    def pause_s(self, attempt: int) -> float:
        """Return the pause after an attempt, counted from 1: doubled each time, and never the same for all clients."""
        pause = min(self.longest_pause_s, self.first_pause_s * 2.0 ** (attempt - 1))
        return pause * (0.5 + random.random() / 2)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `is_repeatable` where asking twice comes to the same as asking once."""

    method: str
    path: str
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    is_repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of 2xx. Numbers with places are Decimals."""

    body: Any
    headers: Mapping[str, str]
    attempts: int

    @property
    def is_replay(self) -> bool:
        return self.headers.get("Idempotent-Replayed") == "true"


class Transport:
    """One server, one token, one pool of connections."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        retry: Retry | None = None,
        timeout_s: tuple[float, float] = (5.0, 30.0),
        session: requests.Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.retry = retry or Retry()
        self._timeout_s = timeout_s  # to connect, and to wait for the next bytes
        self._session = session or requests.Session()
        self._sleep = sleep

    def close(self) -> None:
        self._session.close()

    def ask(self, request: Request) -> Reply:
        """Return the answer. Raises ApiError for a refusal, Unreachable where none came."""
        give_up_at = time.monotonic() + self.retry.for_s
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._ask_once(request, attempt)
            except (ApiError, Unreachable) as error:
                error.attempts = attempt
                pause = self._pause_s(request, error, attempt)
                if pause is None or time.monotonic() + pause > give_up_at:
                    raise
            self._sleep(pause)

    @contextmanager
    def stream(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[Iterator[str]]:
        """Give a text piece by piece, as it comes. Raises as `ask` does; a text that breaks off is Unreachable."""
        with self._send(Request("GET", path, query), is_streamed=True) as response:
            if not response.ok:
                raise error_of(response.status_code, _read_json(response), response.headers)
            response.encoding = "utf-8"
            yield self._pieces(response)

    def _pieces(self, response: requests.Response) -> Iterator[str]:
        try:
            yield from response.iter_content(CHUNK, decode_unicode=True)
        except requests.RequestException as error:
            raise Unreachable(f"The answer broke off: {error}") from error

    def _ask_once(self, request: Request, attempt: int) -> Reply:
        response = self._send(request)
        body = _read_json(response)
        if not response.ok:
            raise error_of(response.status_code, body, response.headers)
        if body is None:
            raise UnexpectedAnswer(f"{request.method} {request.path}: no JSON")
        return Reply(body, response.headers, attempt)

    def _send(self, request: Request, *, is_streamed: bool = False) -> requests.Response:
        headers = {"Accept": "application/json, text/csv"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if request.idempotency_key:
            headers["Idempotency-Key"] = request.idempotency_key
        query = {name: value for name, value in (request.query or {}).items() if value is not None}
        try:
            return self._session.request(
                request.method,
                f"{self.url}{request.path}",
                params=query,
                json=None if request.body is None else dict(request.body),
                headers=headers,
                timeout=self._timeout_s,
                stream=is_streamed,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise _unreachable(request, error) from error

    def _pause_s(self, request: Request, error: ApiError | Unreachable, attempt: int) -> float | None:
        """Return how long to wait before asking again; None where that would be wrong, or pointless."""
        may_repeat = request.is_repeatable or request.idempotency_key is not None or request.method == "GET"
        if isinstance(error, Unreachable):
            is_worth_it = may_repeat or isinstance(error, NeverSent)
        elif error.code in REFUSED_BEFORE_WORK:
            is_worth_it = True
        else:
            is_gateway = error.status in GATEWAY and error.code == f"http_{error.status}"
            is_worth_it = may_repeat and (error.code in PERHAPS_DONE or is_gateway)
        if not is_worth_it or attempt >= self.retry.attempts:
            return None
        pause = self.retry.pause_s(attempt)
        asked = error.retry_after_s if isinstance(error, ApiError) else None
        return pause if asked is None else max(pause, asked)


class NeverSent(Unreachable):
    """Nobody listened: what was asked was certainly not done."""


def _unreachable(request: Request, error: requests.RequestException) -> Unreachable:
    reason = error.args[0] if error.args else error
    is_refused = isinstance(getattr(reason, "reason", None), NewConnectionError)
    kind = NeverSent if is_refused or isinstance(error, requests.ConnectTimeout) else Unreachable
    return kind(f"{request.method} {request.path}: {type(error).__name__}")


def _read_json(response: requests.Response) -> Any:
    """Return the body, without a float in it; None where it is no JSON."""
    try:
        return json.loads(response.content, parse_float=Decimal)
    except (ValueError, requests.RequestException):
        return None
