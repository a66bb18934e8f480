"""Posting for several users in one database transaction, in messages of several statements (MariaDB).

Nothing here waits for a lock: a user whose row somebody else holds is left out, so nobody waits for another's. What is
posted, and the rules for it, are `posting`'s.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bittrade.domain import chain
from bittrade.messages import Insert, Query, Transaction
from bittrade.models import Balance, LedgerLeg, User
from bittrade.models import Transaction as TransactionRow
from bittrade.services.ledger.posting import BALANCE_COLUMNS, Posted, Prepared

_ACCOUNTS = ("seq", *(column.key for column in BALANCE_COLUMNS))
_USERS: sa.BindParameter[Any] = sa.bindparam("user_ids", expanding=True)
_BALANCES = Query(
    sa.select(Balance.user_id, Balance.chain, Balance.chain_seq, Balance.seq, *BALANCE_COLUMNS)
    .where(Balance.user_id.in_(_USERS))
    .order_by(Balance.user_id)
    .with_for_update(skip_locked=True)
)
# The lock that each INSERT takes by its foreign key, but without waiting: a revocation holds it while it ends tokens.
_PEOPLE = Query(
    sa.select(User.id)
    .where(User.id.in_(_USERS))
    .order_by(User.id)
    .with_for_update(read=True, skip_locked=True)
)
_COLUMNS = TransactionRow.__table__.columns
_TRANSACTIONS = Insert(
    TransactionRow.__table__,
    [column.name for column in _COLUMNS if column.name != "id" and column.computed is None],
    returning=("user_id", "id"),
)
_LEGS = Insert(
    LedgerLeg.__table__,
    ("transaction_id", "user_id", "account", "asset", "amount"),
)


@dataclass(frozen=True, slots=True)
class Held:
    """A locked balance, the seven accounts and `seq`, and where its hash chain stands."""

    balance: dict[str, int]
    link: str
    link_seq: int


def locks(user_ids: Iterable[int]) -> tuple[tuple[Query, dict[str, Any]], ...]:
    """Return what to ask first in a transaction, to lock these users; `read_locks` reads the answers."""
    values = {"user_ids": sorted(user_ids)}
    return (_BALANCES, values), (_PEOPLE, values)


def read_locks(balances: Iterable[Any], people: Iterable[Any]) -> dict[int, Held]:
    """Return who is locked; whoever is not does not exist, or somebody else holds them."""
    known = {person.id for person in people}
    return {
        row.user_id: Held({name: getattr(row, name) for name in _ACCOUNTS}, row.chain, row.chain_seq)
        for row in balances
        if row.user_id in known
    }


def insert_together(
    transaction: Transaction, several: Sequence[Prepared], *, now: datetime
) -> dict[int, Posted]:
    """Write the transactions, one for each user at most; by user. `post_together` writes the rest."""
    (rows,) = transaction.send([_TRANSACTIONS.write(transaction, (made.row for made in several))])
    ids: dict[int, int] = dict(rows)
    return {made.user_id: Posted(ids[made.user_id], now, made.after) for made in several}


def post_together(
    transaction: Transaction,
    several: Sequence[Prepared],
    posted: Mapping[int, Posted],
    held: Mapping[int, Held],
) -> Iterator[str]:
    """Return the statements that write the legs and the balances, to be sent with COMMIT."""
    ids = {user_id: one.transaction_id for user_id, one in posted.items()}
    yield _LEGS.write(transaction, (leg for made in several for leg in made.legs(ids[made.user_id])))
    for made in several:
        yield _update(transaction, made, held[made.user_id], ids[made.user_id])


def _update(transaction: Transaction, made: Prepared, held: Held, transaction_id: int) -> str:
    """The chain goes on in the statement that writes the balance, if it had come as far as the history had."""
    changed: dict[str, Any] = {
        name: value for name, value in made.after.items() if value != held.balance[name]
    }
    if held.link_seq == held.balance["seq"]:
        changed["chain"] = chain.link(held.link, made.digest(transaction_id))
        changed["chain_seq"] = made.after["seq"]
    assignments = ", ".join(f"{name} = {transaction.literal(value)}" for name, value in changed.items())
    return f"UPDATE balances SET {assignments} WHERE user_id = {made.user_id:d}"  # noqa: S608 - columns' names
