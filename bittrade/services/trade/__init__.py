"""Market orders, by one name for everybody else. Who does what:

`instruction` is what a client wants · `execution` turns it, a price and a balance into what is posted and answered ·
`placing` executes it once · `together` executes many in one database transaction · `viewing` moves nothing.
"""

from bittrade.services.trade.execution import order_limits, refuse_reused_id
from bittrade.services.trade.instruction import Instruction, Placed
from bittrade.services.trade.placing import place_trade
from bittrade.services.trade.viewing import get_rules, preview_trade

__all__ = [
    "Instruction",
    "Placed",
    "get_rules",
    "order_limits",
    "place_trade",
    "preview_trade",
    "refuse_reused_id",
]
