"""The rate receipt: where a trade's price came from, so that anyone can work out the figures again.

A trade keeps it for ever, by itself: the price row it names may be thinned out one day.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
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
        """Return the trade's figures, worked out again from the receipt alone."""
        return recompute(self.to_json())

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


def recompute(held: dict[str, Any]) -> Fill:
    """Work a trade's figures out again from its receipt's JSON. The proof does so a million times."""
    order = held["order"]
    rates = _rates(held["btc_usd_cents"], held["buy_multiplier"], held["sell_multiplier"])
    return fill(Order(_ACTIONS[order["action"]], _ASSETS[order["asset"]], order["amount"]), rates)


@lru_cache(maxsize=1024)  # many trades share a price
def _rates(btc_usd_cents: int, buy: int, sell: int) -> Rates:
    return rates_for(btc_usd_cents, Multipliers(buy=buy, sell=sell))


_ACTIONS = {action.value: action for action in Action}
_ASSETS = {asset.value: asset for asset in Asset}
