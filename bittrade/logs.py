"""Logging: one line an event, as text or JSON, whatever a client put into it, and no token in any. Imports nothing of ours.

A line says what it belongs to (`belongs_to`): the request, by its `X-Request-ID`, or the job.
"""

import logging
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from flask import Flask
from pythonjsonlogger.json import JsonFormatter

# A JSON Web Token, an API key, what follows Bearer, a URL's password: none belongs in a log, whoever wrote it there.
_SECRETS = re.compile(
    r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*\.?[A-Za-z0-9_-]*"
    r"|\bbt_[A-Za-z0-9_-]{20,}"
    r"|(?<=[Bb]earer )\S+"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
SELDOM_S = 60.0
REDACTED = "[redacted]"
LAYERS = ("api", "domain", "jobs", "providers", "services", "sockets")
_context: ContextVar[Mapping[str, str]] = ContextVar("bittrade_log_context")
_NOTHING: Mapping[str, str] = {}


def belongs_to(**ids: str) -> None:
    """Let every line from here on, in this request or job, carry these ids. Without any, none."""
    _context.set(ids)


@contextmanager
def belonging_to(**ids: str) -> Iterator[None]:
    """Let every line within carry these ids."""
    token = _context.set(ids)
    try:
        yield
    finally:
        _context.reset(token)


def current() -> Mapping[str, str]:
    """Return the ids that lines carry now, to be handed on to what is done later."""
    return _context.get(_NOTHING)


def redact(text: str) -> str:
    """Return the text without tokens, keys and passwords."""
    return _SECRETS.sub(REDACTED, text)


class OneLine(logging.Formatter):
    """Escapes line breaks in the message, so that no input can forge a line; a traceback keeps its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class' name
        ids = " ".join(f"{name}={value}" for name, value in _context.get(_NOTHING).items())
        line = super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")
        return f"{line} [{ids}]" if ids else line

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class JsonLine(JsonFormatter):
    """An object a line: `time`, `level`, `logger`, `message`, what the line belongs to, its facts, `exc_info`."""

    def __init__(self) -> None:
        names = {"levelname": "level", "name": "logger"}
        super().__init__("%(levelname)s %(name)s %(message)s", rename_fields=names, timestamp="time")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Take secrets out of each value: out of the whole line they would take its quotes with them."""
        whole = {**super().process_log_record(log_data), **_context.get(_NOTHING)}
        return {name: redact(value) if isinstance(value, str) else value for name, value in whole.items()}


def formatter(log_format: str) -> logging.Formatter:
    """Return how lines are written where LOG_FORMAT is `log_format`."""
    if log_format == "json":
        return JsonLine()
    return OneLine("%(asctime)s %(levelname)s %(name)s %(message)s")


_lock = threading.Lock()
_silent_until: dict[
    tuple[str, str], float
] = {}  # by logger and message: as many as there are calls in the code
_unlogged: Counter[tuple[str, str]] = Counter()


def warn_seldom(log: logging.Logger, message: str, *values: object, with_traceback: bool = False) -> None:
    """Log a warning at most once a minute for each `message`, with how often it was left out since.

    For what fails at every request while a server is away or refuses.
    """
    which, now = (log.name, message), time.monotonic()
    with _lock:
        if now < _silent_until.get(which, now):
            _unlogged[which] += 1
            return
        _silent_until[which] = now + SELDOM_S
        left_out = _unlogged.pop(which, 0)
    log.warning(
        message + (f" ({left_out} more since the last such line)" if left_out else ""),
        *values,
        exc_info=with_traceback,
    )


def say_mode(mode: str) -> None:
    """Name the mode in a process' first line, whatever LOG_LEVEL is: whoever reads the log must not have to guess."""
    log = logging.getLogger("bittrade")
    log.handle(log.makeRecord(log.name, logging.INFO, "", 0, "BitTrade starts, mode %s", (mode,), None))


def init_logging(app: Flask) -> None:
    """Send everybody's warnings, and ours from the configured level on, to standard error."""
    logging.getLogger("bittrade").setLevel(app.config["LOG_LEVEL"])
    for part in app.config["DEBUG_PARTS"]:
        for name in _loggers_of(part):
            logging.getLogger(name).setLevel(logging.DEBUG)
    # It repeats what clients send wrong, word for word: nothing for an operator, and perhaps somebody's password.
    logging.getLogger("engineio.server").setLevel(logging.CRITICAL)
    root = logging.getLogger()
    if any(isinstance(handler.formatter, OneLine | JsonLine) for handler in root.handlers):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(app.config["LOG_FORMAT"]))
    root.addHandler(handler)


def _loggers_of(part: str) -> Iterator[str]:
    """Return the loggers that `DEBUG=bittrade:part` means: `market` is there in several layers; `*` is all."""
    if part == "*":
        yield "bittrade"
        return
    yield f"bittrade.{part}"
    yield from (f"bittrade.{layer}.{part}" for layer in LAYERS)
