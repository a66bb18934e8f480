"""How many messages went to the database and how long it took to answer: in all, and within one request.

Switched on where somebody reads it (metrics, or a line in the log for each request); otherwise nothing is measured.
Within a request a batch of trades counts for the request that led it.
"""

import time
from contextvars import ContextVar
from typing import Any

from flask import Flask
from sqlalchemy import event
from sqlalchemy.engine import Engine

from bittrade import metrics
from bittrade.extensions import db

_BEGAN = "bittrade_query_began"


class Spent:
    """What one request has cost the database so far."""

    __slots__ = ("queries", "seconds")

    def __init__(self) -> None:
        self.queries = 0
        self.seconds = 0.0


_spent: ContextVar[Spent | None] = ContextVar("bittrade_spent", default=None)
_is_on = metrics.is_on


def count_from_here() -> Spent:
    """Count what this request asks the database from here on; return where."""
    spent = Spent()
    _spent.set(spent)
    return spent


def begin() -> float:
    """Return the time at which a message goes out, for `end`."""
    return time.perf_counter() if _is_on else 0.0


def end(began: float) -> None:
    """Note that the answer is there."""
    if not began:
        return
    seconds = time.perf_counter() - began
    metrics.QUERY_TIME.observe(seconds)
    spent = _spent.get()
    if spent is not None:
        spent.queries += 1
        spent.seconds += seconds


def init_app(app: Flask) -> None:
    """Measure the application's engine where somebody reads it."""
    global _is_on
    if metrics.is_on or app.config["LOG_REQUESTS"]:
        _is_on = True
        with app.app_context():
            _listen(db.engine)


def _listen(engine: Engine) -> None:
    @event.listens_for(engine, "before_cursor_execute")
    def before(_connection: Any, _cursor: Any, _text: str, _values: Any, context: Any, _many: bool) -> None:
        setattr(context, _BEGAN, begin())

    @event.listens_for(engine, "after_cursor_execute")
    def after(_connection: Any, _cursor: Any, _text: str, _values: Any, context: Any, _many: bool) -> None:
        end(getattr(context, _BEGAN, 0.0))
