"""Posting: the only writer of balances, transactions and legs. It never commits; its caller's unit of work does."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade.domain import chain
from bittrade.domain.ledger import BALANCE_ACCOUNTS, Entry
from bittrade.domain.money import Asset
from bittrade.domain.transaction_types import TYPES
from bittrade.errors import InsufficientFunds, InvalidAmount, UnbalancedEntry, UserNotFound
from bittrade.models import Balance, LedgerLeg, Transaction
from bittrade.services import rights

MAX_BALANCE = 2**63 - 1  # what a BIGINT holds
BALANCE_COLUMNS = tuple(getattr(Balance, name) for name in BALANCE_ACCOUNTS)


@dataclass(frozen=True, slots=True)
class Posting:
    """What a history row says besides its entry; its amounts follow from the entry."""

    type: str
    execution_price: int | None = None
    receipt: str | None = None
    client_order_id: str | None = None
    reverses_id: int | None = None
    order_id: int | None = None  # the limit order that it ends
    transfer_id: int | None = None  # what was sent, where this is what came
    counterparty_id: int | None = None
    counterparty_name: str | None = None
    loan_id: int | None = None  # the loan that it concerns


@dataclass(frozen=True, slots=True)
class Posted:
    """A posted transaction and the balance after it: the seven accounts and `seq`."""

    transaction_id: int
    at: datetime
    balance: dict[str, int]


def lock_balance(session: Session, user_id: int) -> dict[str, int]:
    """Return the seven accounts and `seq`, locked until the unit of work ends: its first statement.

    Raises UserNotFound, or TokenInvalid where the token or key of who asks has ended meanwhile.
    """
    held = _read(session, _balance_of(user_id).with_for_update())
    rights.confirm(session)
    return held


def lock_balances(session: Session, user_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """Return the balances of several users by id, locked in the order of their ids: nobody waits in a circle."""
    query = sa.select(Balance.user_id, Balance.seq, *BALANCE_COLUMNS).where(Balance.user_id.in_(user_ids))
    rows = session.execute(query.order_by(Balance.user_id).with_for_update()).mappings()
    return {row["user_id"]: {name: row[name] for name in row if name != "user_id"} for row in rows}


def read_balance(session: Session, user_id: int) -> dict[str, int]:
    """Return the seven accounts and `seq`, as they are now. Raises UserNotFound."""
    return _read(session, _balance_of(user_id))


def _balance_of(user_id: int) -> sa.Select[Any]:
    return sa.select(Balance.seq, *BALANCE_COLUMNS).where(Balance.user_id == user_id)


def _read(session: Session, query: sa.Select[Any]) -> dict[str, int]:
    row = session.execute(query).first()
    if row is None:
        raise UserNotFound()
    return dict(row._mapping)


def post(
    session: Session, user_id: int, *, held: dict[str, int], entry: Entry, posting: Posting, now: datetime
) -> Posted:
    """Write a transaction, its legs and the new balance.

    `held` is what `lock_balance` returned in this unit of work. Raises InsufficientFunds where an account would go
    below zero (the database's CHECK constraints say the same once more), and UnbalancedEntry where the entry is not one
    of its type.
    """
    made = prepare(user_id, held=held, entry=entry, posting=posting, now=now)
    transaction_id: int = session.execute(
        sa.insert(Transaction.__table__).values(**made.row)
    ).inserted_primary_key[0]  # type: ignore[attr-defined]
    session.execute(sa.insert(LedgerLeg.__table__), list(made.legs(transaction_id)))
    changed: dict[str, Any] = {name: value for name, value in made.after.items() if value != held[name]}
    changed |= _next_link(held["seq"], made.digest(transaction_id))
    session.execute(sa.update(Balance).where(Balance.user_id == user_id).values(**changed))
    return Posted(transaction_id, now, made.after)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A transaction that may be posted: its row, without the id that it will get, and the balance after it."""

    user_id: int
    entry: Entry
    row: dict[str, Any]
    after: dict[str, int]

    def legs(self, transaction_id: int) -> Iterator[dict[str, Any]]:
        """Return the rows of its legs."""
        for leg in self.entry.legs:
            yield {
                "transaction_id": transaction_id,
                "user_id": leg.user_id,
                "account": leg.account,
                "asset": leg.asset.value,
                "amount": leg.amount,
            }

    def digest(self, transaction_id: int) -> str:
        """Return what the hash chain takes of it."""
        row = {"id": transaction_id, **self.row}
        columns = [chain.text_of(row[name]) for name in chain.COLUMNS]
        return chain.digest(columns, map(chain.text_of_leg, self.entry.legs))


def prepare(user_id: int, *, held: dict[str, int], entry: Entry, posting: Posting, now: datetime) -> Prepared:
    """Check a transaction against the balance and its type. Raises like `post`."""
    if faults := list(TYPES[posting.type].faults(entry.legs, user_id)):
        raise UnbalancedEntry(f"{posting.type}: {'; '.join(faults)}")
    after = apply(held, entry, user_id)
    return Prepared(user_id, entry, _row(user_id, after["seq"], entry, posting, now), after)


def _row(user_id: int, seq: int, entry: Entry, posting: Posting, now: datetime) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "seq": seq,
        "type": posting.type,
        "status": "EXECUTED",
        "is_pending": False,
        "btc_amount": entry.amount(user_id, Asset.BTC),
        "inr_amount": entry.amount(user_id, Asset.INR),
        "execution_price": posting.execution_price,
        "receipt": posting.receipt,
        "client_order_id": posting.client_order_id,
        "reverses_id": posting.reverses_id,
        "order_id": posting.order_id,
        "imported_id": None,
        "imported_type": None,
        "transfer_id": posting.transfer_id,
        "counterparty_id": posting.counterparty_id,
        "counterparty_name": posting.counterparty_name,
        "loan_id": posting.loan_id,
        "created_at": now,
        "executed_at": now,
    }


def _next_link(seq: int, digest: str) -> dict[str, Any]:
    """The chain goes on in the statement that writes the balance, if it had come as far as the history had."""
    is_up_to_date = Balance.chain_seq == seq
    before = sa.cast(Balance.chain, sa.String)  # from the column's character set into the connection's
    link = sa.func.sha2(before.concat(digest), 256)
    return {
        "chain": sa.case((is_up_to_date, link), else_=before),
        "chain_seq": sa.case((is_up_to_date, seq + 1), else_=Balance.chain_seq),
    }


def apply(held: dict[str, int], entry: Entry, user_id: int) -> dict[str, int]:
    """Return the balance after an entry. Raises InsufficientFunds where an account would go below zero."""
    after = {**held, "seq": held["seq"] + 1}
    for leg in entry.legs:
        if leg.user_id == user_id:
            after[leg.account] += leg.amount
    for leg in entry.legs:
        if leg.user_id != user_id:
            continue
        if after[leg.account] > MAX_BALANCE:
            raise InvalidAmount("Invalid amount. The balance would become too large")
        if after[leg.account] < 0:
            raise InsufficientFunds(
                asset=leg.asset.value,
                required=held[leg.account] - after[leg.account],
                available=held[leg.account],
            )
    return after
