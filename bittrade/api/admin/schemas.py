"""What is sent to the operators' API; a part of `schemas`. Answers are in `answers`."""

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bittrade.api.schemas import ORDER_ID, BigCount, Body, Count, ExportQuery, Query, Text
from bittrade.domain.money import MAX_AMOUNT
from bittrade.errors import InvalidAmount
from bittrade.services.operators.notes import MAX_LENGTH
from bittrade.services.operators.requesting import MAX_REASON

Reason = Annotated[
    str, Field(max_length=MAX_REASON, description="for the audit log, and for the owner to read")
]
Search = Annotated[str, Field(max_length=100, description="a part of the e-mail or name, or the number")]


class ReasonBody(Body):
    reason: Reason


class OptionalReasonBody(Body):
    """The API's later client sends no reason, or no body at all."""

    MAY_BE_MISSING = True

    reason: Reason | None = None


class ReasonQuery(Query):
    reason: Reason | None = None


class AmountBody(OptionalReasonBody):
    ERRORS: ClassVar = {"amount": InvalidAmount}
    MAY_BE_MISSING = False

    amount: str | int | Decimal
    client_order_id: str | None = Field(
        None, pattern=ORDER_ID, description="your own name for it; unique among the account's transactions"
    )


class CashBody(AmountBody):
    amount: str | int | Decimal = Field(description="whole rupees", examples=[1000])


class BitcoinBody(AmountBody):
    amount: int | Decimal = Field(
        description="satoshis; what a client computed as a float may be off by a thousandth of one",
        examples=[50000],
        le=MAX_AMOUNT,
    )


class ResetPasswordBody(Body):
    password: Text
    reason: Reason | None = None


class SettingsBody(Body):
    settings: dict[Annotated[str, Field(max_length=64)], Any] = Field(
        max_length=20, description="`buy_multiplier`, `sell_multiplier`, and the terms of new loans"
    )
    confirmed: bool = Field(False, description="also a large step, or far from the market's rate")
    reason: Reason | None = None


class TradingBody(ReasonBody):
    action: Literal["halt", "resume"]


class NoteBody(Body):
    note: str = Field(max_length=MAX_LENGTH)


class ListQuery(Query):
    limit: Count = Field(1000, ge=1, le=1000)
    before_id: BigCount | None = Field(None, ge=1, description="cursor: `next_before_id` of the page before")
    search: Search | None = None


class AllTransactionsQuery(ExportQuery, ListQuery):
    user_id: BigCount | None = Field(None, ge=1)


class AllPlansQuery(ListQuery):
    status: Literal["ACTIVE", "PAUSED", "COMPLETED", "CANCELLED"] | None = None


class ApprovalsQuery(Query):
    limit: Count = Field(100, ge=1, le=1000)
    before_id: BigCount | None = Field(None, ge=1, description="cursor: `next_before_id` of the page before")
    status: Literal["PENDING", "APPROVED", "REJECTED", "EXPIRED"] | None = None
    user_id: BigCount | None = Field(None, ge=1)


class AuditQuery(Query):
    limit: Count = Field(100, ge=1, le=1000)
    before_id: BigCount | None = Field(None, ge=1, description="cursor: `next_before_id` of the page before")
    user_id: BigCount | None = Field(None, ge=1, description="whom it concerns")
    action: str | None = Field(None, pattern=r"^[a-z_]{1,40}$")
    actor: Annotated[str, Field(max_length=100)] | None = Field(None, description="a part of who did it")
