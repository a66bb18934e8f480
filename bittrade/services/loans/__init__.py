"""Loans against bitcoin, by one name for everybody else. Who does what:

`book` reads and writes the rows and their money in a caller's unit of work · `acting` is what users do · `watching` calls,
liquidates and charges interest · `reading` serves loans to their owners.
"""

from bittrade.services.loans.acting import Instruction, Step, create_loan, take_step
from bittrade.services.loans.book import add
from bittrade.services.loans.reading import (
    get_for_operator,
    get_loan,
    get_terms,
    list_changed,
    list_for_operator,
    list_loans,
)
from bittrade.services.loans.watching import charge_due, find_late, watch

__all__ = [
    "Instruction",
    "Step",
    "add",
    "charge_due",
    "create_loan",
    "find_late",
    "get_for_operator",
    "get_loan",
    "get_terms",
    "list_changed",
    "list_for_operator",
    "list_loans",
    "take_step",
    "watch",
]
