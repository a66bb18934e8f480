"""What bodies and queries must look like, and what answers do look like; the OpenAPI document is made of these.

An answer's model allows further keys: everything additional is additive.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from bittrade.domain.names import is_readable
from bittrade.domain.transaction_types import TYPE_NAMES
from bittrade.errors import (
    InvalidAction,
    InvalidAmount,
    InvalidCurrency,
    InvalidInput,
    InvalidOrderType,
    MissingFields,
)
from bittrade.services import api_keys, history, user_data

MAX_TEXT = 1024  # no field of a body needs more
ORDER_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"


class Body(BaseModel):
    """A JSON body. Unknown keys are ignored; null and "" count as missing, as they did for the API's first clients."""

    model_config = ConfigDict(extra="ignore", strict=True)
    ERRORS: ClassVar[
        dict[str, type[InvalidInput]]
    ] = {}  # what a field's complaint is called, where it has a name
    MAY_BE_MISSING: ClassVar[bool] = False  # no body at all is the same as an empty one

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, value: Any) -> Any:
        return {key: item for key, item in value.items() if item is not None and item != ""}

    @classmethod
    def complaint(cls, error: ValidationError) -> InvalidInput:
        """The contract's error for a schema's complaint: what is missing first, then the first field."""
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        if any(problem["type"] == "missing" for problem in problems):
            required = [
                field.alias or name for name, field in cls.model_fields.items() if field.is_required()
            ]
            return MissingFields(f"Missing required fields: {', '.join(required)}")
        field = str(problems[0]["loc"][0]) if problems[0]["loc"] else "body"
        reason = problems[0]["msg"].removeprefix("Value error, ")
        kind = cls.ERRORS.get(field)
        return kind() if kind else InvalidInput(f"Invalid {field}: {reason}", field=field)


class Query(Body):
    """A query string."""

    model_config = ConfigDict(extra="ignore", strict=False)


