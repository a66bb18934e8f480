"""What can go wrong in BitTrade, named for the fact.

Each error carries a stable `code` (machines switch on it), a `message` (people read it) and `facts` (extra keys of
the answer). This module knows nothing of HTTP; `api/errors.py` decides the status.
"""

from typing import Any


class BitTradeError(Exception):
    """Base of every error that BitTrade raises on purpose."""

    code = "error"
    message = "Something went wrong!"

    def __init__(self, message: str | None = None, **facts: Any) -> None:
        self.message = message or self.message
        self.facts = facts
        super().__init__(self.message)


# --- what a client sent -------------------------------------------------------------------------------------------


class InvalidInput(BitTradeError):
    """A value that is not of the stated form or range; `facts["field"]` names it where there is one."""

    code = "invalid_input"
    message = "Invalid input"


class MissingFields(InvalidInput):
    code = "missing_fields"
    message = "Missing required fields"


class InvalidJson(InvalidInput):
    code = "invalid_json"
    message = "The body is not valid JSON"


class InvalidAmount(InvalidInput):
    code = "invalid_amount"
    message = "Invalid amount. Must be a positive number"


class InvalidAction(InvalidInput):
    code = "invalid_action"
    message = 'Invalid action. Must be "buy" or "sell"'


class InvalidOrderType(InvalidInput):
    code = "invalid_order_type"
    message = "Only market orders are supported currently"


class InvalidCurrency(InvalidInput):
    code = "invalid_currency"
    message = 'Invalid currency. Must be "inr" or "btc"'


class InvalidTimeframe(InvalidInput):
    code = "invalid_timeframe"
    message = "Invalid timeframe"


class InvalidIdempotencyKey(InvalidInput):
    code = "invalid_idempotency_key"
    message = "Invalid Idempotency-Key. Must be 1 to 255 visible ASCII characters"


class NotConfirmed(InvalidInput):
    """A change that may be a slip of the hand: it has to be said twice."""

    code = "not_confirmed"
    message = "Are you sure?"


class UnsupportedMediaType(BitTradeError):
    code = "unsupported_media_type"
    message = "The body must be sent as application/json"


class BodyTooLarge(BitTradeError):
    code = "body_too_large"
    message = "The body is larger than 64 KiB"


class BrokenBody(InvalidInput):
    """A malformed chunk, or an end before the announced one: where the next request begins nobody knows."""

    code = "bad_request"
    message = "Bad request"


class BodyTooSlow(BitTradeError):
    code = "body_too_slow"
    message = "The body took too long to arrive"


class WeakPassword(InvalidInput):
    code = "weak_password"
    message = "The password is too easy to guess"


# --- who is asking ------------------------------------------------------------------------------------------------


class TokenMissing(BitTradeError):
    code = "token_missing"
    message = "Access token required"


class TokenInvalid(BitTradeError):
    """Bad, expired or revoked: one message for all of them, so that it tells an attacker nothing."""

    code = "token_invalid"
    message = "Invalid or expired token"

    def __init__(self, *, user_id: int | None = None) -> None:
        super().__init__()
        self.user_id = user_id  # for the audit log alone: whose token it was, where that is known


class InsufficientScope(BitTradeError):
    """An API key that may not do this; facts: `needs` (one of them is enough) and `has`."""

    code = "insufficient_scope"
    message = "This API key may not do that"


class AdminRequired(BitTradeError):
    """Somebody without the role that this needs."""

    code = "admin_required"
    message = "Access denied. Admin privileges required."


class StaffAccount(BitTradeError):
    """One admin could become another by it, and then approve what they asked for themselves."""

    code = "staff_account"
    message = "Accounts of staff are changed by the operators' command alone"


class ApprovalNotFound(BitTradeError):
    code = "approval_not_found"
    message = "Approval not found"


class ApprovalNotPending(BitTradeError):
    """Decided before, or too old; facts: `approval`, as it stands."""

    code = "approval_not_pending"
    message = "This approval is not pending any more"


class OwnApproval(BitTradeError):
    """Who asked for it decides, or whose account it is."""

    code = "own_approval"
    message = "Another admin has to decide on this"


