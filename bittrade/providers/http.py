"""The one door to other people's servers: a GET that ends in time, stays small, and gives strictly parsed JSON.

It must not know which source it talks to, nor believe any of them: every limit below is there because a server that
is slow, broken or hostile must cost no more than one failed fetch. Failures are ProviderError with a short reason;
the body is never part of it.
"""

import json
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

import requests
import urllib3

from bittrade.errors import AnswerRefused, ProviderError, SourceNotAsked

USER_AGENT = "BitTrade/1.0"
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
READ_BYTES = 65_536
MAX_JSON_DEPTH = 20
MAX_NUMBER_CHARACTERS = 64
MAX_NUMBER_EXPONENT = 30  # no price, market cap or timestamp comes near 10^30
MAX_PAUSE_S = 3600.0
RETRIABLE = {500, 502, 503, 504}
ASKS_TO_WAIT = {429, 503}
# What is only structure once the strings are gone: counting it bounds the depth before anything recurses.
JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
JSON_BRACKET = re.compile(rb"[\[\]{}]")


class Pauses(Protocol):
    """Where "come back in a minute" is remembered, so that the next fetch (perhaps another process) obeys it."""

    def seconds_left(self, host: str) -> float: ...

    def pause(self, host: str, seconds: float) -> None: ...


class PausesInMemory:
    """Remembers for this process only."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def seconds_left(self, host: str) -> float:
        return max(0.0, self._until.get(host, 0.0) - time.monotonic())

    def pause(self, host: str, seconds: float) -> None:
        self._until[host] = time.monotonic() + seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200 with JSON in it."""

    data: Any
    server: str  # the `Server` header, to tell the simulator from the real thing
    received_at: datetime


