"""What a user's client has missed since a `seq`: after a lost connection, or instead of a socket."""

from dataclasses import dataclass
from typing import Any

from bittrade import unit_of_work
from bittrade.services import ledger, loans, orders, user_data

# Who has missed more gets the latest transactions alone, and asks the history for the others.
MAX_MISSED = 200


@dataclass(frozen=True, slots=True)
class Missed:
    """The balance of now, and every transaction since `after`, oldest first; not every one if it is not `complete`."""

    after: int
    complete: bool
    balance: dict[str, Any]
    transactions: list[dict[str, Any]]
    orders: list[dict[str, Any]]  # that changed in these transactions, as they are now
    loans: list[dict[str, Any]]  # the same, and those under a margin call

    @property
    def seq(self) -> int:
        seq: int = self.balance["seq"]
        return seq


def list_missed(user_id: int, *, after: int) -> Missed:
    """One moment's view. Raises UserNotFound."""
    with unit_of_work.reading() as session:
        balance = user_data.balance_document(ledger.read_balance(session, user_id))
        # What is committed from here on is above that balance's seq, and the next event's matter.
        is_ours = after <= balance["seq"]  # else it is of another database, or made up
        wanted = balance["seq"] - after
        is_complete = is_ours and wanted <= MAX_MISSED
        since = after if is_complete else max(0, balance["seq"] - user_data.LATEST)
        rows = user_data.read_between(session, user_id, after=since, until=balance["seq"])
    changed = orders.list_changed(user_id, {row["order_id"] for row in rows} - {None})
    lent = loans.list_changed(user_id, {row["loan_id"] for row in rows} - {None})
    return Missed(after, is_complete, balance, [{**row, "cached": False} for row in rows], changed, lent)
