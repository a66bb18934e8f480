"""Making the runs of recurring plans that are due: each due time exactly once.

The trade, the run's row and the plan's next time are one transaction, under the lock of the user's balance. So it does
not matter how many processes run this, or where one of them is killed.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain import trading
from bittrade.domain.money import Asset
from bittrade.domain.plans import PAUSE_AFTER_SKIPS, Instalment, PlanStatus, Skip
from bittrade.domain.pricing import age_ms
from bittrade.domain.receipt import Receipt
from bittrade.domain.trading import Action, Fill
from bittrade.errors import (
    BitTradeError,
    DatabaseUnavailable,
    InsufficientFunds,
    PriceUncertain,
    RatesUnavailable,
    TradingHalted,
)
from bittrade.logs import warn_seldom
from bittrade.models import PlanRun, RecurringPlan, User
from bittrade.services import ledger, market, trade, user_data
from bittrade.services.ledger import Posted, Posting
from bittrade.services.plans import reading
from bittrade.services.plans.managing import timetable

log = logging.getLogger(__name__)
PLANS_AT_ONCE = 200
MAX_MISSED = 500  # rows in one transaction; the next look goes on
FIRST_RETRY_S, LAST_RETRY_S = 5, 900
PUT_OFF_S = 30  # a plan that fails for a reason of its own


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one due time."""

    due_at: datetime
    reason: str | None = None  # none: executed
    posted: Posted | None = None
    filled: Fill | None = None


def run_due() -> int:
    """Make every run that is due now; how many plans were looked at. Raises DatabaseUnavailable."""
    now = wire.now()
    is_due = (RecurringPlan.status == PlanStatus.ACTIVE, RecurringPlan.attempt_at <= now)
    with unit_of_work.reading() as session:
        query = sa.select(RecurringPlan.id, RecurringPlan.user_id).where(*is_due)
        due = session.execute(query.order_by(RecurringPlan.attempt_at).limit(PLANS_AT_ONCE)).all()
    for plan_id, user_id in due:
        try:
            _run(plan_id, user_id)
        except DatabaseUnavailable:
            raise
        except (BitTradeError, exc.SQLAlchemyError) as error:
            message = "plans did not run, and are tried again within a minute; plan %d: %s"
            warn_seldom(log, message, plan_id, error, with_traceback=True)
            _put_off(plan_id, now)
    return len(due)


def _put_off(plan_id: int, now: datetime) -> None:
    """Let a plan that fails wait: too many of them would hold up all others."""
    later = now + timedelta(seconds=PUT_OFF_S)
    try:
        unit_of_work.commit(lambda session: _update(session, plan_id, attempt_at=later))
    except exc.SQLAlchemyError as error:
        warn_seldom(log, "a plan that fails could not be put off: %s", error)


def _run(plan_id: int, user_id: int) -> None:
    def work(session: Session) -> tuple[bool, Posted | None]:
        held = ledger.lock_balance(session, user_id)
        row = _find_due(session, plan_id, wire.now())
        return (False, None) if row is None else (True, _settle(session, row, held))

    is_changed, posted = unit_of_work.commit_for(user_id, work)
    if posted is not None:
        user_data.publish(user_id, posted.balance)
    if is_changed:
        reading.publish(user_id)


def _find_due(session: Session, plan_id: int, now: datetime) -> Any:
    """Return the plan if it is still due: another process may have been quicker, or its owner have paused it."""
    query = (
        sa.select(*reading.PLAN_COLUMNS, User.disabled_at)
        .join(User, User.id == RecurringPlan.user_id)
        .where(
            RecurringPlan.id == plan_id,
            RecurringPlan.status == PlanStatus.ACTIVE,
            RecurringPlan.attempt_at <= now,
        )
    )
    return session.execute(query).first()


def _settle(session: Session, row: Any, held: dict[str, int]) -> Posted | None:
    """Record what was missed, then make the latest due run; or let it wait for a price."""
    now, table = wire.now(), timetable(row)
    later = table.list_due(row.due_at, now, at_most=MAX_MISSED)
    *missed, latest = [row.due_at, *later]
    first_reason = Skip.RATES_UNAVAILABLE if row.attempts else Skip.MISSED
    outcomes = [
        _Outcome(due_at, first_reason if number == 0 else Skip.MISSED) for number, due_at in enumerate(missed)
    ]
    attempts = 0 if missed else row.attempts
    made = _attempt(session, row, latest, held, now)
    if made.reason == Skip.RATES_UNAVAILABLE:
        _keep_runs(session, row.id, outcomes, now)
        _postpone(session, row, latest, attempts + 1, now)
        return None
    outcomes.append(made)
    _keep_runs(session, row.id, outcomes, now)
    _advance(session, row, made, next_due=table.next_due(latest), now=now)
    return made.posted


