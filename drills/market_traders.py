"""M1's traders: they know the program, every public route and the true price, and take whatever is a gift.

Each is a thread with an account of its own, and never tires. They know BitTrade from outside.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import jwt

from drills.market_world import JWT_SECRET, Sample, World

TURN_S = 0.1
LOT_INR = 100_000
STARTS_WITH = (100_000_000, 100 * 100_000_000)  # rupees, satoshis
OFF = Decimal("0.02")  # how far from the true worth orders wait for a lie


@dataclass
class Trader:
    """One account, and what came of it. `worth` says what a bitcoin is really worth, in rupees."""

    name: str
    user_id: int
    world: World
    worth: Callable[[], Decimal]
    answers: Counter[str] = field(default_factory=Counter)
    is_turn_odd: bool = False
    quotes: list[dict[str, Any]] = field(default_factory=list)
    laid_at: Decimal = Decimal(0)

    @property
    def token(self) -> str:
        claims = {"id": self.user_id, "email": f"{self.name}@drill.test", "exp": int(time.time()) + 24 * 3600}
        return jwt.encode(claims, JWT_SECRET, algorithm="HS256")

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Sample:
        answer = self.world.request(method, path, body, token=self.token)
        if method == "POST":
            self.answers[str(answer.body.get("code", answer.status))] += 1
        return answer

    def trade(self, side: str, **conditions: Any) -> Sample:
        body = {"action": side, "type": "market", "amount": str(LOT_INR), "currency": "inr"}
        return self.ask("POST", "/api/trade", {**body, **conditions})


def _gift(rates: dict[str, Any], worth: Decimal) -> str | None:
    """Return which side of these rates is a gift, if one is."""
    if "buy_rate_inr" not in rates:
        return None
    return "buy" if rates["buy_rate_inr"] < worth else "sell" if rates["sell_rate_inr"] > worth else None


def take_gifts(trader: Trader) -> None:
    """Trade whenever the public rates are better than the true worth."""
    side = _gift(trader.ask("GET", "/api/market-rates").body, trader.worth())
    if side is not None:
        trader.trade(side)


def hoard_quotes(trader: Trader) -> None:
    """Have as many quotes as one may, all the time, and use those that have become gifts, without haste."""
    gifts = [(quote, _gift(quote, trader.worth())) for quote in trader.quotes]
    for quote, side in [(quote, side) for quote, side in gifts if side is not None][:1]:
        trader.trade(side, quote_id=quote["quote_id"])
        trader.quotes.remove(quote)
    made = trader.ask("POST", "/api/quote")
    if made.status == 201:
        trader.quotes.append(made.body)
    del trader.quotes[:-10]  # the older ones have expired


def lay_orders(trader: Trader) -> None:
    """Wait with limit orders just off the true worth, for a lie that comes by; follow it as it moves."""
    worth = trader.worth()
    if worth == trader.laid_at:
        return
    trader.ask("DELETE", "/api/orders")
    buy = {"side": "buy", "amount": str(LOT_INR), "currency": "inr", "limit_price": int(worth * (1 - OFF))}
    sell = {"side": "sell", "amount": "0.01", "currency": "btc", "limit_price": int(worth * (1 + OFF))}
    placed = [
        trader.ask("POST", "/api/orders", {"type": "limit", "time_in_force": "gtc", **order}).status
        for order in (buy, sell, buy, sell)
    ]
    if all(status == 201 for status in placed):
        trader.laid_at = worth


def turn_round(trader: Trader) -> None:
    """Buy and sell in turn, whatever the price is."""
    trader.is_turn_odd = not trader.is_turn_odd
    trader.trade("buy" if trader.is_turn_odd else "sell")


STRATEGIES: dict[str, Callable[[Trader], None]] = {
    "gifts": take_gifts,
    "quotes": hoard_quotes,
    "orders": lay_orders,
    "rounds": turn_round,
}


def keep_trading(trader: Trader, is_over: threading.Event) -> threading.Thread:
    """Let a trader follow the strategy of its name, until it is over."""

    def run() -> None:
        while not is_over.wait(TURN_S):
            STRATEGIES[trader.name](trader)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
