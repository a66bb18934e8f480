"""Housekeeping."""

from bittrade.jobs.alone import alone
from bittrade.services import maintenance


@alone
def purge() -> str:
    """Delete what has expired."""
    return ", ".join(f"{count} {table}" for table, count in maintenance.purge().items() if count) or "nothing"
