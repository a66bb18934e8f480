"""The rate receipt: where a trade's price came from, so that anyone can work out the figures again.

A trade keeps it for ever, by itself: the price row it names may be thinned out one day.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bittrade.domain.money import Asset
from bittrade.domain.pricing import Multipliers, Rates, rates_for
from bittrade.domain.trading import Action, Fill, Order, fill


@dataclass(frozen=True, slots=True)
class PriceBasis:
    """A recorded price and the multipliers that were in force with it."""

    price_id: int
    source: str
    btc_usd_cents: int
    as_of: datetime
    multipliers: Multipliers

    @property
    def rates(self) -> Rates:
        return rates_for(self.btc_usd_cents, self.multipliers)

    def to_json(self) -> dict[str, Any]:
        return {
            "price_id": self.price_id,
            "source": self.source,
            "btc_usd_cents": self.btc_usd_cents,
            "as_of": self.as_of.isoformat(),
            "buy_multiplier": self.multipliers.buy,
            "sell_multiplier": self.multipliers.sell,
        }

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> "PriceBasis":
        return cls(
            price_id=held["price_id"],
            source=held["source"],
            btc_usd_cents=held["btc_usd_cents"],
            as_of=datetime.fromisoformat(held["as_of"]),
            multipliers=Multipliers(buy=held["buy_multiplier"], sell=held["sell_multiplier"]),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was ordered, on which price, how old it was, and under which quote, if any."""

    basis: PriceBasis
    order: Order
    age_ms: int
    quote_id: str | None = None

    def recompute(self) -> Fill:
        """The trade's figures, worked out again from the receipt alone."""
        return fill(self.order, self.basis.rates)

    def to_json(self) -> dict[str, Any]:
        order = {
            "action": self.order.action.value,
            "asset": self.order.asset.value,
            "amount": self.order.amount,
        }
        return {**self.basis.to_json(), "age_ms": self.age_ms, "order": order, "quote_id": self.quote_id}

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> "Receipt":
        order = held["order"]
        return cls(
            basis=PriceBasis.from_json(held),
            order=Order(Action(order["action"]), Asset(order["asset"]), order["amount"]),
            age_ms=held["age_ms"],
            quote_id=held["quote_id"],
        )
