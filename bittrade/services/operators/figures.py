"""What everybody's holdings and transactions come to. Each is computed when it is asked for, from the books."""

from collections import defaultdict
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.money import SATOSHIS_PER_BTC, Asset, divide_half_up
from bittrade.domain.plans import PlanStatus
from bittrade.models import Balance, RecurringPlan, Transaction
from bittrade.services import market

DAYS_SHOWN = 30
BUYS = ("MARKET_BUY", "LIMIT_BUY", "DCA_BUY")
SELLS = ("MARKET_SELL", "LIMIT_SELL", "DCA_SELL")
TRADES = (*BUYS, *SELLS)
# Runs in 30 days, so that it stays a whole number.
RUNS_IN_30_DAYS = {"HOURLY": 720, "DAILY": 30, "WEEKLY": 4, "MONTHLY": 1}


def get_totals() -> dict[str, int]:
    """Return what all customers hold, in rupees and satoshis."""
    with unit_of_work.reading() as session:
        return read_totals(session)


def read_totals(session: Session) -> dict[str, int]:
    """Return the sums of the balances' accounts."""
    names = {
        "total_available_inr": Balance.available_inr,
        "total_available_btc": Balance.available_btc,
        "total_reserved_inr": Balance.reserved_inr,
        "total_reserved_btc": Balance.reserved_btc,
        "total_collateral_btc": Balance.collateral_btc,
        "total_borrowed_inr": Balance.borrowed_inr,
        "total_interest_accrued": Balance.interest_accrued,
    }
    row = session.execute(
        sa.select(*(sa.func.coalesce(sa.func.sum(column), 0) for column in names.values()))
    ).one()
    return {name: int(value) for name, value in zip(names, row, strict=True)}


def get_metrics() -> dict[str, Any]:
    """Trades, volumes, deposits and withdrawals of all time, plans, and what each of the last days brought."""
    with unit_of_work.reading() as session:
        rows = _read_by_day(session)
        active, daily_inr = _read_plans(session)
    trades = [row for row in rows if row.type in TRADES]
    return {
        "total_trades": sum(row.times for row in trades),
        "total_volume": _sum_inr(rows, *TRADES),
        "buy_volume": _sum_inr(rows, *BUYS),
        "sell_volume": _sum_inr(rows, *SELLS),
        "active_dca_plans": active,
        "avg_daily_dca_amount": daily_inr,
        "total_cash_deposits": _sum_inr(rows, "DEPOSIT_INR"),
        "total_cash_withdrawals": _sum_inr(rows, "WITHDRAW_INR"),
        "total_bitcoin_deposits": sum(int(row.btc) for row in rows if row.type == "DEPOSIT_BTC"),
        "total_bitcoin_withdrawals": sum(int(row.btc) for row in rows if row.type == "WITHDRAW_BTC"),
        "days": _list_days(rows),
    }


def _read_by_day(session: Session) -> list[Any]:
    """What was executed here, by day (UTC) and type: what was imported moved nothing."""
    day = sa.func.date(Transaction.created_at)
    query = (
        sa.select(
            day.label("day"),
            Transaction.type,
            sa.func.count().label("times"),
            sa.func.sum(Transaction.inr_amount).label("inr"),
            sa.func.sum(Transaction.btc_amount).label("btc"),
        )
        .where(Transaction.status == "EXECUTED", Transaction.imported_id.is_(None))
        .group_by(day, Transaction.type)
    )
    return list(session.execute(query))


def _sum_inr(rows: list[Any], *types: str) -> int:
    return sum(int(row.inr) for row in rows if row.type in types)


def _list_days(rows: list[Any]) -> list[dict[str, Any]]:
    """The last days, oldest first, without gaps."""
    by_day: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        by_day[str(row.day)].append(row)
    today = wire.now().date()
    days = [(today - timedelta(days=ago)).isoformat() for ago in range(DAYS_SHOWN - 1, -1, -1)]
    return [
        {
            "day": day,
            "trades": sum(row.times for row in by_day[day] if row.type in TRADES),
            "buy_volume": _sum_inr(by_day[day], *BUYS),
            "sell_volume": _sum_inr(by_day[day], *SELLS),
            "cash_deposits": _sum_inr(by_day[day], "DEPOSIT_INR"),
            "cash_withdrawals": _sum_inr(by_day[day], "WITHDRAW_INR"),
        }
        for day in days
    ]


def _read_plans(session: Session) -> tuple[int, int]:
    """How many plans are active, and what they trade in a day on average, in rupees at what a buyer pays now."""
    rows = session.execute(
        sa.select(
            RecurringPlan.frequency,
            RecurringPlan.asset,
            sa.func.count().label("times"),
            sa.func.sum(RecurringPlan.amount).label("amount"),
        )
        .where(RecurringPlan.status == PlanStatus.ACTIVE)
        .group_by(RecurringPlan.frequency, RecurringPlan.asset)
    ).all()
    rates = market.find_rates(session)
    in_30_days = 0
    for row in rows:
        amount = int(row.amount)
        if row.asset == Asset.BTC:
            amount = 0 if rates is None else divide_half_up(amount * rates.buy_inr, SATOSHIS_PER_BTC)
        in_30_days += amount * RUNS_IN_30_DAYS[row.frequency]
    return sum(row.times for row in rows), divide_half_up(in_30_days, 30)
