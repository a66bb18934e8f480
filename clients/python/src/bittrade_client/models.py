"""What the API answers, as values. Names are the API's own: `…_inr` in whole rupees, `…_btc` in satoshis.

Words that may get company in time (a status, a type) are plain strings: a new one breaks nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from bittrade_client.parsing import Model

_value = dataclass(frozen=True, slots=True, kw_only=True)


# --- market data --------------------------------------------------------------------------------------------------


@_value
class Rates(Model):
    """What a buyer pays and a seller gets for one bitcoin, in rupees, and how old that is."""

    btc_usd_price: Decimal
    buy_rate_inr: int
    sell_rate_inr: int
    as_of: datetime | None = None
    age_ms: int | None = None
    stale: bool = False
    source: str = ""


@_value
class CurrentPrice(Rates):
    market_cap_usd: int | None = None
    volume_24h_usd: int | None = None
    high_24h_usd: Decimal | None = None
    ath_usd: Decimal | None = None
    ath_change_pct: Decimal | None = None


@_value
class PastPrice(Model):
    id: int
    btc_usd_price: Decimal
    created_at: datetime


@_value
class Candle(Model):
    """The prices of an interval; none where `samples` is 0."""

    timestamp: datetime
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    close: Decimal | None
    samples: int
    complete: bool


@_value
class ChartPoint(Model):
    timestamp: datetime
    price: Decimal


@_value
class Chart(Model):
    timeframe: str
    price_data: tuple[ChartPoint, ...]
    price_change_pct: Decimal | None


@_value
class Sentiment(Model):
    fear_greed_value: int
    fear_greed_classification: str
    data_date: str


@_value
class MarketStatus(Model):
    feed: str
    trading: str
    source: str | None
    age_ms: int | None


@_value
class Market(Model):
    symbol: str
    base: str
    quote: str
    active: bool
    spread_pct: Decimal
    order_types: tuple[str, ...] = ()


@_value
class ServerTime(Model):
    epoch_ms: int
    timestamp: datetime


@_value
class TradingRules(Model):
    min_order_inr: int
    max_order_inr: int
    spread_pct: Decimal
    quote_lifetime_ms: int
    trading_halted: bool
    max_open_orders: int | None = None


@_value
class Health(Model):
    status: str
    database: str
    redis: str
    price_age_ms: int | None


# --- people -------------------------------------------------------------------------------------------------------


@_value
class User(Model):
    id: int
    email: str
    name: str
    is_admin: int = 0


@_value
class Session(Model):
    id: str
    device: str | None
    address: str | None
    issued_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool


@_value
class ApiKey(Model):
    """A key for a program. `key` is the secret itself, only in the answer that made it."""

    id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    expires_at: datetime
    key: str | None = None


@_value
class Activity(Model):
    id: int
    at: datetime
    action: str
    by: str
    address: str | None
    facts: Any = None


# --- money --------------------------------------------------------------------------------------------------------


@_value
class Holdings(Model):
    available_inr: int
    available_btc: int
    reserved_inr: int = 0
    reserved_btc: int = 0
    collateral_btc: int = 0
    borrowed_inr: int = 0
    interest_accrued: int = 0


@_value
class Balance(Holdings):
    """What a user holds after their transaction number `seq`."""

    seq: int = 0


@_value
class Portfolio(Holdings):
    holdings_btc: int
    cost_inr: int
    average_cost_inr: int | None
    value_inr: int | None
    realised_gain_inr: int
    unrealised_gain_inr: int | None


@_value
class Transaction(Model):
    id: int
    seq: int
    type: str
    status: str
    inr_amount: int
    btc_amount: int
    inr_change: int
    btc_change: int
    execution_price: int | None
    created_at: datetime
    executed_at: datetime | None
    client_order_id: str | None = None
    order_id: int | None = None
    transfer_id: int | None = None
    loan_id: int | None = None
    counterparty_name: str | None = None
    reverses_id: int | None = None


@_value
class Entry(Model):
    """A movement of one account; `balance` is what it held afterwards."""

    id: int
    time: datetime
    type: str
    asset: str
    account: str
    amount: int
    balance: int
    transaction_id: int


@_value
class Receipt(Model):
    """Where a trade's price came from. `recomputed`: its figures follow from it."""

    transaction_id: int
    source: str
    btc_usd_price: Decimal
    as_of: datetime
    age_ms: int
    buy_multiplier: str
    sell_multiplier: str
    execution_price: int
    btc_amount: int
    inr_amount: int
    spread_inr: int
    rounding: str
    recomputed: bool
    quote_id: str | None = None
    order_id: int | None = None