class TooManyApprovals(BitTradeError):
    """Facts: `max_pending`."""

    code = "too_many_approvals"
    message = "Too many movements wait for approval. Decide on some first"


class KeyNotFound(BitTradeError):
    """No such key, or somebody else's: nobody learns which."""

    code = "key_not_found"
    message = "API key not found"


class TooManyKeys(BitTradeError):
    code = "too_many_keys"
    message = "Too many API keys. Revoke one first"


class SessionNotFound(BitTradeError):
    """No such session, or somebody else's: nobody learns which."""

    code = "session_not_found"
    message = "Session not found"


class RateLimited(BitTradeError):
    code = "rate_limited"
    message = "Too many requests. Please try again later"


class InvalidCredentials(BitTradeError):
    code = "invalid_credentials"
    message = "Invalid email or password"


class AccountLocked(BitTradeError):
    """Too many failed logins; `facts["retry_after_s"]` says how long to wait."""

    code = "account_locked"
    message = "Too many failed logins. Please try again later"


class TooBusy(BitTradeError):
    """More work is waiting than can be done in time; `facts["retry_after_s"]` says when to come back."""

    code = "too_busy"
    message = "The server is busy. Please try again shortly"


class EmailTaken(BitTradeError):
    code = "email_taken"
    message = "User with this email already exists"


class UserNotFound(BitTradeError):
    code = "user_not_found"
    message = "User not found"


# --- money --------------------------------------------------------------------------------------------------------


class InsufficientFunds(BitTradeError):
    """The balance does not cover the order; facts: `required`, `available`, in the asset's unit."""

    code = "insufficient_funds"

    def __init__(self, *, asset: str, required: int, available: int) -> None:
        super().__init__(f"Insufficient {asset} balance", required=required, available=available)


class OrderOutOfRange(InvalidAmount):
    """Smaller or larger than the trading rules allow; facts: `min_inr`, `max_inr`, `order_inr`."""

    code = "order_out_of_range"

    def __init__(self, *, min_inr: int, max_inr: int, order_inr: int) -> None:
        message = f"Invalid amount. An order is worth from {min_inr} to {max_inr} rupees"
        super().__init__(message, min_inr=min_inr, max_inr=max_inr, order_inr=order_inr)


class InvalidLimitPrice(InvalidInput):
    """Further from the current rate than allowed; facts: `current_rate`, `within_pct`."""

    code = "invalid_limit_price"
    message = "Invalid limit_price. Too far from the current rate"


class OrderNotFound(BitTradeError):
    """No such order, or somebody else's: nobody learns which."""

    code = "order_not_found"
    message = "Order not found"


class OrderNotOpen(BitTradeError):
    """Filled, cancelled or expired before; facts: `order`, as it ended."""

    code = "order_not_open"
    message = "This order is not open any more"


class NotPending(InvalidInput):
    """No transaction that can be cancelled: it is no open order (any more)."""

    code = "not_pending"
    message = "This transaction is not pending"


class TooManyOrders(BitTradeError):
    """Facts: `max_open_orders`."""

    code = "too_many_orders"
    message = "Too many open orders. Cancel one first"


class PlanNotFound(BitTradeError):
    """No such plan, or somebody else's: nobody learns which."""

    code = "plan_not_found"
    message = "Plan not found"


class PlanEnded(BitTradeError):
    code = "plan_ended"
    message = "This plan has ended"


class TooManyPlans(BitTradeError):
    """Facts: `max_plans`."""

    code = "too_many_plans"
    message = "Too many plans. End one first"


class LtvTooHigh(InvalidInput):
    """More than may be owed on this collateral; facts: `ltv_pct` (null without collateral), `max_ltv_pct`."""

    code = "ltv_too_high"

    def __init__(self, *, ltv_bps: int | None, max_ltv_pct: int) -> None:
        super().__init__(
            f"That would be more than {max_ltv_pct} % of what the collateral is worth",
            ltv_pct=None if ltv_bps is None else ltv_bps / 100,
            max_ltv_pct=max_ltv_pct,
        )


class LoanNotFound(BitTradeError):
    """No such loan, or somebody else's: nobody learns which."""

    code = "loan_not_found"
    message = "Loan not found"


