"""Trades, quotes and limit orders. Each has its keys before it is sent, and is sent until it is answered."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypedDict, Unpack

from bittrade_client.asking import Asking, Keys, when
from bittrade_client.errors import OrderNotOpen
from bittrade_client.models import Balance, Order, Preview, Quote, Trade
from bittrade_client.money import Number, read_amount, read_units
from bittrade_client.transport import Request


class Terms(TypedDict, total=False):
    """What `buy` and `sell` take; `trade` says what each means."""

    inr: Number | None
    btc: Number | None
    satoshis: Number | None
    quote: Quote | str | None
    expected_price: int | None
    max_slippage_bps: int | None
    keys: Keys | None


class Trading(Asking):
    """Buying and selling. An amount is one of `inr` (rupees), `btc` (bitcoin) and `satoshis`: an int or a Decimal."""

    def buy(self, **terms: Unpack[Terms]) -> Trade:
        """Buy at the rate of now, on the terms of `trade`: `buy(inr=1000)`."""
        return self.trade("buy", **terms)

    def sell(self, **terms: Unpack[Terms]) -> Trade:
        """Sell at the rate of now, on the terms of `trade`: `sell(btc=Decimal("0.0005"))`."""
        return self.trade("sell", **terms)

    def trade(
        self,
        side: str,
        *,
        inr: Number | None = None,
        btc: Number | None = None,
        satoshis: Number | None = None,
        quote: Quote | str | None = None,
        expected_price: int | None = None,
        max_slippage_bps: int | None = None,
        keys: Keys | None = None,
    ) -> Trade:
        """Buy or sell at the rate of now, or at that of a `quote`.

        With `expected_price` one that is worse by more than `max_slippage_bps` (1 is 0.01 %) is refused. Raises
        InsufficientFunds, PriceMoved, TradingHalted and others.
        """
        order = _trade(side, inr, btc, satoshis, quote, expected_price, max_slippage_bps)
        reply = self._order("/api/trade", order, keys)
        return Trade.parse(reply.body, is_replay=reply.is_replay)

    def preview(
        self,
        side: str,
        *,
        inr: Number | None = None,
        btc: Number | None = None,
        satoshis: Number | None = None,
    ) -> Preview:
        """Return what a trade would do now; moves nothing."""
        order = _trade(side, inr, btc, satoshis, None, None, None)
        return Preview.parse(self._change("POST", "/api/trade/preview", order))

    def quote(self) -> Quote:
        """Hold the rates of now for some seconds, for one trade."""
        return Quote.parse(self._do_once("/api/quote"))

    # --- limit orders ---------------------------------------------------------------------------------------------

    def place_order(
        self,
        side: str,
        limit_price: int,
        *,
        inr: Number | None = None,
        btc: Number | None = None,
        satoshis: Number | None = None,
        expires_at: datetime | None = None,
        keys: Keys | None = None,
    ) -> Order:
        """Place a limit order; `limit_price` is rupees for one bitcoin. It fills whole or not at all."""
        body = _limit(side, limit_price, inr, btc, satoshis, expires_at)
        reply = self._order("/api/orders", body, keys)
        return Order.parse(reply.body, is_replay=reply.is_replay)

    def preview_order(
        self,
        side: str,
        limit_price: int,
        *,
        inr: Number | None = None,
        btc: Number | None = None,
        satoshis: Number | None = None,
    ) -> Preview:
        """Return what an order would reserve; moves nothing."""
        body = _limit(side, limit_price, inr, btc, satoshis, None)
        return Preview.parse(self._change("POST", "/api/orders/preview", body))

    def orders(self, status: str | None = None) -> Iterator[Order]:
        """Give the orders, newest first; of one status (OPEN, FILLED, CANCELLED, EXPIRED) or all."""
        for each in self._pages("/api/orders", "orders", {"status": status}, "before_id"):
            yield Order.parse(each)

    def order(self, order_id: int) -> Order:
        """Return one order. Raises OrderNotFound."""
        return Order.parse(self._get(f"/api/orders/{order_id}"))

    def cancel_order(self, order_id: int) -> Order:
        """Cancel an open order. Raises OrderNotFound, or OrderNotOpen with the order as it ended."""
        request = Request("DELETE", f"/api/orders/{order_id}", is_repeatable=True)
        try:
            return Order.parse(self._transport.ask(request).body)
        except OrderNotOpen as error:
            ended = error.facts.get("order") or {}
            if error.attempts > 1 and ended.get("status") == "CANCELLED":
                return Order.parse(ended)  # by this very call, whose first answer was lost
            raise

    def cancel_all_orders(self) -> list[Order]:
        """Cancel all open orders, all of them or none."""
        return [Order.parse(each) for each in self._change("DELETE", "/api/orders")["orders"]]

    def balance(self) -> Balance:
        """Return what the user holds."""
        return Balance.parse(self._get("/api/balance"))


def _trade(
    side: str,
    inr: Number | None,
    btc: Number | None,
    satoshis: Number | None,
    quote: Quote | str | None,
    expected_price: int | None,
    max_slippage_bps: int | None,
) -> dict[str, Any]:
    amount = read_amount(inr=inr, btc=btc, satoshis=satoshis)
    order = {
        "action": side,
        "type": "market",
        "amount": amount.text,
        "currency": amount.currency,
        "quote_id": quote.quote_id if isinstance(quote, Quote) else quote,
        "expected_price": None if expected_price is None else read_units(expected_price, "expected_price"),
        "max_slippage_bps": max_slippage_bps,
    }
    return {name: value for name, value in order.items() if value is not None}


def _limit(
    side: str,
    limit_price: int,
    inr: Number | None,
    btc: Number | None,
    satoshis: Number | None,
    expires_at: datetime | None,
) -> dict[str, Any]:
    amount = read_amount(inr=inr, btc=btc, satoshis=satoshis)
    order = {
        "side": side,
        "type": "limit",
        "limit_price": read_units(limit_price, "limit_price"),
        "amount": amount.text,
        "currency": amount.currency,
        "time_in_force": None if expires_at is None else "gtd",
        "expires_at": when(expires_at),
    }
    return {name: value for name, value in order.items() if value is not None}
