"""BitTrade's Python client: buy and sell bitcoin against rupees, safely repeated, exactly once.

    from bittrade_client import Client

    client = Client("http://127.0.0.1:3001", token="bt_…")
    print(client.buy(inr=1000).btc_amount)

Every error is a BitTradeError; `errors` has a class for each code. `ccxt_shape` speaks ccxt's unified methods.
"""

from bittrade_client import errors, models
from bittrade_client.asking import Keys
from bittrade_client.client import Client
from bittrade_client.errors import ApiError, BitTradeError, Unreachable
from bittrade_client.transport import Retry
from bittrade_client.watch import (
    BalanceChanged,
    Connected,
    Disconnected,
    Event,
    LoanChanged,
    OrderChanged,
    PriceChanged,
    TransactionMade,
    Watch,
)

__all__ = [
    "ApiError",
    "BalanceChanged",
    "BitTradeError",
    "Client",
    "Connected",
    "Disconnected",
    "Event",
    "Keys",
    "LoanChanged",
    "OrderChanged",
    "PriceChanged",
    "Retry",
    "TransactionMade",
    "Unreachable",
    "Watch",
    "errors",
    "models",
]
