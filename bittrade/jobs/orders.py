"""Limit orders' job: fill what the price has reached, end what is over."""

from bittrade.jobs.alone import alone
from bittrade.services import orders


@alone
def match() -> str:
    """Close the orders whose time is over, then fill those that the price has reached."""
    expired = orders.close_expired()
    return f"{orders.match()} filled, {expired} expired"
