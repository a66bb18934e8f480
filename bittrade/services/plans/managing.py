"""Making, pausing, resuming and ending recurring plans."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.money import MAX_AMOUNT
from bittrade.domain.plans import Instalment, PlanStatus, Timetable
from bittrade.errors import InvalidInput, PlanEnded, PlanNotFound, TooManyPlans
from bittrade.models import RecurringPlan
from bittrade.services import audit, idempotency, ledger
from bittrade.services.plans import reading

ROUTE = "dca-plans"
MAX_PLANS = 100  # that have not ended
MAX_AHEAD = timedelta(days=3660)


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A client's plan; `start_at` None is at once."""

    instalment: Instalment
    frequency: Any
    time_zone: str
    start_at: datetime | None = None
    remaining_executions: int | None = None

    @property
    def kind(self) -> str:
        """Return what the API calls it: DCA_BUY or DCA_SELL."""
        return f"DCA_{self.instalment.action.value.upper()}"

    @property
    def fingerprint(self) -> str:
        """Return a hash of its meaning."""
        start, part = self.start_at and self.start_at.isoformat(), self.instalment
        prices = [part.max_price, part.min_price]
        meaning = [self.kind, part.asset, part.amount, *prices, self.frequency, self.time_zone, start]
        return hashlib.sha256(orjson.dumps([*meaning, self.remaining_executions])).hexdigest()


def create_plan(
    user_id: int, wanted: PlanRequest, *, idempotency_key: str | None = None
) -> tuple[dict[str, Any], bool]:
    """Begin a plan; the answer, and whether the same key was answered before.

    Raises InvalidInput, TooManyPlans or IdempotencyKeyReused.
    """

    def work(session: Session) -> tuple[dict[str, Any], bool]:
        ledger.lock_balance(session, user_id)
        key = {"route": ROUTE, "key": idempotency_key, "fingerprint": wanted.fingerprint}
        first = idempotency.find_first_answer(session, user_id, **key)  # type: ignore[arg-type]
        if first is not None:
            return first, True
        plan_id = _insert(session, user_id, wanted, wire.now())
        audit.record(session, "plan_created", user_id=user_id, plan_id=plan_id, kind=wanted.kind)
        plan = wire.plan(reading.read_plan(session, user_id, plan_id), [])
        answer = {"planId": plan_id, "message": "Plan created", "plan": plan}
        idempotency.keep_answer(session, user_id, **key, answer=answer)  # type: ignore[arg-type]
        return answer, False

    answer, is_replay = unit_of_work.commit_for(user_id, work)
    if not is_replay:
        reading.publish(user_id)
    return answer, is_replay


def set_status(user_id: int, plan_id: int, status: PlanStatus, *, why: str | None = None) -> dict[str, Any]:
    """Pause or resume a plan. A resumed one goes on at its next due time. Raises PlanNotFound or PlanEnded."""

    def change(session: Session, row: Any, now: datetime) -> dict[str, Any]:
        if row.status == status:
            return {}
        changed: dict[str, Any] = {"status": status, "attempts": 0, "unfunded_runs": 0}
        if status is PlanStatus.ACTIVE:
            due_at = max(row.due_at, timetable(row).next_due(now))
            changed |= {"due_at": due_at, "attempt_at": due_at}
        because: dict[str, Any] = {} if why is None else {"why": why}
        audit.record(session, f"plan_{status.lower()}", user_id=user_id, plan_id=plan_id, **because)
        return changed

    plan = _change(user_id, plan_id, change)
    return {"message": "Plan paused" if status is PlanStatus.PAUSED else "Plan resumed", "plan": plan}


def end_plan(user_id: int, plan_id: int, *, why: str | None = None) -> dict[str, Any]:
    """End a plan; its runs and trades stay. Raises PlanNotFound."""

    def change(session: Session, row: Any, now: datetime) -> dict[str, Any]:
        audit.record(session, "plan_cancelled", user_id=user_id, plan_id=plan_id, why=why)
        return {"status": PlanStatus.CANCELLED, "ended_at": row.ended_at or now}

    plan = _change(user_id, plan_id, change, may_have_ended=True)
    return {
        "message": "Plan ended",
        "planId": plan_id,
        "planType": plan["plan_type"],
        "relatedTransactionsDeleted": 0,
    }


def pause_as_operator(plan_id: int, *, why: str) -> None:
    """Pause anybody's plan. Raises InvalidInput (no reason), PlanNotFound or PlanEnded."""
    why = audit.read_reason(why)
    set_status(reading.find_owner(plan_id), plan_id, PlanStatus.PAUSED, why=why)


def cancel_as_operator(plan_id: int, *, why: str) -> None:
    """End anybody's plan. Raises InvalidInput (no reason) or PlanNotFound, also where it was ended before."""
    why = audit.read_reason(why)
    end_plan(reading.find_owner(plan_id), plan_id, why=why)


def timetable(row: Any) -> Timetable:
    """Return the pure value of a plan's times."""
    return Timetable(row.start_at, row.frequency, row.time_zone)


def _change(user_id: int, plan_id: int, change: Any, *, may_have_ended: bool = False) -> dict[str, Any]:
    def work(session: Session) -> dict[str, Any]:
        ledger.lock_balance(session, user_id)
        row = reading.read_plan(session, user_id, plan_id)
        if row.status == PlanStatus.COMPLETED and not may_have_ended:
            raise PlanEnded()
        before = wire.plan(row, [])
        values = change(session, row, wire.now())
        if values:
            session.execute(sa.update(RecurringPlan).where(RecurringPlan.id == plan_id).values(**values))
        try:
            return wire.plan(reading.read_plan(session, user_id, plan_id), [])
        except PlanNotFound:
            return before  # removed just now

    plan = unit_of_work.commit_for(user_id, work)
    reading.publish(user_id)
    return plan


def _insert(session: Session, user_id: int, wanted: PlanRequest, now: datetime) -> int:
    going_on = (PlanStatus.ACTIVE, PlanStatus.PAUSED)
    count = session.scalar(
        sa.select(sa.func.count())
        .select_from(RecurringPlan)
        .where(RecurringPlan.user_id == user_id, RecurringPlan.status.in_(going_on))
    )
    if (count or 0) >= MAX_PLANS:
        raise TooManyPlans(max_plans=MAX_PLANS)
    start_at = wanted.start_at or now
    if not now - timedelta(days=1) <= start_at <= now + MAX_AHEAD:
        raise InvalidInput("Invalid start_at: in the past, or more than ten years ahead", field="start_at")
    table = Timetable(start_at, wanted.frequency, wanted.time_zone)
    due_at = max(start_at, now) if wanted.start_at is None else table.next_due(now)
    part = wanted.instalment
    if part.amount > MAX_AMOUNT:
        raise InvalidInput("Too large", field="amount")
    inserted = session.execute(
        sa.insert(RecurringPlan.__table__).values(
            user_id=user_id,
            action=part.action.value,
            asset=part.asset.value,
            amount=part.amount,
            max_price=part.max_price,
            min_price=part.min_price,
            frequency=wanted.frequency.value,
            time_zone=wanted.time_zone,
            start_at=start_at,
            status=PlanStatus.ACTIVE.value,
            remaining_executions=wanted.remaining_executions,
            due_at=due_at,
            attempt_at=due_at,
            attempts=0,
            unfunded_runs=0,
            executions=0,
            total_inr=0,
            total_btc=0,
            created_at=now,
        )
    )
    plan_id: int = inserted.inserted_primary_key[0]  # type: ignore[attr-defined]
    return plan_id
