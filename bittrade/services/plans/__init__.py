"""Recurring plans, by one name for everybody else: `managing` makes and changes them, `running` makes the due runs,
`reading` serves them to their owners."""

from bittrade.services.plans.managing import PlanRequest, create_plan, end_plan, set_status
from bittrade.services.plans.reading import find_late, list_plans, list_runs
from bittrade.services.plans.running import run_due

__all__ = [
    "PlanRequest",
    "create_plan",
    "end_plan",
    "find_late",
    "list_plans",
    "list_runs",
    "run_due",
    "set_status",
]
