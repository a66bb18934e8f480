"""What the parts of the client share: asking, and the keys that let an order be asked for again."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from bittrade_client.errors import ApiError, Unreachable
from bittrade_client.parsing import Model
from bittrade_client.transport import Reply, Request, Transport

M = TypeVar("M", bound=Model)
PAGE = 200


@dataclass(frozen=True, slots=True)
class Keys:
    """What makes an order the same one when it is sent again. Keep them before you send, to be able to after a crash."""

    idempotency_key: str
    client_order_id: str

    @classmethod
    def new(cls, client_order_id: str | None = None) -> "Keys":
        return cls(uuid.uuid4().hex, client_order_id or f"py-{uuid.uuid4().hex}")


class Asking:
    """The base of each part: it has the transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _get(self, path: str, **query: Any) -> Any:
        return self._transport.ask(Request("GET", path, query)).body

    def _change(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for what comes to the same when it is done twice."""
        return self._transport.ask(Request(method, path, body=body, is_repeatable=True)).body

    def _do_once(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for what must not be done twice, and has no key."""
        return self._transport.ask(Request("POST", path, body=body)).body

    def _order(self, path: str, body: Mapping[str, Any], keys: Keys | None) -> Reply:
        """Ask for what moves money, until it is answered. An error carries the keys that it was asked with."""
        keys = keys or Keys.new()
        sent = {name: value for name, value in body.items() if value is not None}
        sent["client_order_id"] = keys.client_order_id
        try:
            return self._transport.ask(Request("POST", path, body=sent, idempotency_key=keys.idempotency_key))
        except (ApiError, Unreachable) as error:
            error.keys = keys
            raise

    def _pages(self, path: str, name: str, query: Mapping[str, Any], cursor: str) -> Iterator[Any]:
        """Walk a list by its cursor: `before_id` goes on with `next_before_id`, and so on."""
        after: dict[str, Any] = {}
        while True:
            page = self._get(path, **{"limit": PAGE, **query, **after})
            yield from page[name]
            if not page["hasMore"]:
                return
            after = {cursor: page[f"next_{cursor}"]}


def when(moment: datetime | None) -> str | None:
    """Return a time as the API takes it. Raises ValueError for one without a zone."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("A time needs a zone: datetime.now(UTC), or datetime(2025, 3, 1, tzinfo=UTC)")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
