"""How the database is reached, and what its errors mean. Knows nothing of ours, requests or Flask."""

from bittrade.database.connections import (
    CANNOT_WRITE,
    IS_FIT,
    dispose_with,
    encryption_of,
    engine_options,
    guard,
    is_garbled,
    says_fit,
)
from bittrade.database.meaning import Meaning, meaning_of
from bittrade.database.schema import MEND, find_schema_fault

__all__ = [
    "CANNOT_WRITE",
    "IS_FIT",
    "MEND",
    "Meaning",
    "dispose_with",
    "encryption_of",
    "engine_options",
    "find_schema_fault",
    "guard",
    "is_garbled",
    "meaning_of",
    "says_fit",
]
