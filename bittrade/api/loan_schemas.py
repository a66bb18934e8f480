"""What the bodies about loans look like, and what answers do; a part of `schemas`."""

from typing import Annotated, Literal

from pydantic import Field

from bittrade.api.schemas import ORDER_ID, Answer, BalanceAnswer, Body, Query
from bittrade.domain.money import MAX_AMOUNT

Units = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
Status = Literal["ACTIVE", "CLOSED", "LIQUIDATED"]


class NamedBody(Body):
    client_order_id: str | None = Field(
        None, pattern=ORDER_ID, description="your own name for it; unique among your transactions"
    )


class NewLoanBody(NamedBody):
    collateral_btc: Units = Field(description="satoshis to pledge")
    borrow_inr: Units = Field(description="rupees to borrow")


class LoanAmountBody(NamedBody):
    amount_inr: Units = Field(description="whole rupees; of a repayment no more is taken than is owed")


class LoanCollateralBody(NamedBody):
    collateral_btc: Units = Field(description="satoshis")


class LoansQuery(Query):
    status: Status | None = None


class LoanTermsAnswer(Answer):
    max_ltv_pct: int = Field(description="what may be borrowed, in percent of the collateral's worth")
    margin_call_ltv_pct: int
    liquidation_ltv_pct: int
    yearly_rate_bps: int = Field(description="basis points: 1200 is 12 % a year")
    max_loans: int = Field(description="active loans of a user")
    sell_rate_inr: int | None = Field(description="at which collateral is valued now")


class InterestAnswer(Answer):
    yearly_rate_bps: int
    accrued_inr: int = Field(description="charged so far and not repaid")
    uncharged_micro_inr: int = Field(
        description="accrued since, in micro-rupees; below zero where rounding took it in advance"
    )
    charged_at: str


class LoanAnswer(Answer):
    id: int
    status: Status
    collateral_btc: int
    borrowed_inr: int
    interest_accrued: int
    debt_inr: int = Field(description="all that is owed now, with the interest that a charge would take now")
    interest: InterestAnswer
    ltv_pct: float | None = Field(description="debt ÷ collateral at the newest rate for sellers")
    margin_call_rate_inr: int | None = Field(description="its owner is told from this rate on downwards")
    liquidation_rate_inr: int | None = Field(description="collateral is sold from this rate on downwards")
    available_to_borrow_inr: int
    sell_rate_inr: int | None
    max_ltv_pct: int
    margin_call_ltv_pct: int
    liquidation_ltv_pct: int
    margin_called_at: str | None
    created_at: str
    closed_at: str | None


class LoansAnswer(Answer):
    loans: list[LoanAnswer] = Field(description="newest first")
    active_loans: int
    total_collateral_btc: int
    total_debt_inr: int


class LoanActionAnswer(LoanAnswer):
    transactionId: int
    client_order_id: str | None
    seq: int
    updated_balance: BalanceAnswer


class LoanStepAnswer(LoanActionAnswer):
    interest_charged_inr: int = Field(description="the interest that was charged before it")


class RepaymentAnswer(LoanStepAnswer):
    repaid_inr: int
    interest_paid_inr: int = Field(description="interest is paid first")
    principal_paid_inr: int
