"""The books, by one name for everybody else: `posting` writes them, `proof` proves them."""

from bittrade.services.ledger.posting import (
    MAX_BALANCE,
    Posted,
    Posting,
    apply,
    lock_balance,
    post,
    read_balance,
)
from bittrade.services.ledger.proof import Proof, is_receipt_right, verify

__all__ = [
    "MAX_BALANCE",
    "Posted",
    "Posting",
    "Proof",
    "apply",
    "is_receipt_right",
    "lock_balance",
    "post",
    "read_balance",
    "verify",
]
