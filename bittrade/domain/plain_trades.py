"""Trades as the proof mostly meets them, judged as text: a proof reads millions of them.

The text that a right trade must have is made of its own figures, and compared: its legs are written, not parsed. What is
not exactly that text is left to the rules of `proof`, which say what is wrong, if anything; so nothing here may accept
what they refuse.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from bittrade.domain import chain
from bittrade.domain.chain import REQUIRED, SEPARATOR
from bittrade.domain.ledger import AVAILABLE, HOUSE_TRADING
from bittrade.domain.money import Asset
from bittrade.domain.pricing import Multipliers, rates_for
from bittrade.domain.trading import figures
from bittrade.errors import BitTradeError

BUYS, SELLS = frozenset({"MARKET_BUY", "DCA_BUY"}), frozenset({"MARKET_SELL", "DCA_SELL"})
# In how many pieces a trade's text falls, and what the first one says: with no id of its client's, and with one.
_FILLED = {len(REQUIRED) + 4: "3", len(REQUIRED) + 5: "4"}
MAX_ID = 2**63
_NUMBER = "[1-9][0-9]{0,17}"
_BASIS = re.compile(
    rf'receipt=\{{"price_id":(?P<price_id>{_NUMBER}),"source":"(?P<source>[ !#-\[\]-~]*)",'
    rf'"btc_usd_cents":(?P<cents>{_NUMBER}),"as_of":"(?P<as_of>[0-9T:.+-]+)",'
    rf'"buy_multiplier":(?P<buy>{_NUMBER}),"sell_multiplier":(?P<sell>{_NUMBER})'
)
_ORDER = re.compile(
    rf'(?:0|{_NUMBER}),"order":\{{"action":"(buy|sell)","asset":"(INR|BTC)","amount":({_NUMBER})\}},'
    r'"quote_id":(?:null|"[0-9A-Za-z_-]{1,64}")\}'
)


class RecordedPrice(NamedTuple):
    """What a receipt says of the price that it names."""

    price_id: int
    btc_usd_cents: int
    source: str
    as_of: str


def named_price(receipt: Any) -> RecordedPrice | None:
    """Return which price a receipt names, as it was parsed from JSON; None where it names none."""
    try:
        price = RecordedPrice(
            receipt["price_id"], receipt["btc_usd_cents"], receipt["source"], receipt["as_of"]
        )
    except (KeyError, TypeError):
        return None
    is_one = tuple(map(type, price)) == (int, int, str, str) and 0 < price.price_id < MAX_ID
    return price if is_one else None


class PlainTrade(NamedTuple):
    """A trade in which the rules find nothing wrong; `inr` and `btc` are by how much its user's available ones change."""

    id: int
    user_id: int
    seq: int
    created_at: str
    inr: int
    btc: int
    price: RecordedPrice
    digest: str


class _Basis(NamedTuple):
    price: RecordedPrice
    buy_inr: int
    sell_inr: int


def read(text: str, legs: Sequence[str]) -> PlainTrade | None:
    """Return the trade, where it is a plain one.

    `text` is the number of optional columns that are filled, and then what is hashed of the columns. Raises ValueError
    where an id is no number.
    """
    parts = text.split(SEPARATOR)
    size = len(parts)
    if size not in _FILLED or parts[0] != _FILLED[size]:
        return None
    _, number, user_id, seq, kind, status, btc, inr, created_at, executed_at, price, *between = parts
    is_buy = kind in BUYS
    if not (
        (is_buy or kind in SELLS)
        and status == "EXECUTED"
        and executed_at == f"executed_at={created_at}"
        and (len(between) == 1 or between[0].startswith("client_order_id="))
    ):
        return None
    basis = _basis_of(between[-1], price, is_buy=is_buy, inr=inr, btc=btc)
    right_legs = _legs(user_id, is_buy=is_buy, inr=inr, btc=btc)
    if basis is None or sorted(legs) != right_legs:
        return None
    sign = 1 if is_buy else -1
    return PlainTrade(
        int(number),
        int(user_id),
        int(seq),
        created_at,
        -sign * int(inr),
        sign * int(btc),
        basis.price,
        chain.digest_of_text(text[2:], right_legs),
    )


def _legs(user_id: str, *, is_buy: bool, inr: str, btc: str) -> list[str]:
    """Return the four legs of a trade, in the order in which they are hashed."""
    if is_buy:
        return [
            f"{_HOUSE_BTC}-{btc}",
            f"{_HOUSE_INR}{inr}",
            f"{user_id}{_OWN_BTC}{btc}",
            f"{user_id}{_OWN_INR}-{inr}",
        ]
    return [
        f"{_HOUSE_BTC}{btc}",
        f"{_HOUSE_INR}-{inr}",
        f"{user_id}{_OWN_BTC}-{btc}",
        f"{user_id}{_OWN_INR}{inr}",
    ]


def _leg(account: str, asset: Asset) -> str:
    return SEPARATOR.join(("", account, asset, ""))


_OWN_INR, _OWN_BTC = (_leg(AVAILABLE[asset], asset) for asset in Asset)
_HOUSE_INR, _HOUSE_BTC = (_leg(HOUSE_TRADING, asset) for asset in Asset)


def _basis_of(receipt: str, price: str, *, is_buy: bool, inr: str, btc: str) -> _Basis | None:
    """Return on which price a trade was made, where its figures follow from its receipt."""
    head, _, rest = receipt.partition(',"age_ms":')
    basis, order = _basis(head), _ORDER.fullmatch(rest)
    if basis is None or order is None:
        return None
    action, asset, amount = order.groups()
    rate = basis.buy_inr if is_buy else basis.sell_inr
    if price != f"execution_price={rate}" or (action == "buy") is not is_buy:
        return None
    rupees, satoshis = figures(is_buy=is_buy, is_inr=asset == "INR", amount=int(amount), price=rate)
    return basis if rupees and satoshis and inr == str(rupees) and btc == str(satoshis) else None


@lru_cache(maxsize=4096)  # many trades share a price
def _basis(text: str) -> _Basis | None:
    """Return what the first half of a receipt says, where it is written as we write it."""
    found = _BASIS.fullmatch(text)
    if found is None:
        return None
    cents = int(found["cents"])
    try:
        rates = rates_for(cents, Multipliers(buy=int(found["buy"]), sell=int(found["sell"])))
    except BitTradeError:
        return None
    price = RecordedPrice(int(found["price_id"]), cents, found["source"], found["as_of"])
    return _Basis(price, rates.buy_inr, rates.sell_inr) if rates.sell_inr > 0 else None
