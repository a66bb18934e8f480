"""ccxt's structures, from BitTrade's values: market, order, trade, ledger entry."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bittrade_client.errors import OrderNotFound
from bittrade_client.models import Entry, Order, Trade, Transaction
from bittrade_client.money import to_btc

SYMBOL, BASE, QUOTE = "BTC/INR", "BTC", "INR"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STATUS = {"OPEN": "open", "FILLED": "closed", "CANCELLED": "canceled", "EXPIRED": "expired"}
TRADES = ("MARKET_BUY", "MARKET_SELL", "LIMIT_BUY", "LIMIT_SELL", "DCA_BUY", "DCA_SELL")
LEDGER_TYPES = {"REVERSAL": "transaction", "INTEREST_ACCRUAL": "interest"}
Shape = dict[str, Any]
Number = Callable[[str], Any]


class Structures:
    """Makes them, with figures of the kind that `number` makes."""

    def __init__(self, number: Number) -> None:
        self.number = number

    def figure(self, value: int | Decimal | None) -> Any:
        return None if value is None else self.number(str(value))

    def bitcoin(self, satoshis: int) -> Any:
        return self.number(to_btc(satoshis))

    def market(self, said: Any) -> Shape:
        precision, limits = said["precision"], said["limits"]
        nothing: Shape = {"min": None, "max": None}
        absent = (
            *(
                "settle",
                "settleId",
                "subType",
                "contractSize",
                "linear",
                "inverse",
                "expiry",
                "expiryDatetime",
            ),
            *("strike", "optionType", "created"),
        )
        return {
            **dict.fromkeys(absent),
            "id": said["symbol"],
            "symbol": said["symbol"],
            "base": said["base"],
            "quote": said["quote"],
            "baseId": said["base"],
            "quoteId": said["quote"],
            "active": said["active"],
            "type": "spot",
            "spot": True,
            **dict.fromkeys(("margin", "swap", "future", "option", "contract"), False),
            "taker": self.figure(0),
            "maker": self.figure(0),
            "percentage": True,
            "tierBased": False,
            "feeSide": "quote",
            "precision": {
                "amount": self.number(step_of(precision["amount"])),
                "price": self.number(step_of(precision["price"])),
                "cost": self.number(step_of(precision["cost"])),
            },
            "limits": {
                "amount": dict(nothing),
                "price": dict(nothing),
                "leverage": dict(nothing),
                "cost": {name: self.figure(limits["cost"][name]) for name in ("min", "max")},
            },
            "info": said,
        }

    def fee(self) -> Shape:
        return {"currency": QUOTE, "cost": self.figure(0), "rate": self.figure(0)}

    def order(self, order: Order) -> Shape:
        is_filled = order.status == "FILLED"
        filled = order.btc_amount if is_filled else 0
        is_over = order.status in ("CANCELLED", "EXPIRED")
        return {
            "id": str(order.id),
            "clientOrderId": order.client_order_id,
            **time_of(order.created_at),
            "lastTradeTimestamp": None if order.filled_at is None else to_ms(order.filled_at),
            "lastUpdateTimestamp": to_ms(order.filled_at or order.cancelled_at or order.created_at),
            "status": STATUS.get(order.status, order.status.lower()),
            "symbol": SYMBOL,
            "type": "limit",
            "timeInForce": "GTC" if order.expires_at is None else "GTD",
            "side": order.side,
            "price": self.figure(order.limit_price),
            "average": self.figure(order.execution_price),
            "amount": self.bitcoin(order.btc_amount),
            "filled": self.bitcoin(filled),
            "remaining": self.bitcoin(0 if is_filled else order.btc_amount),
            "cost": self.figure(order.inr_amount if is_filled else 0),
            "stopPrice": None,
            "takeProfitPrice": None,
            "stopLossPrice": None,
            "trades": [],
            "fee": self.fee() if not is_over else None,
            "info": order.raw,
        }

    def executed(self, trade: Trade, side: str) -> Shape:
        at = datetime.fromisoformat(str(trade.raw["timestamp"]))
        return self._closed(trade.id, trade.client_order_id, at, side, trade)

    def market_order(self, row: Transaction) -> Shape:
        if not is_trade(row):
            raise OrderNotFound("Order not found", code=OrderNotFound.code)
        return self._closed(row.id, row.client_order_id, row.created_at, side_of(row.type), row)

    def _closed(
        self, number: int, name: str | None, at: datetime, side: str, figures: Trade | Transaction
    ) -> Shape:
        return {
            "id": str(number),
            "clientOrderId": name,
            **time_of(at),
            "lastTradeTimestamp": to_ms(at),
            "lastUpdateTimestamp": to_ms(at),
            "status": "closed",
            "symbol": SYMBOL,
            "type": "market",
            "timeInForce": "FOK",
            "side": side,
            "price": self.figure(figures.execution_price),
            "average": self.figure(figures.execution_price),
            "amount": self.bitcoin(figures.btc_amount),
            "filled": self.bitcoin(figures.btc_amount),
            "remaining": self.bitcoin(0),
            "cost": self.figure(figures.inr_amount),
            "stopPrice": None,
            "takeProfitPrice": None,
            "stopLossPrice": None,
            "trades": [],
            "fee": self.fee(),
            "info": figures.raw,
        }

    def trade(self, row: Transaction) -> Shape:
        return {
            "id": str(row.id),
            "order": str(row.order_id or row.id),
            **time_of(row.executed_at or row.created_at),
            "symbol": SYMBOL,
            "type": "limit" if row.type.startswith("LIMIT") else "market",
            "side": side_of(row.type),
            "takerOrMaker": "taker",
            "price": self.figure(row.execution_price),
            "amount": self.bitcoin(row.btc_amount),
            "cost": self.figure(row.inr_amount),
            "fee": self.fee(),
            "info": row.raw,
        }

    def entry(self, entry: Entry) -> Shape:
        def units_of(units: int) -> Any:
            return self.bitcoin(units) if entry.asset == BASE else self.figure(units)

        return {
            "id": str(entry.id),
            **time_of(entry.time),
            "direction": "out" if entry.amount < 0 else "in",
            "account": entry.account,
            "referenceId": str(entry.transaction_id),
            "referenceAccount": None,
            "type": ledger_type_of(entry.type),
            "currency": entry.asset,
            "amount": units_of(abs(entry.amount)),
            "before": units_of(entry.balance - entry.amount),
            "after": units_of(entry.balance),
            "status": "ok",
            "fee": None,
            "info": entry.raw,
        }


def step_of(places: int) -> str:
    return "1" if places == 0 else f"0.{'1'.zfill(places)}"


def to_ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def time_of(moment: datetime) -> Shape:
    written = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": to_ms(moment), "datetime": written}


def is_trade(row: Transaction) -> bool:
    return row.type in TRADES and row.status == "EXECUTED"


def side_of(type_name: str) -> str:
    return "sell" if type_name.endswith("SELL") else "buy"


def ledger_type_of(name: str) -> str:
    """Return ccxt's word: trade, transaction (from and to outside), transfer, or our own in lower case."""
    if name in LEDGER_TYPES:
        return LEDGER_TYPES[name]
    for begin, word in (
        ("DEPOSIT", "transaction"),
        ("WITHDRAW", "transaction"),
        ("TRANSFER", "transfer"),
        ("ORDER_", "trade"),
    ):
        if name.startswith(begin):
            return word
    return "trade" if name in TRADES else name.lower()
