"""The books: the only writer of balances, transactions and legs. It never commits; its caller's unit of work does."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work
from bittrade.domain.ledger import BALANCE_ACCOUNTS, HOUSE_CUSTODY, HOUSE_TRADING, Entry
from bittrade.domain.money import Asset
from bittrade.domain.receipt import Receipt
from bittrade.errors import BitTradeError, InsufficientFunds, InvalidAmount, UserNotFound
from bittrade.models import Balance, LedgerLeg, Transaction

MAX_BALANCE = 2**63 - 1  # what a BIGINT holds
TRADE_TYPES = ("MARKET_BUY", "MARKET_SELL")
BALANCE_COLUMNS = tuple(getattr(Balance, name) for name in BALANCE_ACCOUNTS)


@dataclass(frozen=True, slots=True)
class Posting:
    """What `post` needs to know of a history row, besides the entry."""

    type: str
    btc_amount: int
    inr_amount: int
    execution_price: int | None = None
    receipt: str | None = None
    client_order_id: str | None = None
    reverses_id: int | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """A posted transaction and the balance after it: the seven accounts and `seq`."""

    transaction_id: int
    at: datetime
    balance: dict[str, int]


def lock_balance(session: Session, user_id: int) -> dict[str, int]:
    """The seven accounts and `seq`, locked until the unit of work ends: its first statement. Raises UserNotFound."""
    return _read(session, _balance_of(user_id).with_for_update())


def read_balance(session: Session, user_id: int) -> dict[str, int]:
    """The seven accounts and `seq`, as they are now. Raises UserNotFound."""
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
    below zero; the database's CHECK constraints say the same once more.
    """
    after = apply(held, entry, user_id)
    transaction_id: int = session.execute(
        sa.insert(Transaction.__table__).values(
            user_id=user_id,
            seq=after["seq"],
            type=posting.type,
            status="EXECUTED",
            is_pending=False,
            btc_amount=posting.btc_amount,
            inr_amount=posting.inr_amount,
            execution_price=posting.execution_price,
            receipt=posting.receipt,
            client_order_id=posting.client_order_id,
            reverses_id=posting.reverses_id,
            created_at=now,
            executed_at=now,
        )
    ).inserted_primary_key[0]  # type: ignore[attr-defined]
    session.execute(
        sa.insert(LedgerLeg.__table__),
        [
            {
                "transaction_id": transaction_id,
                "user_id": leg.user_id,
                "account": leg.account,
                "asset": leg.asset.value,
                "amount": leg.amount,
            }
            for leg in entry.legs
        ],
    )
    changed = {name: value for name, value in after.items() if value != held[name]}
    session.execute(sa.update(Balance).where(Balance.user_id == user_id).values(**changed))
    return Posted(transaction_id, now, after)


def apply(held: dict[str, int], entry: Entry, user_id: int) -> dict[str, int]:
    """The balance after an entry. Raises InsufficientFunds where an account would go below zero."""
    after = {**held, "seq": held["seq"] + 1}
    for leg in entry.legs:
        if leg.user_id == user_id:
            after[leg.account] += leg.amount
            if after[leg.account] > MAX_BALANCE:
                raise InvalidAmount("Invalid amount. The balance would become too large")
            if after[leg.account] < 0:
                raise InsufficientFunds(
                    asset=leg.asset.value, required=-leg.amount, available=held[leg.account]
                )
    return after


@dataclass(frozen=True, slots=True)
class Proof:
    """What `verify` found; `faults` is empty when the books are right."""

    transactions: int
    legs: int
    balances: int
    faults: tuple[str, ...]


def verify() -> Proof:
    """Recompute everything from the legs, in one consistent snapshot."""
    with unit_of_work.proving() as session:
        faults = [
            *_unbalanced_assets(session),
            *_unbalanced_transactions(session),
            *_wrong_balances(session),
            *_broken_sequences(session),
            *_amounts_without_legs(session),
            *_unknown_accounts(session),
            *_reversals_of_nothing(session),
            *_wrong_receipts(session),
        ]
        sizes = [
            session.scalar(sa.select(sa.func.count()).select_from(t)) or 0
            for t in (Transaction, LedgerLeg, Balance)
        ]
    return Proof(transactions=sizes[0], legs=sizes[1], balances=sizes[2], faults=tuple(faults))


def _unbalanced_assets(session: Session) -> list[str]:
    rows = session.execute(
        sa.select(LedgerLeg.asset, sa.func.sum(LedgerLeg.amount)).group_by(LedgerLeg.asset)
    )
    return [f"{asset} sums to {total}, not to 0" for asset, total in rows if total != 0]


def _unbalanced_transactions(session: Session) -> list[str]:
    total = sa.func.sum(LedgerLeg.amount)
    rows = session.execute(
        sa.select(LedgerLeg.transaction_id, LedgerLeg.asset, total)
        .group_by(LedgerLeg.transaction_id, LedgerLeg.asset)
        .having(total != 0)
        .limit(100)
    )
    return [f"transaction {number}: {asset} sums to {rest}, not to 0" for number, asset, rest in rows]


