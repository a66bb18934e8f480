"""What a client wants, and what it is told."""

import hashlib
from dataclasses import dataclass
from typing import Any

from bittrade.domain.trading import Order, Protection

ROUTE = "trade"


@dataclass(frozen=True, slots=True)
class Instruction:
    """A client's order with its conditions."""

    order: Order
    client_order_id: str | None = None
    protection: Protection | None = None
    quote_id: str | None = None

    @property
    def fingerprint(self) -> str:
        """Return a hash of its meaning: "1000" and 1000 are the same order, another amount or condition is not.

        The text that is hashed is kept for as long as keys are: whatever is renamed here, it stays, or a retry after a
        deploy would be taken for another order. It looks like Python because that is what the first release hashed.
        """
        order, limit = self.order, self.protection
        protection = (
            limit
            and f"Protection(expected_price={limit.expected_price}, max_slippage_bps={limit.max_slippage_bps})"
        )
        text = (
            f"Instruction(order=Order(action=<Action.{order.action.value.upper()}: '{order.action.value}'>, "
            f"asset=<Asset.{order.asset.value}: '{order.asset.value}'>, amount={order.amount}), "
            f"client_order_id={_quoted(self.client_order_id)}, protection={protection}, "
            f"quote_id={_quoted(self.quote_id)})"
        )
        return hashlib.sha256(text.encode()).hexdigest()


def _quoted(name: str | None) -> str:
    """Return a name, which holds no quote and no backslash, as it stands in the hashed text."""
    return "None" if name is None else f"'{name}'"


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer to an order; `is_replay` when the same key was answered before."""

    answer: dict[str, Any]
    is_replay: bool
