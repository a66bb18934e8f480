"""ccxt's unified methods on a BitTrade server, in ccxt's shapes, under both of its spellings (fetch_ticker, fetchTicker).

For programs that are written for ccxt. One symbol, BTC/INR. Figures are Decimals; `number=float` makes them what ccxt's own
default is. Amounts that are given are ints, Decimals or strings: a float is refused. BitTrade takes no fee beside the
spread, and fills whole or not at all.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from itertools import islice
from typing import Any

from bittrade_client.asking import Keys
from bittrade_client.ccxt_structures import (
    BASE,
    QUOTE,
    SYMBOL,
    Number,
    Shape,
    Structures,
    from_ms,
    is_trade,
    time_of,
    to_ms,
)
from bittrade_client.client import Client
from bittrade_client.errors import InvalidInput, NoData, OrderNotFound
from bittrade_client.models import Candle
from bittrade_client.money import read_number, to_btc

TIMEFRAMES = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
MOST_CANDLES = 500


class Exchange:
    """ccxt's way of speaking to a `Client`."""

    id = "bittrade"
    name = "BitTrade"
    timeframes = {name: name for name in TIMEFRAMES}  # noqa: RUF012 - as ccxt has it

    def __init__(self, client: Client, *, number: Number = Decimal) -> None:
        self.client = client
        self._make = Structures(number)
        self.markets: dict[str, Shape] = {}

    # --- market data ----------------------------------------------------------------------------------------------

    def fetch_time(self, params: Shape | None = None) -> int:
        """Return the server's milliseconds since 1970."""
        return self.client.time().epoch_ms

    def load_markets(self, reload: bool = False, params: Shape | None = None) -> dict[str, Shape]:
        """Return the market structures by symbol; asked for once unless it is a `reload`."""
        if reload or not self.markets:
            self.markets = {market["symbol"]: market for market in self.fetch_markets()}
        return self.markets

    def fetch_markets(self, params: Shape | None = None) -> list[Shape]:
        """Return the one market's structure."""
        return [self._make.market(each.raw) for each in self.client.markets()]

    def fetch_ticker(self, symbol: str = SYMBOL, params: Shape | None = None) -> Shape:
        """Return the ticker: `bid` is what a seller gets, `ask` what a buyer pays. Nobody trades with each other: no volume."""
        _check(symbol)
        rates = self.client.price()
        day = self._day()
        at = rates.as_of or datetime.now(UTC)
        last = rates.buy_rate_inr
        opened = day[0].open if day else None
        change = None if opened is None else last - opened
        ticker: Shape = dict.fromkeys(
            ("bidVolume", "askVolume", "vwap", "previousClose", "baseVolume", "quoteVolume")
        )
        return {
            **ticker,
            "symbol": SYMBOL,
            **time_of(at),
            "high": self._make.figure(
                max((each.high for each in day if each.high is not None), default=None)
            ),
            "low": self._make.figure(min((each.low for each in day if each.low is not None), default=None)),
            "bid": self._make.figure(rates.sell_rate_inr),
            "ask": self._make.figure(rates.buy_rate_inr),
            "open": self._make.figure(opened),
            "close": self._make.figure(last),
            "last": self._make.figure(last),
            "change": self._make.figure(change),
            "percentage": self._make.figure(
                None if not opened or change is None else _places(change * 100 / opened)
            ),
            "average": self._make.figure(None if opened is None else _places((last + opened) / 2)),
            "info": rates.raw,
        }

    def _day(self) -> list[Candle]:
        try:
            hours = self.client.candles("1h", 24, currency="inr")
        except NoData:
            return []
        return [each for each in hours if each.samples]

    def fetch_ohlcv(
        self,
        symbol: str = SYMBOL,
        timeframe: str = "1m",
        since: int | None = None,
        limit: int | None = None,
        params: Shape | None = None,
    ) -> list[list[Any]]:
        """Return candles in rupees, [ms, open, high, low, close, volume], oldest first; volume is 0, empty intervals are left
        out. From `since` on, else the latest."""
        _check(symbol)
        if timeframe not in TIMEFRAMES:
            raise InvalidInput(f"No such timeframe: {timeframe}")
        wanted = limit or 100
        found: list[list[Any]] = []
        for candle in self._candles(timeframe, since, wanted):
            prices = (candle.open, candle.high, candle.low, candle.close)
            figures = [self._make.figure(price) for price in prices]
            found.append([to_ms(candle.timestamp), *figures, self._make.figure(0)])
        return found[:wanted] if since is not None else found[-wanted:]

    def _candles(self, timeframe: str, since: int | None, wanted: int) -> Iterator[Candle]:
        """Give candles with prices: with `since` page after page, until there are enough or it is now."""
        if since is None:
            page = self.client.candles(timeframe, min(wanted, MOST_CANDLES), currency="inr")
            yield from (candle for candle in page if candle.samples)
            return
        begin, given = from_ms(since), 0
        while given < wanted:
            page = self.client.candles(timeframe, MOST_CANDLES, since=begin, currency="inr")
            for candle in page:
                if candle.samples:
                    given += 1
                    yield candle
            if len(page) < MOST_CANDLES:
                return
            begin = page[-1].timestamp + timedelta(seconds=TIMEFRAMES[timeframe])

    # --- the user's own -------------------------------------------------------------------------------------------

    def fetch_balance(self, params: Shape | None = None) -> Shape:
        """Return free, used and total by currency; used is what orders and loans hold, debt what is owed."""
        held = self.client.balance()
        inr = {
            "free": Decimal(held.available_inr),
            "used": Decimal(held.reserved_inr),
            "debt": Decimal(held.borrowed_inr + held.interest_accrued),
        }
        btc = {
            "free": Decimal(to_btc(held.available_btc)),
            "used": Decimal(to_btc(held.reserved_btc + held.collateral_btc)),
            "debt": Decimal(0),
        }
        answer: Shape = {"info": held.raw, "timestamp": None, "datetime": None}
        for code, sums in ((QUOTE, inr), (BASE, btc)):
            sums["total"] = sums["free"] + sums["used"]
            answer[code] = {name: self._make.figure(value) for name, value in sums.items()}
        for name in ("free", "used", "total", "debt"):
            answer[name] = {code: answer[code][name] for code in (QUOTE, BASE)}
        return answer

    def create_order(
        self,
        symbol: str,
        type: str,
        side: str,
        amount: int | Decimal | str,
        price: int | Decimal | str | None = None,
        params: Shape | None = None,
    ) -> Shape:
        """Place an order for `amount` bitcoin; with `params={"cost": rupees}` for so many rupees. A limit order needs a
        `price`. `params["clientOrderId"]` names it; it is sent until it is answered, and executed once."""
        _check(symbol)
        more = params or {}
        keys = Keys.new(more.get("clientOrderId"))
        sized: dict[str, Any] = (
            {"inr": _exact(more["cost"], "cost")} if "cost" in more else {"btc": _exact(amount, "amount")}
        )
        if type == "market":
            trade = self.client.trade(side, **sized, keys=keys)
            return self._make.executed(trade, side)
        if type != "limit" or price is None:
            raise InvalidInput("An order is market, or limit with a price")
        limit = int(_whole(_exact(price, "price")))
        return self._make.order(self.client.place_order(side, limit, **sized, keys=keys))

    def cancel_order(self, id: str, symbol: str | None = None, params: Shape | None = None) -> Shape:
        """Cancel an open order."""
        return self._make.order(self.client.cancel_order(int(id)))

    def fetch_order(self, id: str, symbol: str | None = None, params: Shape | None = None) -> Shape:
        """Return an order: a limit order, or a market order by its trade."""
        try:
            return self._make.order(self.client.order(int(id)))
        except OrderNotFound:
            return self._make.market_order(self.client.transaction(int(id)))

    def fetch_open_orders(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: Shape | None = None,
    ) -> list[Shape]:
        """Return the orders that wait, oldest first."""
        found = [self._make.order(each) for each in self.client.orders("OPEN")][::-1]
        return _part(found, since, limit)

    def fetch_my_trades(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: Shape | None = None,
    ) -> list[Shape]:
        """Return executed trades, oldest first: the first ones from `since` on, else the latest; 100 unless `limit` says else."""
        wanted = limit or 100
        if since is not None:
            rows = self.client.transactions_after(0, since=from_ms(since))
            return [self._make.trade(row) for row in islice(filter(is_trade, rows), wanted)]
        latest = islice(filter(is_trade, self.client.transactions(status="EXECUTED")), wanted)
        return [self._make.trade(row) for row in latest][::-1]

    def fetch_ledger(
        self,
        code: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: Shape | None = None,
    ) -> list[Shape]:
        """Return movements of the user's accounts, oldest first: the first ones from `since` on, else the latest."""
        wanted = limit or 100
        rows = (entry for entry in self.client.ledger() if code is None or entry.asset == code)
        if since is None:
            found = list(islice(rows, wanted))
        else:
            begin = from_ms(since)
            found = []
            for entry in rows:  # newest first: walk back as far as it is wanted
                if entry.time < begin:
                    break
                found.append(entry)
            found = found[-wanted:]
        return [self._make.entry(entry) for entry in reversed(found)]

    # ccxt's other spelling.
    fetchTime = fetch_time
    loadMarkets = load_markets
    fetchMarkets = fetch_markets
    fetchTicker = fetch_ticker
    fetchOHLCV = fetch_ohlcv
    fetchBalance = fetch_balance
    createOrder = create_order
    cancelOrder = cancel_order
    fetchOrder = fetch_order
    fetchOpenOrders = fetch_open_orders
    fetchMyTrades = fetch_my_trades
    fetchLedger = fetch_ledger


def _check(symbol: str) -> None:
    if symbol != SYMBOL:
        raise InvalidInput(f"No such symbol: {symbol}")


def _exact(value: object, name: str) -> Decimal:
    """Read an int, a Decimal or a string. Raises TypeError for a float."""
    return Decimal(value) if isinstance(value, str) else read_number(value, name)


def _whole(value: Decimal) -> Decimal:
    if value != value.to_integral_value():
        raise ValueError("price must be whole rupees")
    return value


def _places(value: Decimal) -> Decimal:
    return Decimal(value).quantize(Decimal("0.01"), ROUND_DOWN)


def _part(found: list[Shape], since: int | None, limit: int | None) -> list[Shape]:
    later = [each for each in found if since is None or each["timestamp"] >= since]
    return later if limit is None else later[:limit]
