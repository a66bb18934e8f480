"""A user's own plans, in the shape that the API's later client reads; and everybody's, for operators."""

from collections import defaultdict
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import broadcast, unit_of_work, wire
from bittrade.domain.plans import PlanStatus
from bittrade.errors import PlanNotFound
from bittrade.models import PlanRun, RecurringPlan

RECENT_RUNS = 10
MAX_PLANS_SHOWN = 200
PLAN_COLUMNS = tuple(RecurringPlan.__table__.columns)
_RUN_COLUMNS = tuple(PlanRun.__table__.columns)


def list_plans(user_id: int) -> dict[str, Any]:
    """Return every plan that was not removed, newest first, with its latest runs and what they came to."""
    with unit_of_work.reading() as session:
        is_shown = (RecurringPlan.user_id == user_id, RecurringPlan.status != PlanStatus.CANCELLED)
        query = sa.select(*PLAN_COLUMNS).where(*is_shown).order_by(RecurringPlan.id.desc())
        rows = session.execute(query.limit(MAX_PLANS_SHOWN)).all()
        recent = _recent_runs(session, [row.id for row in rows])
    plans = [wire.plan(row, recent[row.id]) for row in rows]
    return {
        "plans": plans,
        "total_plans": len(plans),
        "active_plans": sum(plan["status"] == PlanStatus.ACTIVE for plan in plans),
        "paused_plans": sum(plan["status"] == PlanStatus.PAUSED for plan in plans),
    }


def list_runs(user_id: int, plan_id: int, *, limit: int) -> dict[str, Any]:
    """Return the plan's runs, newest first, each with why it was skipped or what it traded. Raises PlanNotFound."""
    with unit_of_work.reading() as session:
        read_plan(session, user_id, plan_id)
        query = sa.select(*_RUN_COLUMNS).where(PlanRun.plan_id == plan_id).order_by(PlanRun.due_at.desc())
        rows = session.execute(query.limit(limit + 1)).all()
    return {
        "planId": plan_id,
        "runs": [wire.plan_run(row) for row in rows[:limit]],
        "hasMore": len(rows) > limit,
    }


def read_plan(session: Session, user_id: int, plan_id: int) -> Any:
    """Return one plan of this user that was not removed. Raises PlanNotFound."""
    row = None
    if plan_id < 2**63:  # no column holds more: SQLite's driver would not even ask
        query = sa.select(*PLAN_COLUMNS).where(
            RecurringPlan.id == plan_id,
            RecurringPlan.user_id == user_id,
            RecurringPlan.status != PlanStatus.CANCELLED,
        )
        row = session.execute(query).first()
    if row is None:
        raise PlanNotFound()
    return row


def find_owner(plan_id: int) -> int:
    """Return whose plan it is. Raises PlanNotFound."""
    return int(get_for_operator(plan_id)["user_id"])


def get_for_operator(plan_id: int) -> dict[str, Any]:
    """Return anybody's plan with its owner's id and its latest runs, also one that was ended. Raises PlanNotFound."""
    query = sa.select(*PLAN_COLUMNS).where(RecurringPlan.id == plan_id)
    with unit_of_work.reading() as session:
        row = session.execute(query).first()
        if row is None:
            raise PlanNotFound()
        return {"user_id": row.user_id, **wire.plan(row, _recent_runs(session, [plan_id])[plan_id])}


def list_for_operator(*, user_id: int | None, status: str | None, limit: int) -> list[dict[str, Any]]:
    """Return everybody's or one user's plans, newest first, each with its owner's id; without their runs."""
    query = sa.select(*PLAN_COLUMNS)
    if user_id is not None:
        query = query.where(RecurringPlan.user_id == user_id)
    if status is not None:
        query = query.where(RecurringPlan.status == status)
    with unit_of_work.reading() as session:
        rows = session.execute(query.order_by(RecurringPlan.id.desc()).limit(limit))
        return [{"user_id": row.user_id, **wire.plan(row, [])} for row in rows]


def list_of_all(
    session: Session,
    *,
    limit: int,
    before_id: int | None = None,
    status: str | None = None,
    user_ids: list[int] | None = None,
) -> list[dict[str, Any]]:
    """Return everybody's plans, newest first, each with its owner's id and its latest runs."""
    query = sa.select(*PLAN_COLUMNS)
    if before_id is not None:
        query = query.where(RecurringPlan.id < before_id)
    if status is not None:
        query = query.where(RecurringPlan.status == status)
    if user_ids is not None:
        query = query.where(RecurringPlan.user_id.in_(user_ids))
    rows = session.execute(query.order_by(RecurringPlan.id.desc()).limit(limit)).all()
    recent = _recent_runs(session, [row.id for row in rows])
    return [{"user_id": row.user_id, **wire.plan(row, recent[row.id])} for row in rows]


def count_by_status(session: Session) -> dict[str, int]:
    """Return how many plans there are, and of each state, under the names that the API's later client reads."""
    rows = session.execute(sa.select(RecurringPlan.status, sa.func.count()).group_by(RecurringPlan.status))
    counts: dict[str, int] = {row[0]: row[1] for row in rows}
    names = {
        "activeCount": PlanStatus.ACTIVE,
        "pausedCount": PlanStatus.PAUSED,
        "completedCount": PlanStatus.COMPLETED,
    }
    return {
        "totalCount": sum(counts.values()),
        **{name: counts.get(status, 0) for name, status in names.items()},
    }


def publish(user_id: int) -> None:
    """Publish the user's plans to their sockets. `load` runs when the event goes out."""
    broadcast.plans_changed(user_id, lambda: list_plans(user_id))


def find_late(*, by_s: float) -> int:
    """Return how many runs are still to be tried `by_s` seconds after their moment: nobody runs them."""
    deadline = wire.now() - timedelta(seconds=by_s)
    is_late = (RecurringPlan.status == PlanStatus.ACTIVE, RecurringPlan.attempt_at < deadline)
    with unit_of_work.reading() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(RecurringPlan).where(*is_late)) or 0


def _recent_runs(session: Session, plan_ids: list[int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    if not plan_ids:
        return found
    number = sa.func.row_number().over(partition_by=PlanRun.plan_id, order_by=PlanRun.due_at.desc())
    numbered = (
        sa.select(*_RUN_COLUMNS, number.label("number")).where(PlanRun.plan_id.in_(plan_ids)).subquery()
    )
    query = sa.select(numbered).where(numbered.c.number <= RECENT_RUNS)
    for row in session.execute(query.order_by(numbered.c.plan_id, numbered.c.due_at.desc())):
        found[row.plan_id].append(wire.plan_run(row))
    return found
