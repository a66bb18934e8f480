"""What `/api/events` is asked and answers: a part of `schemas`."""

from pydantic import Field

from bittrade.api.loan_schemas import LoanAnswer
from bittrade.api.order_schemas import LimitOrderAnswer
from bittrade.api.schemas import Answer, BalanceAnswer, BigCount, Query, TransactionAnswer
from bittrade.services import user_data


class EventsQuery(Query):
    after: BigCount = Field(
        0, ge=0, le=user_data.MAX_SEQ, description="the last `seq` that the client has seen"
    )


class EventsAnswer(Answer):
    after: int
    seq: int = Field(description="of the user's newest transaction")
    complete: bool = Field(description="false when more was missed than is told: ask /api/transactions")
    balance: BalanceAnswer
    transactions: list[TransactionAnswer] = Field(description="oldest first")
    orders: list[LimitOrderAnswer] = Field(description="those that changed since `after`, as they are now")
    loans: list[LoanAnswer] = Field(description="those that changed since `after` or are under a margin call")
    timestamp: str
