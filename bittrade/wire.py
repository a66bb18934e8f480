"""What values look like to a client: one shape per thing, shared by REST, sockets and the cache. Pure functions.

Times are UTC, ISO 8601 with milliseconds and Z; money is whole rupees and satoshis; percentages have two decimals.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from bittrade.domain.ledger import BALANCE_ACCOUNTS
from bittrade.domain.loans import Loan, LoanStatus, Terms
from bittrade.domain.money import SATOSHIS_PER_BTC, Asset, divide_half_up
from bittrade.domain.orders import LimitOrder, OrderStatus
from bittrade.domain.plans import PlanStatus
from bittrade.domain.pricing import MULTIPLIER_SCALE, Rates
from bittrade.domain.receipt import Receipt
from bittrade.domain.trading import Action, Order
from bittrade.domain.transaction_types import LOAN_CREATE, TRANSFER_OUT, signs_of

# On every answer, whoever gives it: no guessing of types, no address passed on, no frames, nothing kept.
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}  # in production, besides
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(moment: datetime) -> str:
    """2024-07-20T10:30:00.000Z"""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def now() -> datetime:
    """The clock of the edges; the domain never asks it."""
    return datetime.now(UTC)


def day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def hundredths(value: int | None) -> int | float | None:
    """Cents as dollars, basis points as percent: a JSON number with at most two decimals."""
    if value is None:
        return None
    return value // 100 if value % 100 == 0 else value / 100


def page(name: str, rows: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """One page of a list, newest first, with the cursor of the next; `name` is what the rows are called."""
    return {name: rows, "hasMore": has_more, "next_before_id": rows[-1]["id"] if has_more and rows else None}


def balance(row: Mapping[str, int]) -> dict[str, int]:
    """The seven integers of a balance."""
    return {field: row[field] for field in BALANCE_ACCOUNTS}


def rates(btc_usd_cents: int, value: Rates) -> dict[str, Any]:
    return {
        "btc_usd_price": hundredths(btc_usd_cents),
        "buy_rate_inr": value.buy_inr,
        "sell_rate_inr": value.sell_inr,
    }


def transaction(row: Any) -> dict[str, Any]:
    """One row of the history; `cached` is set by who serves it.

    The amounts have no sign; `inr_change` and `btc_change` say what an executed one did to the user's holdings (one that
    was imported did nothing here). The
    transaction that reserved an order's money stands for the order, until that is filled.
    """
    shown = {
        "id": row.id,
        "type": row.type,
        "status": row.status,
        "btc_amount": row.btc_amount,
        "inr_amount": row.inr_amount,
        "execution_price": row.execution_price,
        "created_at": timestamp(row.created_at),
        "executed_at": _moment(row.executed_at),
        "seq": row.seq,
        "client_order_id": row.client_order_id,
        "order_id": row.order_id if row.order_status is None else row.id,
        "reverses_id": row.reverses_id,
        "reverses_type": row.reverses_type,
        "imported_id": row.imported_id,
        "imported_type": row.imported_type,
        "counterparty_name": row.counterparty_name,
        "transfer_id": row.id if row.type == TRANSFER_OUT else row.transfer_id,
        "loan_id": row.id if row.type == LOAN_CREATE else row.loan_id,
        "inr_change": 0,
        "btc_change": 0,
    }
    if row.order_status not in (None, OrderStatus.FILLED):
        return {**shown, **_unfilled_order(row)}
    if row.status == "EXECUTED" and row.imported_id is None:
        inr_sign, btc_sign = signs_of(row.type, row.reverses_type)
        shown |= {"inr_change": inr_sign * row.inr_amount, "btc_change": btc_sign * row.btc_amount}
    return shown


def _unfilled_order(row: Any) -> dict[str, Any]:
    """What the history says of an order that waits, or that ended without a fill: its figures at its limit."""
    placed = LimitOrder(
        Order(Action(row.order_action), Asset(row.order_asset), row.order_amount), row.order_limit_price
    )
    worst = placed.at_limit()
    return {
        "type": placed.kind,
        "status": "PENDING" if row.order_status == OrderStatus.OPEN else "CANCELLED",
        "inr_amount": worst.inr,
        "btc_amount": worst.satoshis,
        "execution_price": placed.limit_price,
        "executed_at": None,
    }


def order(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A limit order, from its row and, once it is filled, the figures of its fill; before that, those at its limit."""
    placed = LimitOrder(
        Order(Action(row["action"]), Asset(row["asset"]), row["amount"]),
        row["limit_price"],
        row["expires_at"],
    )
    is_open, is_filled = row["status"] == OrderStatus.OPEN, row["status"] == OrderStatus.FILLED
    worst = placed.at_limit()
    reserved = row["reserved"] if is_open else 0
    is_buy = placed.order.action is Action.BUY
    return {
        "id": row["id"],
        "client_order_id": row["client_order_id"],
        "side": placed.order.action.value,
        "type": placed.kind,
        "status": row["status"],
        "limit_price": placed.limit_price,
        "amount": placed.order.amount,
        "currency": placed.order.asset.value.lower(),
        "inr_amount": row["inr_amount"] if is_filled else worst.inr,
        "btc_amount": row["btc_amount"] if is_filled else worst.satoshis,
        "reserved_inr": reserved if is_buy else 0,
        "reserved_btc": 0 if is_buy else reserved,
        "execution_price": row["execution_price"] if is_filled else None,
        "filled_transaction_id": row["closed_by_id"] if is_filled else None,
        "time_in_force": "gtc" if placed.expires_at is None else "gtd",
        "created_at": timestamp(row["created_at"]),
        "expires_at": _moment(placed.expires_at),
        "filled_at": _moment(row["closed_at"]) if is_filled else None,
        "cancelled_at": None if is_filled else _moment(row["closed_at"]),
        "reason": row["reason"],
    }


