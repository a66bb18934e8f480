"""The hash chain over each user's transactions, in the order of their `seq`.

Every link is the SHA-256 of the link before it and of the transaction's digest, so a transaction that is changed, moved
or removed changes every later link. The database keeps the newest link of each user; whoever has written it down
elsewhere (`ledger digest`) can tell that the past was rewritten, also by someone who recomputed the chain.

A transaction's digest is made of the text of its columns, the same whether it was posted just now or read back. A column
that is added later goes to the end of `OPTIONAL`: it counts only where it has a value, so older digests stay.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from bittrade.domain.ledger import Leg

NO_LINK = ""  # before a user's first transaction
SEPARATOR = "\x1f"  # between columns; no column of ours holds it
LEG_SEPARATOR = "\x1e"
HOUSE = ""  # whose leg it is, where it is no user's
REQUIRED = ("id", "user_id", "seq", "type", "status", "btc_amount", "inr_amount", "created_at")
OPTIONAL = (
    *("executed_at", "execution_price", "reverses_id", "client_order_id", "receipt", "order_id"),
    *("imported_id", "imported_type"),
    *("transfer_id", "counterparty_id", "counterparty_name", "loan_id"),
)
COLUMNS = REQUIRED + OPTIONAL
_REQUIRED, _PREFIXES = len(REQUIRED), tuple(f"{name}=" for name in OPTIONAL)


def text_of(value: object) -> str:
    """Return a column's value as the databases write it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return "" if value is None else str(value)


def text_of_leg(leg: Leg) -> str:
    """Return a leg as the text that is hashed."""
    owner = HOUSE if leg.user_id is None else str(leg.user_id)
    return SEPARATOR.join((owner, leg.account, leg.asset, str(leg.amount)))


def digest(columns: Sequence[str], legs: Iterable[str]) -> str:
    """Return the digest of a transaction: `columns` in the order of COLUMNS, `legs` in any order."""
    parts = [*columns[:_REQUIRED]]
    for name, value in zip(_PREFIXES, columns[_REQUIRED:], strict=True):
        if value:
            parts.append(name + value)
    return digest_of_text(SEPARATOR.join(parts), sorted(legs))


def digest_of_text(columns: str, legs: Iterable[str]) -> str:
    """Return the digest of what is hashed of the columns, and of the legs in their order as texts."""
    return hashlib.sha256(LEG_SEPARATOR.join((columns, *legs)).encode()).hexdigest()


def link(before: str, transaction_digest: str) -> str:
    """Return the link that follows `before`."""
    return hashlib.sha256((before + transaction_digest).encode()).hexdigest()
