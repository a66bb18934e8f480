"""What admins are told of as it happens: which event says what, and what in the database shows that it is due.

Looked at rather than noticed (docs/adr/0008): nothing that changes money has to know that somebody watches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bittrade import unit_of_work
from bittrade.models import AuditEvent, Setting, Transaction
from bittrade.services.history import EVERYTHING
from bittrade.services.operators import figures, history, house, people

TRANSACTIONS_TOLD = 100
LISTED = 1000  # as the lists of the API, which these replace


@dataclass(frozen=True, slots=True)
class Marks:
    """How far what is written only once has come."""

    transactions: int
    events: int  # of the audit log: every step of staff, and what owners do to their accounts
    settings: str


@dataclass(frozen=True, slots=True)
class News:
    """An event: what it tells, what it depends on, and how many seconds are between two of it at least."""

    name: str
    load: Callable[[], dict[str, Any]]
    depends_on: Callable[[Marks], Any]
    each_s: float


def read_marks() -> Marks:
    """Return how far everything has come, in one query of a few index ends."""
    newest = (
        sa.select(sa.func.max(Transaction.id)).scalar_subquery(),
        sa.select(sa.func.max(AuditEvent.id)).scalar_subquery(),
        sa.select(sa.func.max(Setting.updated_at)).scalar_subquery(),
        sa.select(sa.func.count()).select_from(Setting).scalar_subquery(),  # a halt that ended leaves no row
    )
    with unit_of_work.reading() as session:
        transactions, events, changed, count = session.execute(sa.select(*newest)).one()
    return Marks(transactions or 0, events or 0, f"{changed} {count}")


def _list_transactions() -> dict[str, Any]:
    page = history.list_transactions(limit=TRANSACTIONS_TOLD, wanted=EVERYTHING)
    return {"transactions": page["transactions"]}


def _list_users() -> dict[str, Any]:
    return people.list_users(limit=LISTED)


def _list_plans() -> dict[str, Any]:
    return history.list_plans(limit=LISTED)


# What sums over all rows, or lists many, is told less often than the second that it may.
ALL = (
    News("admin_transaction_update", _list_transactions, lambda marks: (marks.transactions,), 1),
    News("admin_settings_update", house.get_settings, lambda marks: marks.settings, 1),
    News("admin_user_update", _list_users, lambda marks: (marks.transactions, marks.events), 5),
    News("admin_dca_plans_update", _list_plans, lambda marks: (marks.transactions, marks.events), 5),
    News("admin_metrics_update", figures.get_metrics, lambda marks: (marks.transactions, marks.events), 10),
)
