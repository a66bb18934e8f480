"""Where `watch` hears that something happened: a socket, or asking again and again. Neither needs to be complete."""

import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bittrade_client.errors import BitTradeError, NoData, Unreachable
from bittrade_client.market import MarketData

DEAF_AFTER_S = 30.0  # the server's heartbeat comes each 15 s
READY_S = 15.0


@dataclass(frozen=True, slots=True)
class Hint:
    """`price` with the payload, `changed` where there is something to ask for, `loan` with the payload, `down` with why."""

    kind: str
    payload: Any = None


Hints = queue.SimpleQueue[Hint]


class Feed(Protocol):
    """Something that is opened, gives hints, and goes down one day."""

    def open(self) -> None:
        """Begin to listen. Raises Unreachable, also where it is refused."""

    def next(self) -> Hint | None:
        """Return the next hint, or None where there is none for about a second."""

    def close(self) -> None:
        """Stop."""


class Polling:
    """Asks each `every_s` seconds, for those who have no python-socketio."""

    def __init__(self, market: MarketData, *, has_token: bool, every_s: float) -> None:
        self._market = market
        self._has_token = has_token
        self._every_s = every_s
        self._rates: tuple[int, int] | None = None
        self._hints: list[Hint] = []

    def open(self) -> None:
        self._look()

    def next(self) -> Hint | None:
        if not self._hints:
            time.sleep(self._every_s)
            self._look()
        return self._hints.pop(0) if self._hints else None

    def _look(self) -> None:
        try:
            rates = self._market.price()
        except NoData:
            pass  # before the first price there is none
        except BitTradeError as error:
            self._hints.append(Hint("down", str(error)))
            return
        else:
            if self._rates != (rates.buy_rate_inr, rates.sell_rate_inr):
                self._rates = (rates.buy_rate_inr, rates.sell_rate_inr)
                self._hints.append(Hint("price", rates.raw))
        if self._has_token:
            self._hints.append(Hint("changed"))

    def close(self) -> None:
        self._hints.clear()


class Socket:
    """One Socket.IO connection after the other; it never reconnects by itself, so that no gap goes unnoticed."""

    def __init__(self, url: str, token: Callable[[], str | None]) -> None:
        import socketio  # the extra: only who watches by socket needs it

        self._library = socketio
        self._url = url
        self._token = token
        self._client: Any = None
        self._hints: Hints = Hints()
        self._heard_at = 0.0

    def open(self) -> None:
        self.close()
        self._hints = hints = Hints()
        outcome: queue.SimpleQueue[str] = queue.SimpleQueue()
        token = self._token()
        self._client = client = self._library.Client(reconnection=False, handle_sigint=False)
        self._listen(client, hints, outcome)
        try:
            client.connect(self._url, transports=["websocket"], auth={"token": token} if token else None)
            answer = outcome.get(timeout=READY_S) if token else "ready"
        except (self._library.exceptions.ConnectionError, queue.Empty, OSError) as error:
            self.close()
            raise Unreachable(f"The socket does not open: {error}") from error
        if answer != "ready":  # a token that has ended, or only too many sockets, or too often
            self.close()
            raise Unreachable(f"The socket is refused: {answer}")
        self._heard_at = time.monotonic()

    def _listen(self, client: Any, hints: Hints, outcome: "queue.SimpleQueue[str]") -> None:
        def hear(kind: str) -> Callable[[Any], None]:
            def put(payload: Any = None) -> None:
                hints.put(Hint(kind, payload))

            return put

        def accept(_payload: Any) -> None:
            outcome.put("ready")

        def end(*_reason: Any) -> None:
            hints.put(Hint("down", "the connection ended"))

        def refuse(payload: Mapping[str, Any]) -> None:
            reason = str(payload.get("error", "authentication failed"))
            outcome.put(reason)
            hints.put(Hint("down", reason))

        client.on("btc_price_update", hear("price"))
        client.on("user_balance_update", hear("changed"))
        client.on("user_transaction_update", hear("changed"))
        client.on("user_missed_transactions", hear("changed"))
        client.on("user_order_update", hear("changed"))
        client.on("user_loan_update", hear("loan"))
        client.on("heartbeat", hear("heartbeat"))
        client.on("authentication_success", accept)
        client.on("authentication_error", refuse)
        client.on("disconnect", end)

    def next(self) -> Hint | None:
        try:
            hint = self._hints.get(timeout=1.0)
        except queue.Empty:
            is_deaf = time.monotonic() - self._heard_at > DEAF_AFTER_S
            return Hint("down", "nothing was heard for 30 s") if is_deaf else None
        self._heard_at = time.monotonic()
        return hint

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