class LoanNotActive(BitTradeError):
    """Closed or liquidated before; facts: `loan`, as it ended."""

    code = "loan_not_active"
    message = "This loan has ended"


class TooManyLoans(BitTradeError):
    """Facts: `max_loans`."""

    code = "too_many_loans"
    message = "Too many active loans. Close one first"


class RecipientNotFound(InvalidInput):
    """Nobody who can receive has this e-mail: unknown, or the account was shut."""

    code = "recipient_not_found"
    message = "No user with this email can receive a transfer"


class SameAccount(InvalidInput):
    code = "same_account"
    message = "The recipient is the sender"


class PriceMoved(BitTradeError):
    """The price became worse than the client accepts; facts: `expected_price`, `current_price`."""

    code = "price_moved"
    message = "The price has moved further than you accept"


class QuoteNotFound(BitTradeError):
    """No such quote, or somebody else's: nobody learns which."""

    code = "quote_not_found"
    message = "Quote not found"


class QuoteExpired(BitTradeError):
    code = "quote_expired"
    message = "This quote has expired"


class QuoteUsed(BitTradeError):
    code = "quote_used"
    message = "This quote was used already"


class TooManyQuotes(BitTradeError):
    code = "too_many_quotes"
    message = "Too many open quotes. Use one or let it expire"


class ClientOrderIdReused(BitTradeError):
    """Facts: `transaction_id`, the trade that has it."""

    code = "client_order_id_reused"
    message = "This client_order_id was used already"


class TradingHalted(BitTradeError):
    code = "trading_halted"
    message = "Trading is halted. Please try again later"


class AlreadyReversed(BitTradeError):
    code = "already_reversed"
    message = "This transaction was reversed already"


class NotReversible(BitTradeError):
    code = "not_reversible"
    message = "A reversal, a transfer, and what an order or a loan holds can't be reversed; post the right transaction"


class TransactionNotFound(BitTradeError):
    """No such transaction, or somebody else's: nobody learns which."""

    code = "transaction_not_found"
    message = "Transaction not found"


class NoReceipt(BitTradeError):
    code = "no_receipt"
    message = "Only trades have a receipt"


class RatesUnavailable(BitTradeError):
    """There is no price, or none that is recent enough to trade on."""

    code = "rates_unavailable"
    message = "Market rates unavailable. Please try again later"


class PriceUncertain(BitTradeError):
    """The newest price waits for confirmation: until that is decided nothing is traded, at the one before neither."""

    code = "price_uncertain"
    message = "The price is being confirmed. Please try again in a moment"


class IdempotencyKeyReused(BitTradeError):
    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used with another body"


class UnbalancedEntry(BitTradeError):
    """A bookkeeping entry whose legs do not sum to zero: a bug, never a client's fault."""

    code = "unbalanced_entry"


# --- what is not there --------------------------------------------------------------------------------------------


class NotFound(BitTradeError):
    code = "not_found"
    message = "Endpoint not found"


class NoData(BitTradeError):
    """Nothing has been fetched yet."""

    code = "no_data"


# --- the world around us ------------------------------------------------------------------------------------------


class DatabaseUnavailable(BitTradeError):
    code = "database_unavailable"
    message = "The service is temporarily unavailable. Please try again"


class WrongSchema(DatabaseUnavailable):
    """The tables are not those that this code was written for. Clients see no more than that we can't serve."""

    def __init__(self, fault: str, **facts: Any) -> None:
        super().__init__(None, **facts)
        self.fault = fault


class ShuttingDown(BitTradeError):
    code = "shutting_down"
    message = "This server is about to end"


class OutcomeUnknown(BitTradeError):
    """The connection broke during COMMIT: the work may or may not be durable (pitfalls of every SQL database)."""

    code = "outcome_unknown"
    message = "The outcome is unknown. Please retry with the same Idempotency-Key"


class ProviderError(BitTradeError):
    """An upstream source failed or sent something that cannot be believed."""

    code = "provider_error"


class AnswerRefused(ProviderError):
    """The source answered, and what it said cannot be believed: no number, no time, out of any range, too old."""


class SourceNotAsked(ProviderError):
    """We did not ask: its budget is used up, or it asked us to wait. No failure of the source."""