class _Retriable(Exception):
    """This attempt failed in a way that a second one may not."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class HttpClient:
    """A careful GET. One client serves one fetch at a time; it is safe to make before a fork.

    `deadline_s` bounds everything together: DNS, connecting, headers, body, retries and the waits between them.
    A `Retry-After` up to `max_wait_s` is waited for; a longer one ends the fetch and is remembered in `pauses`.
    `permit` is asked before every request, a retry too, and raises ProviderError where there must be none.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = 3.05,
        read_timeout_s: float = 5.0,
        deadline_s: float = 15.0,
        max_bytes: int = 1_000_000,
        attempts: int = 2,
        max_wait_s: float = 5.0,
        pauses: Pauses | None = None,
        permit: Callable[[], None] | None = None,
    ) -> None:
        self._timeouts_s = (connect_timeout_s, read_timeout_s)
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._attempts = attempts
        self._max_wait_s = max_wait_s
        self._pauses = pauses or PausesInMemory()
        self._permit = permit or (lambda: None)

    def get_json(
        self,
        url: str,
        *,
        source: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Fetch and parse. Raises ProviderError, whose message begins with `source`."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ProviderError(f"{source}: the address must begin with http:// or https://")
        if (left := self._pauses.seconds_left(parts.netloc)) > 0:
            raise SourceNotAsked(f"{source}: asked us to wait; {left:.0f} s of that are left")
        deadline = time.monotonic() + self._deadline_s
        first: _Retriable | None = None
        for attempt in range(1, self._attempts + 1):
            try:
                self._permit()
                return self._attempt(url, dict(params or {}), dict(headers or {}), deadline)
            except _Retriable as failure:
                first = first or failure
                wait_s = self._wait_before_retry(failure, attempt)
                if failure.retry_after_s and failure.retry_after_s > self._max_wait_s:
                    self._pauses.pause(parts.netloc, min(failure.retry_after_s, MAX_PAUSE_S))
                if wait_s is None or time.monotonic() + wait_s >= deadline:
                    raise ProviderError(f"{source}: {failure}") from None
                time.sleep(wait_s)
            except ProviderError as failure:
                if first is not None and isinstance(failure, SourceNotAsked):
                    break  # no second try is allowed: what went wrong with the first is the reason
                raise type(failure)(f"{source}: {failure.message}") from None
        raise ProviderError(f"{source}: {first or 'no attempt was allowed'}")

    def _wait_before_retry(self, failure: _Retriable, attempt: int) -> float | None:
        """Seconds until the next attempt, or None where there should be none."""
        if attempt >= self._attempts:
            return None
        if failure.retry_after_s is not None:
            return failure.retry_after_s if failure.retry_after_s <= self._max_wait_s else None
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, no secret
        return min(0.5 * 2 ** (attempt - 1) * jitter, self._max_wait_s)

    def _attempt(self, url: str, params: dict[str, str], headers: dict[str, str], deadline: float) -> Answer:
        """One try in a thread of its own, because nothing else can end a DNS lookup or headers that drip."""
        outcome: SimpleQueue[Answer | BaseException] = SimpleQueue()

        def run() -> None:
            try:
                outcome.put(self._get(url, params, headers, deadline))
            except BaseException as failure:  # handed to the caller, who raises it
                outcome.put(failure)

        threading.Thread(target=run, name="fetch", daemon=True).start()
        try:
            result = outcome.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            raise ProviderError(f"did not finish within {self._deadline_s:g} s") from None
        if isinstance(result, BaseException):
            raise result
        return result

    def _get(self, url: str, params: dict[str, str], headers: dict[str, str], deadline: float) -> Answer:
        # A session of its own for each attempt: nothing to share with a fork or with an attempt given up on, and
        # nothing to reuse between fetches that are half a minute apart.
        with requests.Session() as session:
            session.headers.update({"Accept": "application/json", "User-Agent": USER_AGENT, **headers})
            # A proxy that the environment names is for the world outside, not for loopback.
            session.trust_env = urlsplit(url).hostname not in LOOPBACK
            try:
                with session.get(
                    url,
                    params=params,
                    timeout=self._timeouts_s,
                    stream=True,
                    allow_redirects=False,
                    verify=True,
                ) as response:
                    _check_status(response)
                    body = self._read_body(response, deadline)
                    data = _parsed(body, response)
                    return Answer(data, response.headers.get("Server", ""), datetime.now(UTC))
            except requests.exceptions.SSLError:
                raise ProviderError("its certificate could not be verified") from None
            except (requests.ConnectTimeout, requests.ConnectionError) as failure:
                raise _Retriable(f"cannot be reached ({_kind(failure)})") from None
            except (requests.Timeout, urllib3.exceptions.ReadTimeoutError):
                raise ProviderError(f"sent nothing for {self._timeouts_s[1]:g} s") from None
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as failure:
                raise ProviderError(f"broke off or sent bad HTTP ({_kind(failure)})") from None

    def _read_body(self, response: requests.Response, deadline: float) -> bytes:
        """The decoded body; both sizes, on the wire and decoded, are capped while reading."""
        body = bytearray()
        # read1 hands over what has come: read would wait for a full buffer, and a slow drip never fills it in time.
        while chunk := response.raw.read1(READ_BYTES, decode_content=True):
            body += chunk
            if len(body) > self._max_bytes or response.raw.tell() > self._max_bytes:
                raise ProviderError(f"sent more than {self._max_bytes} bytes")
            if time.monotonic() > deadline:
                raise ProviderError(f"did not finish within {self._deadline_s:g} s")
        if not body:
            raise AnswerRefused("sent an empty body")
        return bytes(body)


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    retry_after_s = retry_after(response.headers.get("Retry-After")) if status in ASKS_TO_WAIT else None
    if status in RETRIABLE or retry_after_s is not None:
        raise _Retriable(f"answered {status}", retry_after_s=retry_after_s)
    hint = " (redirects are not followed)" if 300 <= status < 400 else ""
    raise ProviderError(f"answered {status}{hint}")


def _parsed(body: bytes, response: requests.Response) -> Any:
    """Return the JSON, whatever it was sent as: what is called a web page and is none may still be the answer."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        return strict_json(body)
    except AnswerRefused:
        if kind != "application/json" and not kind.endswith("+json"):
            raise AnswerRefused("did not send JSON") from None
        raise


def _kind(failure: BaseException) -> str:
    return type(failure).__name__


def retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number or an HTTP date. None where it says nothing usable."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - (now or datetime.now(UTC))).total_seconds())


def strict_json(body: bytes) -> Any:
    """Parse UTF-8 JSON: integers as int, other numbers as Decimal, and None for a number that nobody can use.

    An unusable number only costs what it stands for. Raises AnswerRefused for what is doubtful as a whole.
    """
    _check_depth(body)
    try:
        data = json.loads(
            body.decode("utf-8", errors="strict"),
            parse_constant=_refuse_constant,
            parse_float=_number,
            parse_int=_integer,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError):
        raise AnswerRefused("sent malformed JSON") from None
    if data is None:
        raise AnswerRefused("sent nothing, or one absurd number")
    return data


def _check_depth(body: bytes) -> None:
    depth = 0
    for bracket in JSON_BRACKET.findall(JSON_STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_JSON_DEPTH:
            raise AnswerRefused(f"sent JSON nested deeper than {MAX_JSON_DEPTH}")


def _refuse_constant(_text: str) -> NoReturn:
    raise AnswerRefused("sent a number that is not finite")


def _number(text: str) -> Decimal | None:
    """Return the number; None beyond what any figure can be, before any arithmetic: int(Decimal("1e1000000")) takes long."""
    try:
        number = Decimal(text) if len(text) <= MAX_NUMBER_CHARACTERS else None
    except InvalidOperation:
        return None
    return None if number is None or abs(number.adjusted()) > MAX_NUMBER_EXPONENT else number


def _integer(text: str) -> int | None:
    number = _number(text)
    return None if number is None else int(number)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise AnswerRefused("sent an object with a key twice")
    return found
