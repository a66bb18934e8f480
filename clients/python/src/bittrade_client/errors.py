"""What can go wrong, as a class for each `code` of the API. A code that is not known here is a plain ApiError."""

from collections.abc import Mapping
from typing import Any, ClassVar


class BitTradeError(Exception):
    """Base of everything that this package raises on purpose, but for a wrong argument."""

    attempts = 1  # how often it was asked
    keys: Any = None  # of an order: its Keys


class UnexpectedAnswer(BitTradeError):
    """Something answered that does not speak BitTrade's language."""


class Unreachable(BitTradeError):
    """No answer came, however often it was asked. Of an order nobody knows whether it was executed: ask again with `keys`."""


class ApiError(BitTradeError):
    """A refusal. `facts` are the further keys of the answer; `retry_after_s` says when to come back, where it is known."""

    code: str = ""
    codes: ClassVar[dict[str, type["ApiError"]]] = {}

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        facts: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code or self.code
        self.facts = dict(facts or {})
        self.retry_after_s = retry_after_s
        self.request_id = request_id

    def __init_subclass__(cls) -> None:
        if "code" in cls.__dict__:
            ApiError.codes[cls.code] = cls


# --- what was sent ------------------------------------------------------------------------------------------------


class InvalidInput(ApiError):
    code = "invalid_input"


class BadRequest(InvalidInput):
    code = "bad_request"


class MissingFields(InvalidInput):
    code = "missing_fields"


class InvalidJson(InvalidInput):
    code = "invalid_json"


class InvalidAmount(InvalidInput):
    code = "invalid_amount"


class InvalidAction(InvalidInput):
    code = "invalid_action"


class InvalidOrderType(InvalidInput):
    code = "invalid_order_type"


class InvalidCurrency(InvalidInput):
    code = "invalid_currency"


class InvalidTimeframe(InvalidInput):
    code = "invalid_timeframe"


class InvalidIdempotencyKey(InvalidInput):
    code = "invalid_idempotency_key"


class InvalidLimitPrice(InvalidInput):
    code = "invalid_limit_price"


class OrderOutOfRange(InvalidAmount):
    code = "order_out_of_range"


class WeakPassword(InvalidInput):
    code = "weak_password"


class NotConfirmed(InvalidInput):
    code = "not_confirmed"


class UnsupportedMediaType(InvalidInput):
    code = "unsupported_media_type"


class BodyTooLarge(InvalidInput):
    code = "body_too_large"


class BodyTooSlow(ApiError):
    code = "body_too_slow"


# --- who asks -----------------------------------------------------------------------------------------------------


class NotAllowed(ApiError):
    """Without a token, with a bad one, or with one that may not do this."""


class TokenMissing(NotAllowed):
    code = "token_missing"


class TokenInvalid(NotAllowed):
    code = "token_invalid"


class InsufficientScope(NotAllowed):
    code = "insufficient_scope"


class AdminRequired(NotAllowed):
    code = "admin_required"


class OwnApproval(NotAllowed):
    code = "own_approval"


class InvalidCredentials(NotAllowed):
    code = "invalid_credentials"


class AccountLocked(NotAllowed):
    code = "account_locked"


class EmailTaken(ApiError):
    code = "email_taken"


class TooManyKeys(ApiError):
    code = "too_many_keys"


# --- what is not there --------------------------------------------------------------------------------------------


class NotFound(ApiError):
    code = "not_found"


class UserNotFound(NotFound):
    code = "user_not_found"


class KeyNotFound(NotFound):
    code = "key_not_found"


class SessionNotFound(NotFound):
    code = "session_not_found"


class OrderNotFound(NotFound):
    code = "order_not_found"


class PlanNotFound(NotFound):
    code = "plan_not_found"


class LoanNotFound(NotFound):
    code = "loan_not_found"


class QuoteNotFound(NotFound):
    code = "quote_not_found"


class TransactionNotFound(NotFound):
    code = "transaction_not_found"


class RecipientNotFound(NotFound):
    code = "recipient_not_found"


class NoReceipt(NotFound):
    code = "no_receipt"


class NoData(NotFound):
    code = "no_data"


class MethodNotAllowed(NotFound):
    code = "method_not_allowed"


# --- what an order, a plan or a loan meets -----------------------------------------------------------------------------


class InsufficientFunds(ApiError):
    """`facts`: required and available, in the asset's unit."""

    code = "insufficient_funds"


class PriceMoved(ApiError):
    """`facts`: expected_price and current_price."""

    code = "price_moved"


class QuoteExpired(ApiError):
    code = "quote_expired"


class QuoteUsed(ApiError):
    code = "quote_used"


class TooManyQuotes(ApiError):
    code = "too_many_quotes"


class ClientOrderIdReused(ApiError):
    """`facts`: transaction_id, the trade that has it."""

    code = "client_order_id_reused"


class IdempotencyKeyReused(ApiError):
    code = "idempotency_key_reused"


class OrderNotOpen(ApiError):
    """`facts`: order, as it ended."""

    code = "order_not_open"


class NotPending(InvalidInput):
    code = "not_pending"


class TooManyOrders(ApiError):
    code = "too_many_orders"


class PlanEnded(ApiError):
    code = "plan_ended"


class TooManyPlans(ApiError):
    code = "too_many_plans"


class LtvTooHigh(InvalidInput):
    code = "ltv_too_high"


class LoanNotActive(ApiError):
    code = "loan_not_active"


class TooManyLoans(ApiError):
    code = "too_many_loans"


class SameAccount(InvalidInput):
    code = "same_account"


class AlreadyReversed(ApiError):
    code = "already_reversed"


class NotReversible(ApiError):
    code = "not_reversible"


# --- what staff meets ---------------------------------------------------------------------------------------------


class ApprovalNotFound(NotFound):
    code = "approval_not_found"


class ApprovalNotPending(ApiError):
    code = "approval_not_pending"


class TooManyApprovals(ApiError):
    code = "too_many_approvals"


class StaffAccount(ApiError):
    code = "staff_account"


# --- come back later ----------------------------------------------------------------------------------------------


class TryLater(ApiError):
    """Nothing is wrong with what was asked, only with when."""


class TradingHalted(TryLater):
    code = "trading_halted"


class RatesUnavailable(TryLater):
    code = "rates_unavailable"


class PriceUncertain(TryLater):
    code = "price_uncertain"


class RateLimited(TryLater):
    code = "rate_limited"


class TooBusy(TryLater):
    code = "too_busy"


class DatabaseUnavailable(TryLater):
    code = "database_unavailable"


class ShuttingDown(TryLater):
    code = "shutting_down"


class OutcomeUnknown(TryLater):
    """It may have been done or not: ask again with the same `keys`."""

    code = "outcome_unknown"


class ProviderError(TryLater):
    code = "provider_error"


class InternalError(ApiError):
    code = "internal_error"


# --- from an answer -----------------------------------------------------------------------------------------------


def error_of(status: int, body: Any, headers: Mapping[str, str]) -> ApiError:
    """Return the error that an answer stands for, whatever it says."""
    said = body if isinstance(body, Mapping) else {}
    code = said.get("code") if isinstance(said.get("code"), str) else f"http_{status}"
    message = said.get("error") if isinstance(said.get("error"), str) else f"HTTP {status}"
    facts = {name: value for name, value in said.items() if name not in ("error", "code")}
    return ApiError.codes.get(str(code), ApiError)(
        str(message),
        status=status,
        code=str(code),
        facts=facts,
        retry_after_s=_seconds(headers.get("Retry-After")),
        request_id=headers.get("X-Request-Id"),
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
