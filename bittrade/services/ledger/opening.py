"""Opening the books of users who are new here, many at once: a past that moves nothing, and what they have and owe.

For the unit of work that makes those users: nobody else knows of their balances yet, so nothing is locked. What is posted,
and the rules for it, are `posting`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade.domain import chain
from bittrade.domain.ledger import BALANCE_ACCOUNTS, Entry
from bittrade.models import Balance, LedgerLeg, Transaction
from bittrade.services.ledger.posting import Posted, Posting, Prepared, prepare

AT_ONCE = 500  # rows in one statement
_GENERATED = {"id", "price_id"}
_NOTHING: dict[str, Any] = {
    column.name: None for column in Transaction.__table__.columns if column.name not in _GENERATED
}
_LINKED = sa.select(Transaction.user_id, Transaction.seq, Transaction.id)


@dataclass(frozen=True, slots=True)
class NewBooks:
    """One user's: past transactions, columns by name, oldest first; then an entry for each type of transaction."""

    user_id: int
    past: Sequence[Mapping[str, Any]]
    entries: Mapping[str, Entry]


def open_books(
    session: Session, several: Sequence[NewBooks], *, now: datetime
) -> dict[tuple[int, str], Posted]:
    """Write the transactions, legs and balances; return what was posted, by user and type. Raises like `post`."""
    opening = {books.user_id: _prepared(books, now) for books in several}
    rows = {books.user_id: _rows(books, opening[books.user_id]) for books in several}
    _insert(session, Transaction.__table__, [row for each in rows.values() for row in each])
    found = session.execute(_LINKED.where(Transaction.user_id.in_(rows)))
    ids = {(user_id, seq): number for user_id, seq, number in found}
    posted: dict[tuple[int, str], Posted] = {}
    legs: list[dict[str, Any]] = []
    balances: list[dict[str, Any]] = []
    for user_id, mine in rows.items():
        balance = {**dict.fromkeys(BALANCE_ACCOUNTS, 0), "seq": len(mine)}
        digests = [_digest(row, ids[user_id, row["seq"]]) for row in mine]
        for made in opening[user_id]:
            number, balance = ids[user_id, made.after["seq"]], made.after
            legs += made.legs(number)
            digests[balance["seq"] - 1] = made.digest(number)
            posted[user_id, made.row["type"]] = Posted(number, now, balance)
        link = chain.NO_LINK
        for digest in digests:
            link = chain.link(link, digest)
        balances.append({"user_id": user_id, **balance, "chain": link, "chain_seq": len(mine)})
    _insert(session, LedgerLeg.__table__, legs)
    _insert(session, Balance.__table__, balances)
    return posted


def _prepared(books: NewBooks, now: datetime) -> list[Prepared]:
    held = {**dict.fromkeys(BALANCE_ACCOUNTS, 0), "seq": len(books.past)}
    several = []
    for kind, entry in books.entries.items():
        made = prepare(books.user_id, held=held, entry=entry, posting=Posting(type=kind), now=now)
        several.append(made)
        held = made.after
    return several


def _rows(books: NewBooks, opening: Sequence[Prepared]) -> list[dict[str, Any]]:
    past = [
        {**_NOTHING, **row, "user_id": books.user_id, "seq": seq, "is_pending": False}
        for seq, row in enumerate(books.past, start=1)
    ]
    return [*past, *({**_NOTHING, **made.row} for made in opening)]


def _digest(row: Mapping[str, Any], number: int) -> str:
    return chain.digest([chain.text_of({**row, "id": number}[name]) for name in chain.COLUMNS], ())


def _insert(session: Session, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    for piece in _pieces(rows):
        session.execute(sa.insert(table), piece)


def _pieces(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    return (list(rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE))