def _wrong_balances(session: Session) -> list[str]:
    sums: dict[tuple[int | None, str], int] = {
        (user_id, account): int(total)
        for user_id, account, total in session.execute(
            sa.select(LedgerLeg.user_id, LedgerLeg.account, sa.func.sum(LedgerLeg.amount))
            .where(LedgerLeg.user_id.is_not(None))
            .group_by(LedgerLeg.user_id, LedgerLeg.account)
        )
    }
    faults = []
    for row in session.execute(sa.select(Balance.user_id, *BALANCE_COLUMNS)):
        for account in BALANCE_ACCOUNTS:
            held, proven = getattr(row, account), sums.pop((row.user_id, account), 0)
            if held != proven:
                faults.append(f"user {row.user_id}: {account} is {held}, its legs sum to {proven}")
            if held < 0:
                faults.append(f"user {row.user_id}: {account} is {held}, below 0")
    faults += [f"user {user_id}: {account} has legs but no balance" for user_id, account in sums]
    return faults


def _broken_sequences(session: Session) -> list[str]:
    """Each user's transactions are numbered 1 to `balances.seq` without a gap (they are unique by constraint)."""
    counts = (
        sa.select(
            Transaction.user_id,
            sa.func.count().label("count"),
            sa.func.min(Transaction.seq).label("first"),
            sa.func.max(Transaction.seq).label("last"),
        )
        .group_by(Transaction.user_id)
        .subquery()
    )
    rows = session.execute(
        sa.select(Balance.user_id, Balance.seq, counts.c.count, counts.c.first, counts.c.last).outerjoin(
            counts, counts.c.user_id == Balance.user_id
        )
    )
    return [
        f"user {user_id}: {count or 0} transactions numbered {first} to {last}, the balance says {seq}"
        for user_id, seq, count, first, last in rows
        if (count or 0, last or 0) != (seq, seq) or (count and first != 1)
    ]


def _amounts_without_legs(session: Session) -> list[str]:
    """What a history row says and what its user's legs moved are the same, in the direction that its type names.

    A reversal undoes either direction, so of it only the size is compared; the legs it undoes were compared before.
    """

    def moved(asset: Asset) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((LedgerLeg.asset == asset.value, LedgerLeg.amount))), 0)

    def said(signs: dict[str, int], amount: Any) -> sa.ColumnElement[int]:
        return sa.case(
            *((Transaction.type == kind, sign * amount) for kind, sign in signs.items()), else_=amount
        )

    def is_wrong(moved: Any, said: Any) -> sa.ColumnElement[bool]:
        is_reversal = Transaction.type == "REVERSAL"
        return sa.or_(sa.and_(~is_reversal, moved != said), sa.and_(is_reversal, sa.func.abs(moved) != said))

    rows = session.execute(
        sa.select(Transaction.id)
        .outerjoin(
            LedgerLeg,
            sa.and_(LedgerLeg.transaction_id == Transaction.id, LedgerLeg.user_id == Transaction.user_id),
        )
        .group_by(Transaction.id, Transaction.type, Transaction.inr_amount, Transaction.btc_amount)
        .having(
            sa.or_(
                is_wrong(
                    moved(Asset.INR), said({"MARKET_BUY": -1, "WITHDRAWAL": -1}, Transaction.inr_amount)
                ),
                is_wrong(
                    moved(Asset.BTC), said({"MARKET_SELL": -1, "WITHDRAWAL": -1}, Transaction.btc_amount)
                ),
            )
        )
        .limit(100)
    )
    return [f"transaction {row.id}: its amounts are not what its legs moved" for row in rows]


def _unknown_accounts(session: Session) -> list[str]:
    is_known = sa.or_(
        sa.and_(LedgerLeg.user_id.is_(None), LedgerLeg.account.in_((HOUSE_TRADING, HOUSE_CUSTODY))),
        sa.and_(LedgerLeg.user_id.is_not(None), LedgerLeg.account.in_(BALANCE_ACCOUNTS)),
    )
    rows = session.execute(sa.select(LedgerLeg.id, LedgerLeg.account).where(~is_known).limit(100))
    return [f"leg {row.id}: there is no account {row.account}" for row in rows]


def _reversals_of_nothing(session: Session) -> list[str]:
    is_odd = (Transaction.type == "REVERSAL") != Transaction.reverses_id.is_not(None)
    rows = session.scalars(sa.select(Transaction.id).where(is_odd).limit(100))
    return [
        f"transaction {number}: a reversal names what it undoes, and nothing else does" for number in rows
    ]


def _wrong_receipts(session: Session) -> Iterator[str]:
    """Each trade's figures follow from its receipt, to the satoshi."""
    trades = session.execute(
        sa.select(
            Transaction.id,
            Transaction.type,
            Transaction.inr_amount,
            Transaction.btc_amount,
            Transaction.execution_price,
            Transaction.receipt,
        ).where(Transaction.type.in_(TRADE_TYPES)),
        execution_options={"yield_per": 1000},
    )
    for row in trades:
        if not is_receipt_right(row):
            yield f"transaction {row.id}: its figures do not follow from its receipt"


def is_receipt_right(row: Any) -> bool:
    """Whether a trade's row follows from its receipt."""
    try:
        fill = Receipt.from_json(orjson.loads(row.receipt)).recompute()
    except (BitTradeError, KeyError, TypeError, ValueError):
        return False
    return (fill.kind, fill.inr, fill.satoshis, fill.price_inr) == (
        row.type,
        row.inr_amount,
        row.btc_amount,
        row.execution_price,
    )
