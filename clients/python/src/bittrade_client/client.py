"""The client: every part of the API under one name."""

import importlib.util
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

import requests

from bittrade_client.account import Account
from bittrade_client.feeds import Feed, Polling, Socket
from bittrade_client.history import History
from bittrade_client.instructions import Instructions
from bittrade_client.market import MarketData
from bittrade_client.trading import Trading
from bittrade_client.transport import Retry, Transport
from bittrade_client.watch import Watch

DEFAULT_URL = "http://127.0.0.1:3001"


class Client(MarketData, Account, Trading, Instructions, History):
    """A BitTrade server, asked with a token or an API key (`bt_…`); without either only the market's data answer.

    `url` and `token` default to BITTRADE_URL and BITTRADE_TOKEN. What may be asked again is, for as long as `retry` says.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        retry: Retry | None = None,
        timeout_s: tuple[float, float] = (5.0, 30.0),
        session: requests.Session | None = None,
    ) -> None:
        address = url or os.environ.get("BITTRADE_URL") or DEFAULT_URL
        secret = token or os.environ.get("BITTRADE_TOKEN")
        super().__init__(Transport(address, secret, retry=retry, timeout_s=timeout_s, session=session))

    @property
    def url(self) -> str:
        return self._transport.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def watch(self, *, after: int | None = None, poll_s: float | None = None) -> Watch:
        """Return what happens from now on, or since a `seq`: prices, and with a token the user's own events.

        By socket where python-socketio is there (`pip install 'bittrade-client[sockets]'`), else, or with `poll_s`, by asking
        each `poll_s` (2) seconds. It goes on over lost connections and restarts, and tells each transaction once.
        """
        has_token = self.token is not None
        feed: Feed
        if poll_s is None and importlib.util.find_spec("socketio") is not None:
            token: Callable[[], str | None] = lambda: self.token  # noqa: E731 - it may change
            feed = Socket(self.url, token)
        else:
            feed = Polling(self, has_token=has_token, every_s=poll_s or 2.0)
        return Watch(self, feed, has_token=has_token, after=after)