def loan(row: Mapping[Any, Any], now: datetime, sell_rate: int | None) -> dict[str, Any]:
    """A loan with its debt of now. LTV and room are those at the newest rate, and null before the first."""
    held = loan_of(row)
    debt = held.charged(now)
    is_active = row["status"] == LoanStatus.ACTIVE
    terms = held.terms
    return {
        "id": row["id"],
        "status": row["status"],
        "collateral_btc": held.collateral,
        "borrowed_inr": held.borrowed,
        "interest_accrued": held.interest,
        "debt_inr": debt.owed,
        "interest": {
            "yearly_rate_bps": terms.yearly_rate_bps,
            "accrued_inr": held.interest,
            "uncharged_micro_inr": held.uncharged_micro(now) if is_active else 0,
            "charged_at": timestamp(held.since),
        },
        "ltv_pct": hundredths(debt.ltv_bps(sell_rate)) if sell_rate else None,
        "margin_call_rate_inr": debt.rate_at(terms.call_ltv_pct),
        "liquidation_rate_inr": debt.rate_at(terms.liquidation_ltv_pct),
        "available_to_borrow_inr": debt.room(sell_rate) if sell_rate and is_active else 0,
        "sell_rate_inr": sell_rate,
        "max_ltv_pct": terms.max_ltv_pct,
        "margin_call_ltv_pct": terms.call_ltv_pct,
        "liquidation_ltv_pct": terms.liquidation_ltv_pct,
        "margin_called_at": _moment(row["margin_called_at"]),
        "created_at": timestamp(row["created_at"]),
        "closed_at": _moment(row["closed_at"]),
    }


def loan_of(row: Mapping[Any, Any]) -> Loan:
    """Return the pure value of a loan's row."""
    terms = Terms(row["max_ltv_pct"], row["call_ltv_pct"], row["liquidation_ltv_pct"], row["yearly_rate_bps"])
    return Loan(
        terms,
        row["interest_since"],
        row["collateral_btc"],
        row["borrowed_inr"],
        row["interest_accrued"],
        row["interest_micro"],
    )


def loan_terms(terms: Terms) -> dict[str, Any]:
    """What a loan is made on."""
    return {
        "max_ltv_pct": terms.max_ltv_pct,
        "margin_call_ltv_pct": terms.call_ltv_pct,
        "liquidation_ltv_pct": terms.liquidation_ltv_pct,
        "yearly_rate_bps": terms.yearly_rate_bps,
    }


def plan(row: Any, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A recurring plan with its latest runs."""
    is_in_inr, is_active = row.asset == Asset.INR, row.status == PlanStatus.ACTIVE
    average = divide_half_up(row.total_inr * SATOSHIS_PER_BTC, row.total_btc) if row.total_btc else None
    return {
        "id": row.id,
        "plan_type": f"DCA_{row.action.upper()}",
        "status": row.status,
        "frequency": row.frequency,
        "time_zone": row.time_zone,
        "amount_per_execution_inr": row.amount if is_in_inr else None,
        "amount_per_execution_btc": None if is_in_inr else row.amount,
        "next_execution_at": timestamp(row.due_at) if is_active else None,
        "remaining_executions": row.remaining_executions,
        "max_price": row.max_price,
        "min_price": row.min_price,
        "created_at": timestamp(row.created_at),
        "completed_at": _moment(row.ended_at),
        "total_executions": row.executions,
        "recent_executions": runs,
        "performance": {
            "total_executed": row.executions,
            "total_invested": row.total_inr,
            "total_btc": row.total_btc,
            "avg_price": average,
        },
    }


def plan_run(row: Any) -> dict[str, Any]:
    """What became of one due time of a plan."""
    return {
        "due_at": timestamp(row.due_at),
        "executed_at": timestamp(row.at),
        "outcome": row.outcome,
        "reason": row.reason,
        "transaction_id": row.transaction_id,
        "execution_price": row.execution_price,
        "inr_amount": row.inr_amount,
        "btc_amount": row.btc_amount,
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else timestamp(value)


def multiplier(scaled: int) -> str:
    """910000 → '91', 912500 → '91.25'."""
    whole, rest = divmod(scaled, MULTIPLIER_SCALE)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".")


def receipt(value: Receipt) -> dict[str, Any]:
    """A trade's receipt. The spread is in rupees: for one bitcoin, and on what this trade moved."""
    basis, fill = value.basis, value.recompute()
    spread = basis.rates.buy_inr - basis.rates.sell_inr
    is_in_inr = value.order.asset == "INR"
    return {
        "source": basis.source,
        "price_id": basis.price_id,
        **rates(basis.btc_usd_cents, basis.rates),
        "as_of": timestamp(basis.as_of),
        "age_ms": value.age_ms,
        "buy_multiplier": multiplier(basis.multipliers.buy),
        "sell_multiplier": multiplier(basis.multipliers.sell),
        "execution_price": fill.price_inr,
        "order": {
            "action": value.order.action.value,
            "amount": value.order.amount,
            "unit": "rupees" if is_in_inr else "satoshis",
        },
        "rounding": _rounding(is_buy=fill.action == "buy", is_in_inr=is_in_inr),
        "btc_amount": fill.satoshis,
        "inr_amount": fill.inr,
        "spread_inr_per_btc": spread,
        "spread_inr": divide_half_up(spread * fill.satoshis, SATOSHIS_PER_BTC),
        "quote_id": value.quote_id,
    }


def _rounding(*, is_buy: bool, is_in_inr: bool) -> str:
    unit = "satoshis" if is_in_inr else "rupees"
    return f"{unit} rounded {'down' if is_buy == is_in_inr else 'up'}"
