"""What the operators' API answers; a part of `schemas`. Names of its own come from the API's later client."""

from typing import Any, Literal

from pydantic import Field

from bittrade.api.account_schemas import EventAnswer, KeyAnswer, UserAnswer
from bittrade.api.loan_schemas import LoanAnswer
from bittrade.api.market_schemas import SourceAnswer
from bittrade.api.order_schemas import LimitOrderAnswer, PlanAnswer
from bittrade.api.schemas import Answer, BalanceAnswer, PortfolioAnswer, TransactionAnswer

Role = Literal["user", "support", "admin"]


class PageAnswer(Answer):
    hasMore: bool
    next_before_id: int | None = Field(description="the cursor of the next page")


class DoneAnswer(Answer):
    success: Literal[True]
    message: str


class StaffAnswer(Answer):
    id: int
    email: str


class ApprovalAnswer(Answer):
    id: int
    kind: Literal["deposit", "withdrawal", "reversal"]
    status: Literal["PENDING", "APPROVED", "REJECTED", "EXPIRED"]
    user_id: int
    user_name: str
    user_email: str
    inr_amount: int
    btc_amount: int
    value_inr: int | None = Field(description="when it was asked for; null where bitcoin had no price")
    reverses_id: int | None
    reason: str
    requested_by: StaffAnswer
    requested_at: str
    expires_at: str
    decided_by: StaffAnswer | None
    decided_at: str | None
    decision: str | None = Field(description="the second admin's reason")
    transaction_id: int | None = Field(description="what it came to")


class DecidedAnswer(ApprovalAnswer):
    updated_balance: BalanceAnswer


class ApprovalsAnswer(PageAnswer):
    approvals: list[ApprovalAnswer]


class WaitsAnswer(DoneAnswer):
    approval_id: int
    approval: ApprovalAnswer


class MovedAnswer(DoneAnswer):
    user: UserAnswer
    newBalance: int = Field(description="available rupees or satoshis")
    transaction_id: int
    client_order_id: str | None
    updated_balance: BalanceAnswer


class DepositedAnswer(MovedAnswer):
    depositedAmount: int


class WithdrawnAnswer(MovedAnswer):
    withdrawnAmount: int


class SomebodyAnswer(Answer):
    id: int
    name: str
    email: str
    inrBalance: int = Field(description="available rupees")
    btcBalance: int = Field(description="available satoshis")
    reserved_inr: int
    reserved_btc: int
    is_admin: Literal[0, 1]
    role: Role
    disabled_at: str | None
    created_at: str


class UsersAnswer(PageAnswer):
    users: list[SomebodyAnswer]
    totalCount: int
    adminCount: int
    regularCount: int


class AuditEventAnswer(EventAnswer):
    actor: str
    user_id: int | None = Field(description="whom it concerns")
    request_id: str | None


class AuditAnswer(PageAnswer):
    events: list[AuditEventAnswer]


class NoteAnswer(Answer):
    id: int
    note: str
    author: str
    created_at: str


class DeviceAnswer(Answer):
    device: str | None
    address: str | None
    issued_at: str
    last_seen_at: str
    expires_at: str


class LockAnswer(Answer):
    place: str = Field(description="network, device, session or strangers")
    failures: int
    last_failed_at: str
    locked_until: str | None


class SupportAnswer(Answer):
    user: SomebodyAnswer
    balance: BalanceAnswer
    portfolio: PortfolioAnswer
    transactions: list[TransactionAnswer] = Field(description="the newest")
    orders: list[LimitOrderAnswer] = Field(description="those that are open")
    plans: list[PlanAnswer]
    loans: list[LoanAnswer]
    approvals: list[ApprovalAnswer]
    sessions: list[DeviceAnswer]
    keys: list[KeyAnswer]
    locks: list[LockAnswer]
    activity: list[AuditEventAnswer]
    notes: list[NoteAnswer]


