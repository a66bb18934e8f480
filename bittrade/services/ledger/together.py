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
from bittrade.messages import Insert, Query, Transaction, Update
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
    returning=("user_id", "seq", "id"),
)
_LEGS = Insert(
    LedgerLeg.__table__,
    ("transaction_id", "user_id", "account", "asset", "amount"),
)
_BALANCE = Update(Balance.__table__, "user_id")


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


def insert_together(transaction: Transaction, several: Sequence[Prepared], *, now: datetime) -> list[Posted]:
    """Write the transactions, and return what each has become. Those of one user follow one another, each prepared on
    the balance after the one before. `post_together` writes the rest."""
    (rows,) = transaction.send([_TRANSACTIONS.write(transaction, (made.row for made in several))])
    ids: dict[tuple[int, int], int] = {(user_id, seq): number for user_id, seq, number in rows}
    return [Posted(ids[made.user_id, made.after["seq"]], now, made.after) for made in several]


def post_together(
    transaction: Transaction,
    several: Sequence[Prepared],
    posted: Sequence[Posted],
    held: Mapping[int, Held],
) -> Iterator[str]:
    """Return the statements that write the legs and the balances, to be sent with COMMIT."""
    pairs = list(zip(several, posted, strict=True))
    yield _LEGS.write(transaction, (leg for made, one in pairs for leg in made.legs(one.transaction_id)))
    after = dict(held)
    for made, one in pairs:
        after[made.user_id] = _after(after[made.user_id], made, one.transaction_id)
    for user_id in dict.fromkeys(made.user_id for made in several):
        before, now = held[user_id], after[user_id]
        changed: dict[str, Any] = {
            name: value for name, value in now.balance.items() if value != before.balance[name]
        }
        if now.link_seq != before.link_seq:
            changed |= {"chain": now.link, "chain_seq": now.link_seq}
        yield _BALANCE.write(transaction, user_id, changed)


def _after(held: Held, made: Prepared, transaction_id: int) -> Held:
    """The chain goes on in the statement that writes the balance, if it had come as far as the history had."""
    if held.link_seq != held.balance["seq"]:
        return Held(made.after, held.link, held.link_seq)
    return Held(made.after, chain.link(held.link, made.digest(transaction_id)), made.after["seq"])
