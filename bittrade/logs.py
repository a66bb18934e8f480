"""Logging: one line an event, whatever a client put into it. Imports nothing of ours."""

import logging
import sys

from flask import Flask


class OneLine(logging.Formatter):
    """Escapes line breaks in the message, so that no input can forge a line; a traceback keeps its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class' name
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")


def init_logging(app: Flask) -> None:
    """Send our loggers to standard error at the configured level; other libraries only their warnings."""
    logger = logging.getLogger("bittrade")
    logger.setLevel(app.config["LOG_LEVEL"])
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
        logger.addHandler(handler)