def _attempt(session: Session, row: Any, due_at: datetime, held: dict[str, int], now: datetime) -> _Outcome:
    """Trade what the plan says at the current rate, or return why not."""
    if row.disabled_at is not None:
        return _Outcome(due_at, Skip.ACCOUNT_DISABLED)
    part = Instalment(Action(row.action), Asset(row.asset), row.amount, row.max_price, row.min_price)
    try:
        basis = market.price_for_trade(session, now)
        if (skip := part.find_skip(basis.rates)) is not None:
            return _Outcome(due_at, skip)
        filled = trading.decide(
            part.order,
            basis.rates,
            trade.order_limits(),
            available_inr=held["available_inr"],
            available_btc=held["available_btc"],
        )
    except TradingHalted:
        return _Outcome(due_at, Skip.TRADING_HALTED)
    except (RatesUnavailable, PriceUncertain):
        return _Outcome(due_at, Skip.RATES_UNAVAILABLE)
    except InsufficientFunds:
        return _Outcome(due_at, Skip.INSUFFICIENT_FUNDS)
    except BitTradeError as error:  # what the trading rules of today refuse
        return _Outcome(due_at, error.code)
    receipt = Receipt(basis, part.order, age_ms(basis.as_of, now))
    posting = Posting(
        type=f"DCA_{row.action.upper()}",
        execution_price=filled.price_inr,
        receipt=orjson.dumps(receipt.to_json()).decode(),
    )
    entry = filled.entry(row.user_id)
    posted = ledger.post(session, row.user_id, held=held, entry=entry, posting=posting, now=now)
    return _Outcome(due_at, posted=posted, filled=filled)


def _keep_runs(session: Session, plan_id: int, outcomes: list[_Outcome], now: datetime) -> None:
    if not outcomes:
        return
    rows = [
        {
            "plan_id": plan_id,
            "due_at": outcome.due_at,
            "at": now,
            "outcome": "skipped" if outcome.posted is None else "executed",
            "reason": outcome.reason,
            "transaction_id": outcome.posted and outcome.posted.transaction_id,
            "execution_price": outcome.filled and outcome.filled.price_inr,
            "inr_amount": outcome.filled and outcome.filled.inr,
            "btc_amount": outcome.filled and outcome.filled.satoshis,
        }
        for outcome in outcomes
    ]
    session.execute(sa.insert(PlanRun.__table__), rows)


def _postpone(session: Session, row: Any, due_at: datetime, attempts: int, now: datetime) -> None:
    """Try the run again later: at growing intervals, until the next one is due."""
    pause_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(attempts - 1, 20))
    attempt_at = min(now + timedelta(seconds=pause_s), timetable(row).next_due(now))
    _update(session, row.id, due_at=due_at, attempt_at=attempt_at, attempts=attempts)


def _advance(session: Session, row: Any, made: _Outcome, *, next_due: datetime, now: datetime) -> None:
    """Count the run, and move on to the next one; complete or pause the plan where that is due."""
    values: dict[str, Any] = {"due_at": next_due, "attempt_at": next_due, "attempts": 0, "unfunded_runs": 0}
    if made.filled is not None:
        values["executions"] = row.executions + 1
        values["total_inr"] = row.total_inr + made.filled.inr
        values["total_btc"] = row.total_btc + made.filled.satoshis
        if row.remaining_executions is not None:
            values["remaining_executions"] = row.remaining_executions - 1
            if row.remaining_executions == 1:
                values |= {"status": PlanStatus.COMPLETED.value, "ended_at": now}
    elif made.reason == Skip.INSUFFICIENT_FUNDS:
        values["unfunded_runs"] = row.unfunded_runs + 1
        if row.unfunded_runs + 1 >= PAUSE_AFTER_SKIPS:
            values["status"] = PlanStatus.PAUSED.value
    _update(session, row.id, **values)


def _update(session: Session, plan_id: int, **values: Any) -> None:
    session.execute(sa.update(RecurringPlan).where(RecurringPlan.id == plan_id).values(**values))
