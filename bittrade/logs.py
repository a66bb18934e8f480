"""Logging: one line an event, whatever a client put into it, and no token in any. Imports nothing of ours."""

import logging
import re
import sys
import threading
import time
from collections import Counter

from flask import Flask

# A JSON Web Token, an API key, what follows Bearer, a URL's password: none belongs in a log, whoever wrote it there.
_SECRETS = re.compile(
    r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*\.?[A-Za-z0-9_-]*"
    r"|\bbt_[A-Za-z0-9_-]{20,}"
    r"|(?<=[Bb]earer )\S+"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
SELDOM_S = 60.0
REDACTED = "[redacted]"


class OneLine(logging.Formatter):
    """Escapes line breaks in the message, so that no input can forge a line; a traceback keeps its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class' name
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")

    def format(self, record: logging.LogRecord) -> str:
        return _SECRETS.sub(REDACTED, super().format(record))


_lock = threading.Lock()
_silent_until: dict[
    tuple[str, str], float
] = {}  # by logger and message: as many as there are calls in the code
_unlogged: Counter[tuple[str, str]] = Counter()


def warn_seldom(log: logging.Logger, message: str, *values: object) -> None:
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
    log.warning(message + (f" ({left_out} more since the last such line)" if left_out else ""), *values)


def say_mode(mode: str) -> None:
    """Name the mode in a process' first line, whatever LOG_LEVEL is: whoever reads the log must not have to guess."""
    log = logging.getLogger("bittrade")
    log.handle(log.makeRecord(log.name, logging.INFO, "", 0, "BitTrade starts, mode %s", (mode,), None))


def init_logging(app: Flask) -> None:
    """Send everybody's warnings, and ours from the configured level on, to standard error."""
    logging.getLogger("bittrade").setLevel(app.config["LOG_LEVEL"])
    # It repeats what clients send wrong, word for word: nothing for an operator, and perhaps somebody's password.
    logging.getLogger("engineio.server").setLevel(logging.CRITICAL)
    root = logging.getLogger()
    if any(isinstance(handler.formatter, OneLine) for handler in root.handlers):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root.addHandler(handler)
