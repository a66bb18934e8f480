"""Recurring plans, by one name for everybody else: `managing` makes and changes them, `running` makes the due runs,
`reading` serves them to their owners."""

from bittrade.services.plans.managing import (
    PlanRequest,
    cancel_as_operator,
    create_plan,
    end_plan,
    pause_as_operator,
    set_status,
)
from bittrade.services.plans.reading import (
    count_by_status,
    find_late,
    get_for_operator,
    list_for_operator,
    list_of_all,
    list_plans,
    list_runs,
)
from bittrade.services.plans.running import run_due

__all__ = [
    "PlanRequest",
    "cancel_as_operator",
    "count_by_status",
    "create_plan",
    "end_plan",
    "find_late",
    "get_for_operator",
    "list_for_operator",
    "list_of_all",
    "list_plans",
    "list_runs",
    "pause_as_operator",
    "run_due",
    "set_status",
]