def _digits(value: object) -> object:
    """Plain ASCII digits: int() alone would take '１２', '1_0' and ' 1 '."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        raise ValueError("Input should be a whole number")
    return value


def _big_digits(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
        raise ValueError("Input should be a whole number")
    return value


def _with_zone(value: object) -> object:
    """A time that says where it is; in a query string '+' arrives as a space."""
    if not isinstance(value, str) or len(value) > 40:
        raise ValueError("Input should be a time such as 2024-07-20T10:30:00Z")
    try:
        moment = datetime.fromisoformat(value.replace(" ", "+")).astimezone(UTC) if "T" in value else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None or not re.search(r"(Z|[+ -][0-9:]{2,6})$", value):
        raise ValueError("Input should be a time such as 2024-07-20T10:30:00Z")
    return moment


Count = Annotated[int, BeforeValidator(_digits)]
BigCount = Annotated[int, BeforeValidator(_big_digits)]
Moment = Annotated[datetime, BeforeValidator(_with_zone)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]


# --- bodies and queries -------------------------------------------------------------------------------------------


class RegisterBody(Body):
    email: Text
    password: Text
    name: Text
    confirmPassword: Text | None = Field(None, description="must match `password` if sent")


class LoginBody(Body):
    email: Text
    password: Text


class PasswordBody(Body):
    current_password: Text = Field(alias="currentPassword")
    new_password: Text = Field(alias="newPassword")


class ProfileBody(Body):
    current_password: Text = Field(alias="currentPassword")
    email: Text | None = None
    name: Text | None = None


class NewNameBody(Body):
    name: Text
    current_password: Text = Field(alias="currentPassword")


class NewEmailBody(Body):
    email: Text
    current_password: Text = Field(alias="currentPassword")


class NewPasswordBody(PasswordBody):
    confirm_password: Text | None = Field(
        None, alias="confirmPassword", description="must match `newPassword` if sent"
    )


class KeyBody(Body):
    name: str = Field(max_length=100, description="for you, to know it by")
    scopes: list[Literal["read", "trade", "export", "transfer", "loan"]] = Field(min_length=1, max_length=5)
    expires_in_days: int = Field(api_keys.DEFAULT_DAYS, ge=1, le=api_keys.MAX_DAYS)
    addresses: list[Annotated[str, Field(max_length=64)]] = Field(
        [],
        max_length=api_keys.MAX_NETWORKS,
        description="only from these addresses or networks; empty is anywhere",
        examples=[["203.0.113.7", "2001:db8::/32"]],
    )

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not is_readable(name.strip()):
            raise ValueError("Input should be printable")
        return name.strip()


class TradeBody(Body):
    ERRORS = {
        "action": InvalidAction,
        "type": InvalidOrderType,
        "amount": InvalidAmount,
        "currency": InvalidCurrency,
    }

    action: Literal["buy", "sell"]
    type: Literal["market"]
    amount: str | int | Decimal = Field(
        description="whole rupees, or bitcoin to 8 places; a string or a number, ordinary or exponent notation",
        examples=["1000", "0.0005"],
    )
    currency: Literal["inr", "btc"]
    client_order_id: str | None = Field(
        None,
        pattern=ORDER_ID,
        description="your own name for the order; unique among yours",
    )
    expected_price: int | None = Field(
        None, ge=1, le=10**15, description="refuse (409 price_moved) a worse price; rupees for one bitcoin"
    )
    max_slippage_bps: int | None = Field(
        None, ge=0, le=10_000, description="how much worse than expected_price is still fine; 1 bps = 0.01 %"
    )
    quote_id: str | None = Field(None, pattern=r"^[0-9a-f]{32}$", description="from POST /api/quote")

    @model_validator(mode="after")
    def _slippage_of_what(self) -> Self:
        if self.max_slippage_bps is not None and self.expected_price is None:
            raise ValueError("max_slippage_bps needs expected_price")
        return self


class TransferBody(Body):
    ERRORS = {"amount": InvalidAmount, "currency": InvalidCurrency}

    recipient_email: Text = Field(alias="recipientEmail")
    amount: str | int | Decimal = Field(
        description="whole rupees, or bitcoin to 8 places; a string or a number", examples=[1000, "0.0005"]
    )
    currency: Literal["inr", "btc"]
    client_order_id: str | None = Field(
        None, pattern=ORDER_ID, description="your own name for the transfer; unique among your transactions"
    )


class ActivityQuery(Query):
    limit: Count = Field(50, ge=1, le=200)
    before_id: BigCount | None = Field(None, ge=1, description="cursor: `next_before_id` of the page before")


class HistoryQuery(Query):
    limit: Count = Field(10, ge=1, le=1000)


class CandlesQuery(Query):
    interval: Literal["1m", "5m", "15m", "1h", "4h", "1d"] = "1h"
    limit: Count = Field(100, ge=1, le=500)
    since: Moment | None = Field(
        None, description="the first candle begins at or after this; ISO 8601 with a zone"
    )
    until: Moment | None = Field(None, description="the last candle begins before this; ISO 8601 with a zone")
    currency: Literal["usd", "inr"] = Field(
        "usd", description="inr: what a buyer would pay, at the multiplier of now"
    )


TransactionTypeName = Literal[history.TYPE_FILTERS]  # type: ignore[valid-type]


class ExportQuery(Query):
    type: TransactionTypeName | None = Field(
        None, description="DEPOSIT and WITHDRAWAL stand for both currencies"
    )
    status: Literal["PENDING", "EXECUTED", "CANCELLED", "FAILED"] | None = None
    from_: Moment | None = Field(
        None, alias="from", description="created at or after this; ISO 8601 with a zone"
    )
    to: Moment | None = Field(None, description="created before this; ISO 8601 with a zone")


class TransactionsQuery(ExportQuery):
    limit: Count = Field(user_data.DEFAULT_LIMIT, ge=1, le=user_data.MAX_LIMIT)
    page: Count = Field(1, ge=1, le=100_000)
    before_id: BigCount | None = Field(None, ge=1, description="cursor: `next_before_id` of the page before")
    order: Literal["desc", "asc"] = Field("desc", description="newest first; or oldest first what is settled")
    after_id: BigCount | None = Field(
        None, ge=0, description="cursor with order=asc: `next_after_id` of the page before"
    )
    client_order_id: str | None = Field(None, pattern=ORDER_ID)

    @model_validator(mode="after")
    def _cursor_of_this_order(self) -> Self:
        if self.order == "desc" and self.after_id is not None:
            raise ValueError("after_id needs order=asc")
        if self.order == "asc" and (self.before_id is not None or self.page != 1):
            raise ValueError("order=asc goes on by after_id")
        return self


# --- answers ------------------------------------------------------------------------------------------------------


class Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class ErrorAnswer(Answer):
    error: str = Field(description="for people")
    code: str = Field(description="for machines; stable")


class Message(Answer):
    message: str


class UserAnswer(Answer):
    id: int
    email: str
    name: str
    is_admin: Literal[0, 1]
    role: Literal["user", "support", "admin"]


class TokenAnswer(Answer):
    message: str
    token: str
    user: UserAnswer


class VerifyAnswer(Answer):
    valid: Literal[True]
    user: UserAnswer


class SessionAnswer(Answer):
    id: str
    device: str | None = Field(description="what it calls itself (User-Agent)")
    address: str | None
    issued_at: str
    last_seen_at: str = Field(description="to the minute")
    expires_at: str
    current: bool = Field(description="the one that asks")


class SessionsAnswer(Answer):
    sessions: list[SessionAnswer]


class ProfileAnswer(Answer):
    message: str
    user: UserAnswer


class UserProfileAnswer(Answer):
    user: UserAnswer


class NameChangedAnswer(Message):
    name: str


class EmailChangedAnswer(Message):
    email: str


class KeyAnswer(Answer):
    id: int
    name: str
    prefix: str = Field(description="how the key begins")
    scopes: list[str]
    addresses: list[str]
    created_at: str
    expires_at: str
    last_used_at: str | None = Field(description="to the minute")
    last_used_address: str | None


class NewKeyAnswer(KeyAnswer):
    key: str = Field(description="send it as `Authorization: Bearer bt_…`; shown this once")


class KeysAnswer(Answer):
    keys: list[KeyAnswer]


class EventAnswer(Answer):
    id: int
    at: str
    action: str
    by: Literal["owner", "staff", "unknown"]
    address: str | None
    facts: dict[str, Any]


class ActivityAnswer(Answer):
    events: list[EventAnswer]
    hasMore: bool
    next_before_id: int | None


class PriceAnswer(Answer):
    btc_usd_price: float
    buy_rate_inr: int
    sell_rate_inr: int
    source: str
    as_of: str = Field(description="when the source says that the price was true")
    age_ms: int
    stale: bool = Field(description="too old to trade on")
    stale_after_ms: int = Field(description="the age from which it is")
    cached: bool


class RatesAnswer(PriceAnswer):
    timestamp: str


class CurrentAnswer(PriceAnswer):
    id: int
    market_cap_usd: int | None
    volume_24h_usd: int | None
    high_24h_usd: float | None
    ath_usd: float | None
    ath_date: str | None
    ath_change_pct: float | None
    market_data_as_of: str | None = Field(
        description="when the six values before were true: exchanges only know the price, so these may be older"
    )
    last_updated: str


class PastPrice(Answer):
    id: int
    btc_usd_price: float
    market_cap_usd: int | None
    created_at: str


class CandleAnswer(Answer):
    timestamp: str = Field(description="when the interval begins")
    open: float | None = Field(description="null where no price was recorded in the interval")
    high: float | None
    low: float | None
    close: float | None
    samples: int = Field(description="recorded prices that it was made of")
    complete: bool = Field(description="whether the interval is over")


class CandlesAnswer(Answer):
    interval: str
    currency: Literal["usd", "inr"]
    candles: list[CandleAnswer] = Field(description="oldest first, without gaps")
    cached: bool


class SourceAnswer(Answer):
    name: str
    price_order: int | None = Field(description="when it is asked for the price; null if never")
    breaker: Literal["closed", "open", "half_open"]
    failures_in_a_row: int
    open_until: str | None
    paused_until: str | None = Field(description="its own Retry-After")
    last_success_at: str | None
    last_failure_at: str | None
    last_failure: str | None
    drift_pct: float | None = Field(
        description="how far its price was from the accepted one when the sources were last compared"
    )
    drift_at: str | None
    succeeded: int
    failed: int
    calls_last_minute: int
    calls_per_minute: int | None
    calls_this_month: int
    calls_per_month: int | None


class PriceEventAnswer(Answer):
    at: str
    provider: str
    outcome: Literal["held", "confirmed", "refuted", "refused"]
    btc_usd_price: float | None = Field(description="null while it is held")
    reason: str
    resolved_at: str | None


class PriceEventsAnswer(Answer):
    counts: dict[str, int]
    latest: list[PriceEventAnswer] = Field(description="newest first, 20 at most")


class MarketStatusAnswer(Answer):
    feed: Literal["fresh", "stale", "none"]
    trading: Literal["open", "halted", "price_uncertain", "no_price"] = Field(
        description="what a trade would meet now"
    )
    source: str | None
    as_of: str | None
    age_ms: int | None
    max_price_age_ms: int
    checked_at: str | None = Field(
        description="when a second source last confirmed the price, within the window"
    )
    sources: list[SourceAnswer]
    prices: PriceEventsAnswer
    next_runs: dict[str, str] | None = Field(description="null while no scheduler runs")
    overdue_jobs: list[str] | None = Field(description="null while no scheduler runs")
    timestamp: str


class ChartPointAnswer(Answer):
    timestamp: str
    price: float


class ChartAnswer(Answer):
    timeframe: str
    price_data: list[ChartPointAnswer]
    data_points_count: int
    price_change_pct: float | None
    date_from: str
    date_to: str
    last_updated: str
    cached: bool


class SentimentAnswer(Answer):
    id: int
    fear_greed_value: int
    fear_greed_classification: str
    data_date: str
    last_updated: str
    cached: bool


class HoldingsAnswer(Answer):
    available_inr: int
    available_btc: int
    reserved_inr: int
    reserved_btc: int
    collateral_btc: int
    borrowed_inr: int
    interest_accrued: int


class BalanceAnswer(HoldingsAnswer):
    seq: int = Field(description="counts this user's transactions; never goes back")


class PreviewAnswer(Answer):
    type: str
    action: str
    btc_amount: int = Field(description="satoshis")
    inr_amount: int = Field(description="rupees")
    execution_price: int = Field(description="rupees for one bitcoin")
    source: str
    as_of: str
    age_ms: int
    updated_balance: HoldingsAnswer


class TradeAnswer(PreviewAnswer):
    id: int
    status: str
    timestamp: str
    seq: int
    client_order_id: str | None
    quote_id: str | None


class RecipientAnswer(Answer):
    name: str
    email: str


class TransferAnswer(Answer):
    message: str
    recipient: RecipientAnswer
    amount: int = Field(description="rupees or satoshis, as `currency` says")
    currency: Literal["inr", "btc"]
    inr_amount: int
    btc_amount: int
    senderTransactionId: int
    recipientTransactionId: int
    client_order_id: str | None
    timestamp: str
    seq: int
    updated_balance: BalanceAnswer


class QuoteAnswer(Answer):
    quote_id: str
    btc_usd_price: float
    buy_rate_inr: int
    sell_rate_inr: int
    source: str
    as_of: str
    age_ms: int
    timestamp: str
    expires_at: str
    expires_in_ms: int


class RulesAnswer(Answer):
    order_types: list[str]
    min_order_inr: int
    max_order_inr: int
    inr_places: int
    btc_places: int
    inr_step: int
    btc_step_satoshis: int
    buy_multiplier: str
    sell_multiplier: str
    spread_pct: float
    max_price_age_ms: int
    quote_lifetime_ms: int
    trading_halted: bool
    max_open_orders: int = Field(description="limit orders that one user may have waiting")


class OrderAnswer(Answer):
    action: str
    amount: int
    unit: Literal["rupees", "satoshis"]


class ReceiptAnswer(Answer):
    transaction_id: int
    source: str
    price_id: int
    btc_usd_price: float
    buy_rate_inr: int
    sell_rate_inr: int
    as_of: str
    age_ms: int
    buy_multiplier: str
    sell_multiplier: str
    execution_price: int
    order: OrderAnswer
    rounding: str
    btc_amount: int
    inr_amount: int
    spread_inr_per_btc: int
    spread_inr: int
    quote_id: str | None
    order_id: int | None = Field(description="the limit order that was filled")
    recomputed: bool = Field(
        description="whether the trade's figures follow from this receipt, to the satoshi"
    )


class PortfolioAnswer(HoldingsAnswer):
    method: Literal["FIFO"]
    holdings_btc: int
    holdings_btc_with_cost: int = Field(description="without the satoshis that were deposited")
    cost_inr: int
    average_cost_inr: int | None = Field(description="rupees for one bitcoin")
    value_inr: int | None
    realised_gain_inr: int
    unrealised_gain_inr: int | None
    proceeds_without_cost_inr: int = Field(description="from selling bitcoin that was deposited")
    sell_rate_inr: int | None
    as_of: str | None
    age_ms: int | None
    stale: bool
    seq: int


class TransactionAnswer(Answer):
    id: int
    type: str = Field(description=f"one of {', '.join(TYPE_NAMES)}")
    status: str
    btc_amount: int
    inr_amount: int
    execution_price: int | None
    created_at: str
    executed_at: str | None
    seq: int
    client_order_id: str | None
    reverses_id: int | None = Field(description="the transaction that this one undoes")
    reverses_type: str | None = Field(description="that transaction's type")
    inr_change: int = Field(description="what it did to the user's rupees: above 0 came, below 0 went")
    btc_change: int = Field(description="what it did to the user's satoshis")
    order_id: int | None = Field(description="the limit order that this row tells of")
    imported_id: int | None = Field(
        description="its number where it was imported from; such a row moved nothing here"
    )
    imported_type: str | None = Field(description="what it was called there")
    counterparty_name: str | None = Field(description="of a transfer: the other user, as they were called")
    transfer_id: int | None = Field(
        description="of a transfer: the number of what was sent, the same for both"
    )
    loan_id: int | None = Field(description="the loan that was made or changed by it")
    cached: bool


class TransactionsAnswer(Answer):
    transactions: list[TransactionAnswer]
    page: int
    limit: int
    hasMore: bool
    next_before_id: int | None
    next_after_id: int | None = Field(description="with order=asc, always: what comes later follows it")


class ReadinessAnswer(Answer):
    status: Literal["OK"]
    timestamp: str


class HealthAnswer(Answer):
    status: Literal["OK", "DEGRADED", "DOWN"]
    timestamp: str
    server: str
    database: str
    redis: Literal["connected", "refuses_writes", "disconnected"]
    external_apis: str
    price_age_ms: int | None
    trading: Literal["open", "halted", "price_uncertain", "no_price", "unknown"] = Field(
        description="what a trade would meet now"
    )
    ledger_proof: Literal["none", "right", "wrong", "late", "unfinished", "unknown"] = Field(
        description="how the proof of the books stands"
    )
    ledger_proof_age_ms: int | None = Field(description="of the last proof that ended")
    overdue_jobs: list[str] | None = Field(description="null while no scheduler runs")
    late: list[str] = Field(description="what nobody has run for a minute: expired_orders, matching, plans")
