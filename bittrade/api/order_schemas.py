"""What the bodies and queries about orders look like, and what answers do; a part of `schemas`.

A body comes in one of two forms: ours (`side`, `type: "limit"`, `amount` with `currency`, `limit_price`), or that of the
API's later client (`type: "LIMIT_BUY"` with `inr_amount`, `btc_amount`, `execution_price`).
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from bittrade.api.schemas import (
    ORDER_ID,
    Answer,
    BalanceAnswer,
    BigCount,
    Body,
    Count,
    HoldingsAnswer,
    Moment,
    Query,
)
from bittrade.domain.money import MAX_AMOUNT
from bittrade.services import user_data

Status = Literal["OPEN", "FILLED", "CANCELLED", "EXPIRED"]
Units = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]


class OrderBody(Body):
    """Which fields are needed depends on `type`; `orders.parse` reads them."""

    type: Any = Field(description='"limit" or "market"; or LIMIT_BUY, LIMIT_SELL, MARKET_BUY, MARKET_SELL')
    side: Any = Field(None, description='"buy" or "sell"; not needed where `type` says it')
    amount: Any = Field(None, description="rupees or bitcoin, as `currency` says: a string or a number")
    currency: Any = Field(None, description='"inr" or "btc"')
    limit_price: Units | None = Field(None, description="rupees for one bitcoin")
    time_in_force: Literal["gtc", "gtd"] | None = None
    expires_at: Moment | None = Field(
        None, description="with time_in_force gtd: when the order ends by itself"
    )
    inr_amount: Any = Field(None, description="the later client's: the rupees that a buy spends")
    btc_amount: Any = Field(None, description="the later client's: the satoshis that a sell sells")
    execution_price: Any = Field(None, description="the later client's name of limit_price")
    client_order_id: str | None = Field(None, pattern=ORDER_ID)


class OrdersQuery(Query):
    status: Status | None = None
    limit: Count = Field(user_data.DEFAULT_LIMIT, ge=1, le=user_data.MAX_LIMIT)
    before_id: BigCount | None = Field(None, ge=1, le=user_data.MAX_SEQ)


class LimitOrderAnswer(Answer):
    id: int
    client_order_id: str | None
    side: Literal["buy", "sell"]
    type: Literal["LIMIT_BUY", "LIMIT_SELL"]
    status: Status
    limit_price: int = Field(description="rupees for one bitcoin")
    amount: int = Field(description="rupees or satoshis, as `currency` says")
    currency: Literal["inr", "btc"]
    inr_amount: int = Field(description="of the fill; before it, at the limit")
    btc_amount: int
    reserved_inr: int = Field(description="what it holds back now")
    reserved_btc: int
    execution_price: int | None
    filled_transaction_id: int | None
    time_in_force: Literal["gtc", "gtd"]
    created_at: str
    expires_at: str | None
    filled_at: str | None
    cancelled_at: str | None = Field(description="when it was cancelled or expired")
    reason: str | None


class CancelledOrderAnswer(LimitOrderAnswer):
    updated_balance: BalanceAnswer


class PlacedOrderAnswer(Answer):
    id: int
    transactionId: int = Field(description="the id once more, under the later client's name")
    type: str
    status: str
    seq: int
    client_order_id: str | None
    inr_amount: int
    btc_amount: int
    execution_price: int | None
    updated_balance: BalanceAnswer


class OrderPreviewAnswer(Answer):
    type: str
    inr_amount: int
    btc_amount: int
    updated_balance: HoldingsAnswer


class OrdersAnswer(Answer):
    orders: list[LimitOrderAnswer]
    limit: int
    hasMore: bool
    next_before_id: int | None


class CancelledOrdersAnswer(Answer):
    cancelled: int
    orders: list[LimitOrderAnswer]


class FundsReleasedAnswer(Answer):
    inr_amount: int | None = None
    btc_amount: int | None = None


class CancelledTransactionAnswer(Answer):
    message: str
    transactionId: int
    type: str
    funds_released: FundsReleasedAnswer


# --- recurring plans ----------------------------------------------------------------------------------------------


class PlanBody(Body):
    plan_type: Literal["DCA_BUY", "DCA_SELL"]
    frequency: Literal["HOURLY", "DAILY", "WEEKLY", "MONTHLY"]
    amount_per_execution_inr: Any = Field(None, description="rupees; or the other one")
    amount_per_execution_btc: Any = Field(None, description="satoshis; or the other one")
    remaining_executions: int | None = Field(None, ge=1, le=1_000_000, description="none: for ever")
    max_price: Units | None = Field(None, description="skip a run above this rate; rupees for one bitcoin")
    min_price: Units | None = Field(None, description="skip a run below this rate")
    start_at: Moment | None = Field(None, description="the first run; at once if it is left out")
    time_zone: str | None = Field(
        None, max_length=64, description="IANA name; its wall clock says when a run is due"
    )


class PlanStatusBody(Body):
    status: Literal["ACTIVE", "PAUSED"]


class RunsQuery(Query):
    limit: Count = Field(user_data.DEFAULT_LIMIT, ge=1, le=user_data.MAX_LIMIT)


class PlanRunAnswer(Answer):
    due_at: str
    executed_at: str = Field(description="when it was made, or given up")
    outcome: Literal["executed", "skipped"]
    reason: str | None = Field(description="why it was skipped")
    transaction_id: int | None
    execution_price: int | None
    inr_amount: int | None
    btc_amount: int | None


class PlanPerformanceAnswer(Answer):
    total_executed: int
    total_invested: int = Field(description="rupees that the runs moved")
    total_btc: int = Field(description="satoshis that the runs moved")
    avg_price: int | None = Field(description="rupees for one bitcoin")


class PlanAnswer(Answer):
    id: int
    plan_type: Literal["DCA_BUY", "DCA_SELL"]
    status: Literal["ACTIVE", "PAUSED", "COMPLETED", "CANCELLED"]
    frequency: str
    time_zone: str
    amount_per_execution_inr: int | None
    amount_per_execution_btc: int | None
    next_execution_at: str | None
    remaining_executions: int | None
    max_price: int | None
    min_price: int | None
    created_at: str
    completed_at: str | None
    total_executions: int
    recent_executions: list[PlanRunAnswer] = Field(description="newest first, ten at most")
    performance: PlanPerformanceAnswer


class PlansAnswer(Answer):
    plans: list[PlanAnswer]
    total_plans: int
    active_plans: int
    paused_plans: int


class NewPlanAnswer(Answer):
    planId: int
    message: str
    plan: PlanAnswer


class PlanStatusAnswer(Answer):
    message: str
    plan: PlanAnswer


class PlanEndedAnswer(Answer):
    message: str
    planId: int
    planType: str
    relatedTransactionsDeleted: int


class PlanRunsAnswer(Answer):
    planId: int
    runs: list[PlanRunAnswer]
    hasMore: bool
