"""What values look like to a client: one shape per thing, shared by REST, sockets and the cache. Pure functions.

Times are UTC, ISO 8601 with milliseconds and Z; money is whole rupees and satoshis; percentages have two decimals.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from bittrade.domain.ledger import BALANCE_ACCOUNTS
from bittrade.domain.money import SATOSHIS_PER_BTC, divide_half_up
from bittrade.domain.pricing import MULTIPLIER_SCALE, Rates
from bittrade.domain.receipt import Receipt
from bittrade.domain.transaction_types import signs_of

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

    The amounts have no sign; `inr_change` and `btc_change` say what an executed one did to the user's holdings.
    """
    inr_sign, btc_sign = signs_of(row.type, row.reverses_type)
    is_executed = row.status == "EXECUTED"
    return {
        "id": row.id,
        "type": row.type,
        "status": row.status,
        "btc_amount": row.btc_amount,
        "inr_amount": row.inr_amount,
        "execution_price": row.execution_price,
        "created_at": timestamp(row.created_at),
        "executed_at": None if row.executed_at is None else timestamp(row.executed_at),
        "seq": row.seq,
        "client_order_id": row.client_order_id,
        "reverses_id": row.reverses_id,
        "reverses_type": row.reverses_type,
        "inr_change": inr_sign * row.inr_amount if is_executed else 0,
        "btc_change": btc_sign * row.btc_amount if is_executed else 0,
    }


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
