"""Limit orders: what one reserves, when it fills, and what moves in the books. Pure: rates and times are arguments.

An order reserves the most that it can cost when it is placed, and fills whole at the current rate or not at all. At any
rate that its limit allows it costs at most what is reserved, and neither side of it is zero: so a fill is never refused
for lack of funds. Rules from the API contract, "Limit orders".
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bittrade.domain.ledger import HOUSE_TRADING, Entry, release, reserve, spend_reserved, transfer
from bittrade.domain.money import MAX_AMOUNT, SATOSHIS_PER_BTC, Asset, divide_up
from bittrade.domain.pricing import Rates
from bittrade.domain.trading import Action, Fill, Limits, Order, fill
from bittrade.errors import InvalidLimitPrice, OrderOutOfRange

# How far a limit price may be from the current rate, in percent of it: further is a slip of the keyboard.
LIMIT_PRICE_WITHIN_PCT = 90


class OrderStatus(StrEnum):
    """OPEN becomes one of the others, and never changes again."""

    OPEN = "OPEN"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class LimitOrder:
    """An order that waits for its price: `limit_price` is in rupees for one bitcoin."""

    order: Order
    limit_price: int
    expires_at: datetime | None = None

    @property
    def kind(self) -> str:
        """Return what the history calls it: LIMIT_BUY or LIMIT_SELL."""
        return f"LIMIT_{self.order.action.value.upper()}"

    @property
    def reserved_asset(self) -> Asset:
        """Return what it spends: a buy rupees, a sell bitcoin."""
        return Asset.INR if self.order.action is Action.BUY else Asset.BTC

    @property
    def reserve(self) -> int:
        """Return the most that it can cost, in the unit of `reserved_asset`."""
        order = self.order
        if order.asset is self.reserved_asset:
            return order.amount
        if order.asset is Asset.BTC:
            return divide_up(order.amount * self.limit_price, SATOSHIS_PER_BTC)
        return divide_up(order.amount * SATOSHIS_PER_BTC, self.limit_price)

    def at_limit(self) -> Fill:
        """Return what it comes to at its own limit: the worst case. Raises InvalidAmount where one side is zero."""
        return fill(self.order, Rates(buy_inr=self.limit_price, sell_inr=self.limit_price))

    def check(self, rates: Rates, limits: Limits) -> None:
        """Raise InvalidLimitPrice, InvalidAmount or OrderOutOfRange for an order that may not be placed now."""
        current = rates.buy_inr if self.order.action is Action.BUY else rates.sell_inr
        if abs(self.limit_price - current) * 100 > current * LIMIT_PRICE_WITHIN_PCT:
            raise InvalidLimitPrice(current_rate=current, within_pct=LIMIT_PRICE_WITHIN_PCT)
        worst = self.at_limit()
        if not limits.min_inr <= worst.inr <= limits.max_inr or self.reserve > MAX_AMOUNT:
            raise OrderOutOfRange(min_inr=limits.min_inr, max_inr=limits.max_inr, order_inr=worst.inr)

    def is_reached(self, rates: Rates) -> bool:
        """Return whether the current rate is as good as the limit, or better."""
        if self.order.action is Action.BUY:
            return rates.buy_inr <= self.limit_price
        return rates.sell_inr >= self.limit_price

    def is_expired(self, now: datetime) -> bool:
        """Return whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now

    def reserve_entry(self, user_id: int) -> Entry:
        """Return the movement of placing it: available to reserved."""
        return reserve(user_id=user_id, asset=self.reserved_asset, amount=self.reserve)

    def release_entry(self, user_id: int) -> Entry:
        """Return the movement of cancelling it or letting it expire: reserved to available."""
        return release(user_id=user_id, asset=self.reserved_asset, amount=self.reserve)

    def fill_entry(self, user_id: int, filled: Fill) -> Entry:
        """Return the movement of a fill: all that was reserved is spent or returns, and the other side arrives."""
        is_buy = self.order.action is Action.BUY
        spent = filled.inr if is_buy else filled.satoshis
        entry = spend_reserved(user_id=user_id, house=HOUSE_TRADING, asset=self.reserved_asset, amount=spent)
        if is_buy:
            entry += transfer(user_id=user_id, house=HOUSE_TRADING, btc=filled.satoshis)
        else:
            entry += transfer(user_id=user_id, house=HOUSE_TRADING, inr=filled.inr)
        if self.reserve > spent:
            entry += release(user_id=user_id, asset=self.reserved_asset, amount=self.reserve - spent)
        return entry
