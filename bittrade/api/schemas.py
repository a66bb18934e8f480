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
    model_validator,
)

from bittrade.domain.transaction_types import TYPE_NAMES
from bittrade.errors import (
    InvalidAction,
    InvalidAmount,
    InvalidCurrency,
    InvalidInput,
    InvalidOrderType,
    MissingFields,
)
from bittrade.services import history, user_data

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
