"""Deciding a market order: rates and a balance in, a fill or a refusal out.

Every division rounds in the house's favour: a buyer gets satoshis rounded down or pays rupees rounded up, a seller
gets rupees rounded down or gives satoshis rounded up. So no sequence of trades creates value.
"""

from dataclasses import dataclass
from enum import StrEnum

from bittrade.domain.ledger import HOUSE_TRADING, Entry, transfer
from bittrade.domain.money import SATOSHIS_PER_BTC, Asset, divide_down, divide_up, parse_amount
from bittrade.domain.pricing import Rates
from bittrade.errors import (
    InsufficientFunds,
    InvalidAction,
    InvalidAmount,
    InvalidCurrency,
    InvalidOrderType,
    OrderOutOfRange,
    PriceMoved,
)


class Action(StrEnum):
    BUY = "buy"
    SELL = "sell"


@dataclass(frozen=True, slots=True)
class Order:
    """A market order: `amount` is in rupees or satoshis, as `asset` says."""

    action: Action
    asset: Asset
    amount: int

    @classmethod
    def parse(cls, *, action: object, order_type: object, amount: object, currency: object) -> "Order":
        """Read a client's four fields. Raises the child of InvalidInput that names what is wrong."""
        if action not in ("buy", "sell"):
            raise InvalidAction()
        if order_type != "market":
            raise InvalidOrderType()
        if currency not in ("inr", "btc"):
            raise InvalidCurrency()
        asset = Asset.INR if currency == "inr" else Asset.BTC
        return cls(Action(str(action)), asset, parse_amount(amount, asset))


@dataclass(frozen=True, slots=True)
class Limits:
    """The smallest and largest order, by its rupees."""

    min_inr: int
    max_inr: int


@dataclass(frozen=True, slots=True)
class Protection:
    """What a client accepts: a price no worse than `expected_price` by more than `max_slippage_bps`."""

    expected_price: int  # rupees for one bitcoin
    max_slippage_bps: int = 0

    def check(self, action: "Action", price_inr: int) -> None:
        """Raise PriceMoved where the price has become worse for the client than that; a better one is welcome."""
        bps = self.max_slippage_bps
        if action is Action.BUY:
            is_worse = price_inr * 10_000 > self.expected_price * (10_000 + bps)
        else:
            is_worse = price_inr * 10_000 < self.expected_price * (10_000 - bps)
        if is_worse:
            raise PriceMoved(expected_price=self.expected_price, current_price=price_inr)


@dataclass(frozen=True, slots=True)
class Fill:
    """What an order comes to: rupees one way, satoshis the other, at `price_inr` for one bitcoin."""

    action: Action
    inr: int
    satoshis: int
    price_inr: int

    @property
    def kind(self) -> str:
        """What the history calls it: MARKET_BUY or MARKET_SELL."""
        return f"MARKET_{self.action.value.upper()}"

    def entry(self, user_id: int) -> Entry:
        """The books' view: the user's two accounts against the house's."""
        sign = 1 if self.action is Action.BUY else -1
        return transfer(user_id=user_id, house=HOUSE_TRADING, inr=-sign * self.inr, btc=sign * self.satoshis)


def figures(*, is_buy: bool, is_inr: bool, amount: int, price: int) -> tuple[int, int]:
    """Return the rupees and satoshis that an order of `amount` comes to; `is_inr` says in which of both it is."""
    if is_inr:
        round_satoshis = divide_down if is_buy else divide_up
        return amount, round_satoshis(amount * SATOSHIS_PER_BTC, price)
    round_inr = divide_up if is_buy else divide_down
    return round_inr(amount * price, SATOSHIS_PER_BTC), amount


def fill(order: Order, rates: Rates) -> Fill:
    """Price an order, whatever the balance. Raises InvalidAmount where one side would be zero."""
    is_buy = order.action is Action.BUY
    price = rates.buy_inr if is_buy else rates.sell_inr
    inr, satoshis = figures(is_buy=is_buy, is_inr=order.asset is Asset.INR, amount=order.amount, price=price)
    if inr == 0 or satoshis == 0:
        raise InvalidAmount("Invalid amount. Too small to trade at the current rate")
    return Fill(order.action, inr, satoshis, price)


def decide(order: Order, rates: Rates, limits: Limits, *, available_inr: int, available_btc: int) -> Fill:
    """Price an order and check it against the limits and the balance.

    Raises InvalidAmount, OrderOutOfRange or InsufficientFunds.
    """
    result = fill(order, rates)
    if not limits.min_inr <= result.inr <= limits.max_inr:
        raise OrderOutOfRange(min_inr=limits.min_inr, max_inr=limits.max_inr, order_inr=result.inr)
    if result.action is Action.BUY and result.inr > available_inr:
        raise InsufficientFunds(asset="INR", required=result.inr, available=available_inr)
    if result.action is Action.SELL and result.satoshis > available_btc:
        raise InsufficientFunds(asset="BTC", required=result.satoshis, available=available_btc)
    return result
