"""The books, by one name for everybody else. Who does what:

`posting` writes them, `together` for several users at once, `opening` for new ones · `proof` proves them, with what `reading`
and `ranges` fetch and `evidence` knows from other tables · `checkpoints` keeps how far they are proven, and how the proof
stands · `chains` are the hash chains and their digest.
"""

from bittrade.services.ledger.chains import extend, list_unchained, note_digest, read_digest, write_digest
from bittrade.services.ledger.checkpoints import Standing, find_standing, list_proofs
from bittrade.services.ledger.opening import NewBooks, open_books
from bittrade.services.ledger.posting import (
    MAX_BALANCE,
    Posted,
    Posting,
    Prepared,
    apply,
    lock_balance,
    lock_balances,
    post,
    prepare,
    read_balance,
)
from bittrade.services.ledger.proof import Proof, is_receipt_right, verify, verify_recent
from bittrade.services.ledger.together import Held, insert_together, locks, post_together, read_locks

__all__ = [
    "MAX_BALANCE",
    "Held",
    "NewBooks",
    "Posted",
    "Posting",
    "Prepared",
    "Proof",
    "Standing",
    "apply",
    "extend",
    "find_standing",
    "insert_together",
    "is_receipt_right",
    "list_proofs",
    "list_unchained",
    "lock_balance",
    "lock_balances",
    "locks",
    "note_digest",
    "open_books",
    "post",
    "post_together",
    "prepare",
    "read_balance",
    "read_digest",
    "read_locks",
    "verify",
    "verify_recent",
    "write_digest",
]
