"""A user's account statement: each leg of their entries, with the account's balance after it.

The order is that of the user's transactions (`seq`), and within one that of its legs. A balance is worked out from where
the page begins: nothing, the balance of now, or what the page before came to (docs/adr/0042). So every page costs the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import replica, wire
from bittrade.domain import spreadsheet
from bittrade.domain.ledger import BALANCE_ACCOUNTS
from bittrade.models import LedgerLeg, Transaction
from bittrade.services import history, ledger

DEFAULT_LIMIT, MAX_LIMIT = 100, 500
PIECE = 1000  # legs of an export that are read at a time
COLUMNS = ("id", "time", "type", "asset", "account", "amount", "balance", "transaction_id")


@dataclass(frozen=True, slots=True)
class Place:
    """Between two legs: the last one that was read, and what the seven accounts hold there."""

    seq: int
    leg_id: int
    balances: dict[str, int]


@dataclass(frozen=True, slots=True)
class Page:
    """Legs in reading order, and where they end."""

    rows: list[dict[str, Any]]
    end: Place
    has_more: bool


BEGINNING = Place(0, 0, dict.fromkeys(BALANCE_ACCOUNTS, 0))


def read_page(user_id: int, seq: int, *, limit: int, is_ascending: bool, after: Place | None = None) -> Page:
    """Return the legs that follow a place, no older than `seq`; without one from the oldest on, or from the newest backwards."""

    def read(session: Session) -> tuple[Place, Sequence["_Leg"]]:
        place = after or (BEGINNING if is_ascending else _now(session, user_id))
        return place, _read_legs(session, user_id, place, is_ascending=is_ascending, limit=limit + 1)

    place, legs = replica.read_own(user_id, seq, read)
    shown = legs[:limit]
    walked = list(_walk(shown, place, is_ascending=is_ascending))
    end = walked[-1][1] if walked else place
    return Page([row for row, _ in walked], end, has_more=len(legs) > limit)


def export(user_id: int, seq: int) -> Iterator[str]:
    """Return the whole statement as pieces of CSV, oldest first; no connection is held while a client reads slowly."""
    yield spreadsheet.lines([COLUMNS])
    place, count, has_more = BEGINNING, 0, True
    while has_more:
        page = read_page(user_id, seq, limit=PIECE, is_ascending=True, after=place)
        place, has_more = page.end, page.has_more
        count += len(page.rows)
        yield spreadsheet.lines(_cells(row) for row in page.rows)
    yield spreadsheet.end(count, "entries")


def _now(session: Session, user_id: int) -> Place:
    """Return the place after the newest leg."""
    held = ledger.read_balance(session, user_id)
    return Place(held["seq"], ledger.MAX_BALANCE, {account: held[account] for account in BALANCE_ACCOUNTS})


def _read_legs(
    session: Session, user_id: int, place: Place, *, is_ascending: bool, limit: int
) -> Sequence["_Leg"]:
    """Return up to `limit` legs that follow a place.

    Each transaction has a leg of its user, but for those that were imported. Of the one at the place all legs may have
    been read.
    """
    seq = Transaction.seq
    query = sa.select(Transaction.id, seq, Transaction.type, Transaction.created_at).where(
        Transaction.user_id == user_id,
        Transaction.imported_id.is_(None),
        seq >= place.seq if is_ascending else seq <= place.seq,
    )
    query = history.along(query.order_by(seq if is_ascending else seq.desc()), history.BY_SEQ)
    transactions = {row.id: row for row in session.execute(query.limit(limit + 1))}
    mine = sa.select(
        LedgerLeg.id, LedgerLeg.transaction_id, LedgerLeg.asset, LedgerLeg.account, LedgerLeg.amount
    ).where(LedgerLeg.transaction_id.in_(transactions), LedgerLeg.user_id == user_id)
    legs = [_Leg(transactions[leg.transaction_id], leg) for leg in session.execute(mine)]
    legs.sort(key=lambda leg: leg.position, reverse=not is_ascending)
    here = (place.seq, place.leg_id)
    return [leg for leg in legs if (leg.position > here if is_ascending else leg.position < here)][:limit]


@dataclass(frozen=True, slots=True)
class _Leg:
    transaction: Any
    leg: Any

    @property
    def position(self) -> tuple[int, int]:
        return self.transaction.seq, self.leg.id


def _walk(
    legs: Iterable[_Leg], place: Place, *, is_ascending: bool
) -> Iterator[tuple[dict[str, Any], Place]]:
    """Return each leg's row, and the place behind it."""
    balances = dict(place.balances)
    for each in legs:
        leg, before = each.leg, balances[each.leg.account]
        balances[leg.account] = before + leg.amount if is_ascending else before - leg.amount
        row = _row(each, balance=balances[leg.account] if is_ascending else before)
        yield row, Place(each.transaction.seq, leg.id, dict(balances))


def _row(each: _Leg, *, balance: int) -> dict[str, Any]:
    return {
        "id": each.leg.id,
        "time": wire.timestamp(each.transaction.created_at),
        "type": each.transaction.type,
        "asset": each.leg.asset,
        "account": each.leg.account,
        "amount": each.leg.amount,
        "balance": balance,
        "transaction_id": each.transaction.id,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a row's cells in the order of COLUMNS."""
    return tuple(
        spreadsheet.number(row[name]) if isinstance(row[name], int) else row[name] for name in COLUMNS
    )
