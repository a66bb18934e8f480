"""What a web process says of itself between requests: how late its event loop is, its sockets, its connections.

Runs in gunicorn's workers alone, and only where metrics are on; it also writes down, once a second, what was counted.
"""

import logging
import time

import gevent
from flask import Flask
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool

from bittrade import metrics
from bittrade.extensions import db
from bittrade.messages import list_plain_engines
from bittrade.metric_files import Writer

log = logging.getLogger(__name__)
LOOK_EACH_S = 0.25  # how often the loop's lateness is measured
WRITE_EACH = 4  # looks


def start(app: Flask) -> Writer:
    """Begin to look; return what writes the files, for a last time at the worker's end."""
    writer = Writer()
    gevent.spawn(_repeat, app, writer)
    return writer


def _repeat(app: Flask, writer: Writer) -> None:
    turn = 0
    while True:
        began = time.monotonic()
        gevent.sleep(LOOK_EACH_S)
        metrics.LOOP_LAG.observe(max(0.0, time.monotonic() - began - LOOK_EACH_S))
        turn += 1
        if turn % WRITE_EACH == 0:
            try:
                measure(app)
                writer.write()
            except Exception:
                log.exception("could not write metrics")


def measure(app: Flask) -> None:
    """Note what is open now."""
    metrics.SOCKETS.set(app.extensions["bittrade_gate"].count())
    with app.app_context():
        pools = [engine.pool for engine in _list_engines(app) if isinstance(engine.pool, QueuePool)]
    metrics.POOL.set(sum(pool.checkedout() for pool in pools), "in_use")
    metrics.POOL.set(sum(pool.checkedin() for pool in pools), "idle")
    metrics.POOL.set(sum(pool.size() for pool in pools), "limit")


def _list_engines(app: Flask) -> list[Engine]:
    return [*db.engines.values(), *list_plain_engines(app)]
