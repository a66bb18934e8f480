"""Tables, and nothing but tables."""

from bittrade.models.balance import Balance
from bittrade.models.market import BitcoinChartData, BitcoinData, BitcoinSentiment
from bittrade.models.operations import AuditEvent, Setting
from bittrade.models.transaction import IdempotencyKey, LedgerLeg, Quote, Transaction
from bittrade.models.user import LoginFailure, LoginSession, User

__all__ = [
    "AuditEvent",
    "Balance",
    "BitcoinChartData",
    "BitcoinData",
    "BitcoinSentiment",
    "IdempotencyKey",
    "LedgerLeg",
    "LoginFailure",
    "LoginSession",
    "Quote",
    "Setting",
    "Transaction",
    "User",
]