# --- trading ------------------------------------------------------------------------------------------------------


@_value
class Quote(Model):
    """Rates that are held for one trade until `expires_at`."""

    quote_id: str
    buy_rate_inr: int
    sell_rate_inr: int
    expires_at: datetime
    expires_in_ms: int


@_value
class Preview(Model):
    type: str
    inr_amount: int
    btc_amount: int
    updated_balance: Holdings
    execution_price: int | None = None


@_value
class Trade(Model):
    """An executed trade. `is_replay`: it had been executed already when it was asked for again."""

    id: int
    type: str
    status: str
    inr_amount: int
    btc_amount: int
    execution_price: int
    seq: int
    updated_balance: Balance
    client_order_id: str | None = None
    quote_id: str | None = None
    is_replay: bool = False


@_value
class Order(Model):
    """A limit order. OPEN becomes FILLED, CANCELLED or EXPIRED, and never changes again."""

    id: int
    side: str
    type: str
    status: str
    limit_price: int
    amount: int
    currency: str
    inr_amount: int
    btc_amount: int
    reserved_inr: int
    reserved_btc: int
    execution_price: int | None
    filled_transaction_id: int | None
    created_at: datetime
    expires_at: datetime | None
    filled_at: datetime | None
    cancelled_at: datetime | None
    client_order_id: str | None = None
    reason: str | None = None
    updated_balance: Balance | None = None
    is_replay: bool = False


@_value
class PlanRun(Model):
    """What became of one due time of a plan; a skipped one says why."""

    due_at: datetime
    executed_at: datetime
    outcome: str
    reason: str | None
    transaction_id: int | None
    execution_price: int | None
    inr_amount: int | None
    btc_amount: int | None


@_value
class PlanPerformance(Model):
    total_executed: int
    total_invested: int
    total_btc: int
    avg_price: int | None


@_value
class Plan(Model):
    """A recurring buy or sell."""

    id: int
    plan_type: str
    status: str
    frequency: str
    amount_per_execution_inr: int | None
    amount_per_execution_btc: int | None
    next_execution_at: datetime | None
    remaining_executions: int | None
    max_price: int | None
    min_price: int | None
    created_at: datetime
    completed_at: datetime | None
    performance: PlanPerformance
    time_zone: str = ""


@_value
class Transfer(Model):
    currency: str
    inr_amount: int
    btc_amount: int
    senderTransactionId: int  # noqa: N815 - the API's name
    recipientTransactionId: int  # noqa: N815
    updated_balance: Balance
    client_order_id: str | None = None
    is_replay: bool = False


@_value
class LoanTerms(Model):
    max_ltv_pct: int
    margin_call_ltv_pct: int
    liquidation_ltv_pct: int
    yearly_rate_bps: int


@_value
class Loan(Model):
    id: int
    status: str
    collateral_btc: int
    borrowed_inr: int
    interest_accrued: int
    debt_inr: int
    ltv_pct: Decimal | None
    liquidation_rate_inr: int | None
    available_to_borrow_inr: int
    created_at: datetime
    closed_at: datetime | None
    updated_balance: Balance | None = None
    is_replay: bool = False


@_value
class Missed(Model):
    """What happened since a `seq`: all of it where it is `complete`."""

    after: int
    seq: int
    complete: bool
    balance: Balance
    transactions: tuple[Transaction, ...]
    orders: tuple[Order, ...] = ()
    loans: tuple[Loan, ...] = ()
