"""How the database is reached, and what its errors mean. Knows nothing of tables, requests or Flask."""

from bittrade.database.connections import CANNOT_WRITE, encryption_of, engine_options, guard
from bittrade.database.meaning import Meaning, meaning_of

__all__ = ["CANNOT_WRITE", "Meaning", "encryption_of", "engine_options", "guard", "meaning_of"]
