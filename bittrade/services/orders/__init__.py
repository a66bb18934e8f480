"""Limit orders, by one name for everybody else. Who does what:

`book` reads and writes the rows and their money in a caller's unit of work · `placing` places and previews · `closing`
cancels and lets expire · `matching` fills what the price has reached · `lateness` says when it does not · `reading` serves orders to their owners.
"""

from bittrade.services.orders.closing import (
    cancel_all,
    cancel_as_operator,
    cancel_order,
    close_expired,
    has_overdue,
)
from bittrade.services.orders.lateness import has_unfilled
from bittrade.services.orders.matching import match
from bittrade.services.orders.placing import MAX_OPEN_ORDERS, OrderRequest, place_order, preview_order
from bittrade.services.orders.reading import (
    get_for_operator,
    get_order,
    list_changed,
    list_for_operator,
    list_orders,
)

__all__ = [
    "MAX_OPEN_ORDERS",
    "OrderRequest",
    "cancel_all",
    "cancel_as_operator",
    "cancel_order",
    "close_expired",
    "get_for_operator",
    "get_order",
    "has_overdue",
    "has_unfilled",
    "list_changed",
    "list_for_operator",
    "list_orders",
    "match",
    "place_order",
    "preview_order",
]
