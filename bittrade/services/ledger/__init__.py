"""The books, by one name for everybody else. Who does what:

`posting` writes them · `proof` proves them, with what `reading` and `ranges` fetch and `evidence` knows from other tables
· `checkpoints` keeps how far they are proven, and how the proof stands · `chains` are the hash chains and their digest.
"""

from bittrade.services.ledger.chains import extend, list_unchained, note_digest, read_digest, write_digest
from bittrade.services.ledger.checkpoints import Standing, find_standing
from bittrade.services.ledger.posting import (
    MAX_BALANCE,
    Posted,
    Posting,
    apply,
    lock_balance,
    lock_balances,
    post,
    read_balance,
)
from bittrade.services.ledger.proof import Proof, is_receipt_right, verify, verify_recent

__all__ = [
    "MAX_BALANCE",
    "Posted",
    "Posting",
    "Proof",
    "Standing",
    "apply",
    "extend",
    "find_standing",
    "is_receipt_right",
    "list_unchained",
    "lock_balance",
    "lock_balances",
    "note_digest",
    "post",
    "read_balance",
    "read_digest",
    "verify",
    "verify_recent",
    "write_digest",
]