class OwnedTransactionAnswer(TransactionAnswer):
    user_id: int
    user_name: str
    user_email: str


class AllTransactionsAnswer(PageAnswer):
    transactions: list[OwnedTransactionAnswer]


class OwnedPlanAnswer(PlanAnswer):
    user_id: int
    user_name: str
    user_email: str


class AllPlansAnswer(PageAnswer):
    plans: list[OwnedPlanAnswer]
    totalCount: int
    activeCount: int
    pausedCount: int
    completedCount: int


class TotalsAnswer(Answer):
    total_available_inr: int
    total_available_btc: int
    total_reserved_inr: int
    total_reserved_btc: int
    total_collateral_btc: int
    total_borrowed_inr: int
    total_interest_accrued: int


class SettingAnswer(Answer):
    value: float
    updated_at: str | None = Field(description="null: never changed")


class SettingsAnswer(Answer):
    buy_multiplier: SettingAnswer
    sell_multiplier: SettingAnswer


class DayAnswer(Answer):
    day: str = Field(description="UTC")
    trades: int
    buy_volume: int
    sell_volume: int
    cash_deposits: int
    cash_withdrawals: int


class MetricsAnswer(Answer):
    total_trades: int
    total_volume: int = Field(description="rupees")
    buy_volume: int
    sell_volume: int
    active_dca_plans: int
    avg_daily_dca_amount: int = Field(description="rupees")
    total_cash_deposits: int
    total_cash_withdrawals: int
    total_bitcoin_deposits: int = Field(description="satoshis")
    total_bitcoin_withdrawals: int
    days: list[DayAnswer] = Field(description="the last 30, oldest first")


class TradingAnswer(Answer):
    halted: bool
    reason: str | None
    since: str | None
    trading: Literal["open", "halted", "price_uncertain", "no_price"] = Field(
        description="what a trade would meet now"
    )


class AmountsAnswer(Answer):
    inr: int
    btc: int


class LentAnswer(Answer):
    inr: int
    collateral_btc: int


class ExposureAnswer(Answer):
    accounts: dict[str, AmountsAnswer] = Field(description="the house's accounts in the books")
    custody: AmountsAnswer = Field(description="what came in from outside and is here")
    owed_to_customers: AmountsAnswer
    lent_to_customers: LentAnswer
    trading_position: AmountsAnswer = Field(description="what trading brought and took")
    buy_rate_inr: int | None
    sell_rate_inr: int | None
    unrealised_gain_inr: int | None = Field(description="of trading, at the current rate")


class SourcesAnswer(Answer):
    feed: Literal["fresh", "stale", "none"]
    trading: str
    sources: list[SourceAnswer]
    next_runs: dict[str, str] | None
    overdue_jobs: list[str] | None


class QueueAnswer(Answer):
    name: str
    waiting: int
    running: int
    failed: int


class WorkerAnswer(Answer):
    host: str | None
    pid: int | None
    state: str | None
    queues: list[str]
    started_at: str | None
    last_heartbeat: str | None
    succeeded: int
    failed: int


class QueuesAnswer(Answer):
    redis: Literal["connected", "disconnected"]
    queues: list[QueueAnswer]
    workers: list[WorkerAnswer]
    overdue_jobs: list[str] | None
    next_runs: dict[str, str] | None


class SocketsAnswer(Answer):
    redis: Literal["connected", "disconnected"]
    processes: list[dict[str, Any]] = Field(description="what each web process says of itself")


class ProofAnswer(Answer):
    id: int
    kind: Literal["recent", "whole"]
    began_at: str
    ended_at: str | None
    transactions: int | None
    faults: int | None
    first_fault: str | None


class LedgerAnswer(Answer):
    state: Literal["none", "right", "wrong", "late", "unfinished"]
    age_ms: int | None = Field(description="of the last proof that ended")
    proofs: list[ProofAnswer] = Field(description="newest first")
    unchained_users: int
