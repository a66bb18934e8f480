"""Logging: one line an event, whatever a client put into it, and no token in any. Imports nothing of ours."""

import logging
import re
import sys

from flask import Flask

# A JSON Web Token, an API key, what follows Bearer, a URL's password: none belongs in a log, whoever wrote it there.
_SECRETS = re.compile(
    r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*\.?[A-Za-z0-9_-]*"
    r"|\bbt_[A-Za-z0-9_-]{20,}"
    r"|(?<=[Bb]earer )\S+"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
REDACTED = "[redacted]"


class OneLine(logging.Formatter):
    """Escapes line breaks in the message, so that no input can forge a line; a traceback keeps its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class' name
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")

    def format(self, record: logging.LogRecord) -> str:
        return _SECRETS.sub(REDACTED, super().format(record))


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
