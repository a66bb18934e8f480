"""What the queries and answers that programs need besides look like; a part of `schemas`."""

from typing import Literal

from pydantic import Field

from bittrade.api.schemas import Answer, Count, Query
from bittrade.services import statement


class TimeAnswer(Answer):
    epoch_ms: int = Field(description="milliseconds since 1970-01-01T00:00:00Z")
    timestamp: str


class MarketPrecision(Answer):
    amount: int = Field(description="decimal places of an amount of bitcoin")
    cost: int = Field(description="decimal places of an amount of rupees")
    price: int = Field(description="decimal places of a price")


class Range(Answer):
    min: int
    max: int


class MarketLimits(Answer):
    cost: Range = Field(description="what an order is worth, in rupees")
    open_orders: int = Field(description="limit orders that one user may have waiting")


class MarketAnswer(Answer):
    symbol: Literal["BTC/INR"]
    base: Literal["BTC"]
    quote: Literal["INR"]
    type: Literal["spot"]
    active: bool = Field(description="false while trading is halted")
    order_types: list[Literal["market", "limit"]]
    precision: MarketPrecision
    limits: MarketLimits
    spread_pct: float = Field(description="between the buyers' and the sellers' rate, of the buyers'")


class MarketsAnswer(Answer):
    markets: list[MarketAnswer]


class LedgerQuery(Query):
    order: Literal["desc", "asc"] = Field("desc", description="newest first, or oldest first")
    limit: Count = Field(statement.DEFAULT_LIMIT, ge=1, le=statement.MAX_LIMIT)
    cursor: str | None = Field(
        None, max_length=512, pattern=r"^[A-Za-z0-9._-]+$", description="`next_cursor` of the page before"
    )


class LedgerEntryAnswer(Answer):
    id: int
    time: str
    type: str = Field(description="the transaction's type")
    asset: Literal["INR", "BTC"]
    account: str = Field(description="one of the seven of /api/balance")
    amount: int = Field(description="rupees or satoshis; below 0 what left the account")
    balance: int = Field(description="what the account held after it")
    transaction_id: int


class LedgerAnswer(Answer):
    entries: list[LedgerEntryAnswer]
    limit: int
    hasMore: bool
    next_cursor: str | None = Field(
        description="null at the oldest entry; with `order=asc` always there: what comes later follows it"
    )
