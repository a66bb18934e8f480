"""Loans' jobs: margin calls and liquidations, and interest."""

from bittrade.jobs.alone import alone
from bittrade.services import loans


@alone
def watch_loans() -> str:
    """Liquidate and call what the price endangers."""
    liquidated, called = loans.watch()
    return f"{liquidated} liquidated, {called} called"


@alone
def charge_interest() -> str:
    """Charge the interest that is due."""
    return f"{loans.charge_due()} charged"
