"""Tables, and nothing but tables."""

from bittrade.models.balance import Balance
from bittrade.models.loan import LoanRow
from bittrade.models.market import (
    BitcoinChartData,
    BitcoinData,
    BitcoinPriceEvent,
    BitcoinSentiment,
    Upstream,
)
from bittrade.models.operations import Approval, AuditEvent, Setting, UserNote, WriteProbe
from bittrade.models.order import LimitOrderRow
from bittrade.models.plan import PlanRun, RecurringPlan
from bittrade.models.proof import LedgerCheckpoint, LedgerProof, TradedPrice
from bittrade.models.transaction import IdempotencyKey, LedgerLeg, Quote, Transaction
from bittrade.models.user import ApiKey, LoginFailure, LoginSession, User

__all__ = [
    "ApiKey",
    "Approval",
    "AuditEvent",
    "Balance",
    "BitcoinChartData",
    "BitcoinData",
    "BitcoinPriceEvent",
    "BitcoinSentiment",
    "IdempotencyKey",
    "LedgerCheckpoint",
    "LedgerLeg",
    "LedgerProof",
    "LimitOrderRow",
    "LoanRow",
    "LoginFailure",
    "LoginSession",
    "PlanRun",
    "Quote",
    "RecurringPlan",
    "Setting",
    "TradedPrice",
    "Transaction",
    "Upstream",
    "User",
    "UserNote",
    "WriteProbe",
]
