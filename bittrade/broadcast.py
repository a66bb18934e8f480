"""One function per outgoing event. A lost broadcast is counted, and a log line: `sockets/upkeep.py` repairs it.

Events go through the Redis message queue, so that every web process delivers to its own sockets. A gevent process
hands them to one greenlet, in order: publishing never holds up a request. Elsewhere (jobs, commands, tests) they go
out at once.
"""

import json
import logging
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app

from bittrade import logs, metrics, wire
from bittrade.errors import BitTradeError
from bittrade.extensions import is_gevent, socketio

log = logging.getLogger(__name__)
_MAX_WAITING = 10_000


def user_room(user_id: int) -> str:
    """The room of all of a user's sockets; its name never comes from a client."""
    return f"user:{user_id}"


def price_changed(payload: dict[str, Any]) -> None:
    """`btc_price_update` to everyone; `payload` is made by `services.market.price`."""
    _send("btc_price_update", lambda: payload)


def market_status(payload: dict[str, Any]) -> None:
    """`market_status` to everyone; `payload` is made by `services.market.watch`."""
    _send("market_status", lambda: stamped(payload))


def balance_changed(user_id: int, balance: dict[str, Any]) -> None:
    """`user_balance_update` to the user: the seven fields and `seq`."""
    _send("user_balance_update", lambda: stamped(balance), to=user_room(user_id))


def transactions_changed(user_id: int, load: Callable[[], tuple[list[dict[str, Any]], int]]) -> None:
    """`user_transaction_update` to the user: the latest 15. `load` is called when the event goes out, and gives them with
    the `seq` that they are true of."""
    _send("user_transaction_update", lambda: transaction_update(*load()), to=user_room(user_id))


def order_changed(user_id: int, order: dict[str, Any]) -> None:
    """`user_order_update` to the user: one order as it is now."""
    _send("user_order_update", lambda: stamped({"order": order}), to=user_room(user_id))


def plans_changed(user_id: int, load: Callable[[], dict[str, Any]]) -> None:
    """`user_dca_plans_update` to the user: all plans. `load` is called when the event goes out."""
    _send("user_dca_plans_update", lambda: stamped(load()), to=user_room(user_id))


def loan_changed(user_id: int, load: Callable[[], dict[str, Any]], *, reason: str) -> None:
    """`user_loan_update` to the user: one loan as it is now, and why it is told. `load` is called when it goes out."""
    _send(
        "user_loan_update",
        lambda: stamped({"loan": load(), "reason": reason}),
        to=user_room(user_id),
    )


def transaction_update(rows: list[dict[str, Any]], seq: int) -> dict[str, Any]:
    """The payload for a user's latest transactions, and the `seq` that they are true of."""
    return stamped({"transactions": rows, "seq": seq})


def stamped(payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "timestamp": wire.timestamp(wire.now())}


@dataclass(frozen=True, slots=True)
class _Event:
    app: Flask
    name: str
    make_payload: Callable[[], dict[str, Any]]
    to: str | None
    ids: Mapping[str, str]  # of the request or job that it is of

    def publish(self) -> None:
        """Send it. After a commit nothing may fail the request any more, so every error ends here, in the log."""
        with logs.belonging_to(**self.ids):
            self._publish()

    def _publish(self) -> None:
        try:
            with self.app.app_context():
                payload = self.make_payload()
                # The library would drop what it can't encode without a word.
                json.dumps(payload, allow_nan=False)
                socketio.emit(self.name, payload, to=self.to)
        except BitTradeError as error:
            metrics.EVENTS.count("failed")
            log.warning("could not broadcast %s: %s", self.name, error.message)
        except Exception:
            metrics.EVENTS.count("failed")
            log.exception("could not broadcast %s", self.name)


class _Outbox:
    """Events waiting to be published, in order, by one greenlet of this process."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[_Event] = queue.Queue(_MAX_WAITING)
        self._is_started = False

    def put(self, event: _Event) -> None:
        if not self._is_started:
            self._is_started = True
            socketio.start_background_task(self._publish_forever)
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            metrics.EVENTS.count("dropped")
            log.error("dropped %s: %d events are waiting to be published", event.name, _MAX_WAITING)

    def _publish_forever(self) -> None:
        while True:
            self._waiting.get().publish()


_outbox = _Outbox()


def _send(name: str, make_payload: Callable[[], dict[str, Any]], to: str | None = None) -> None:
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    event = _Event(app, name, make_payload, to, logs.current())
    if is_gevent():
        _outbox.put(event)
    else:
        event.publish()
