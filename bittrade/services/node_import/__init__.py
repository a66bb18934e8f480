"""The move from the original server: its users, balances and history, into an empty BitTrade.

`source` reads the original's database · `conversion` makes values of ours out of its rows, and says what was odd ·
`writing` writes some users in one unit of work · `run` does it for all of them, and can be repeated.
"""

from bittrade.services.node_import.run import Report, import_node

__all__ = ["Report", "import_node"]
