"""The proof: recompute everything from the legs, and say where the books disagree with themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work
from bittrade.domain.ledger import BALANCE_ACCOUNTS, HOUSE_ACCOUNTS, OWNED_ACCOUNTS
from bittrade.domain.money import Asset
from bittrade.domain.receipt import Receipt
from bittrade.domain.transaction_types import REVERSAL, TYPES
from bittrade.errors import BitTradeError
from bittrade.models import Balance, LedgerLeg, Transaction
from bittrade.services.ledger.posting import BALANCE_COLUMNS

TRADE_TYPES = tuple(kind.name for kind in TYPES.values() if kind.has_receipt)


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
    """What a history row says and how what its user owns changed are the same, in the direction that its type names.

    A reversal undoes either direction, so of it only the size is compared; the legs it undoes were compared before.
    """

    def moved(asset: Asset) -> sa.ColumnElement[int]:
        is_it = sa.and_(LedgerLeg.asset == asset.value, LedgerLeg.account.in_(OWNED_ACCOUNTS))
        return sa.func.coalesce(sa.func.sum(sa.case((is_it, LedgerLeg.amount))), 0)

    def is_wrong(asset: Asset, amount: Any) -> sa.ColumnElement[bool]:
        signs = {kind.name: kind.inr if asset is Asset.INR else kind.btc for kind in TYPES.values()}
        said = sa.case(*((Transaction.type == name, sign * amount) for name, sign in signs.items()))
        is_reversal = Transaction.type == REVERSAL
        return sa.or_(
            sa.and_(~is_reversal, moved(asset) != said),
            sa.and_(is_reversal, sa.func.abs(moved(asset)) != amount),
        )

    rows = session.execute(
        sa.select(Transaction.id)
        .outerjoin(
            LedgerLeg,
            sa.and_(LedgerLeg.transaction_id == Transaction.id, LedgerLeg.user_id == Transaction.user_id),
        )
        .group_by(Transaction.id, Transaction.type, Transaction.inr_amount, Transaction.btc_amount)
        .having(
            sa.or_(is_wrong(Asset.INR, Transaction.inr_amount), is_wrong(Asset.BTC, Transaction.btc_amount))
        )
        .limit(100)
    )
    return [f"transaction {row.id}: its amounts are not what its legs moved" for row in rows]


def _unknown_accounts(session: Session) -> list[str]:
    is_known = sa.or_(
        sa.and_(LedgerLeg.user_id.is_(None), LedgerLeg.account.in_(HOUSE_ACCOUNTS)),
        sa.and_(LedgerLeg.user_id.is_not(None), LedgerLeg.account.in_(BALANCE_ACCOUNTS)),
    )
    rows = session.execute(sa.select(LedgerLeg.id, LedgerLeg.account).where(~is_known).limit(100))
    return [f"leg {row.id}: there is no account {row.account}" for row in rows]


def _reversals_of_nothing(session: Session) -> list[str]:
    is_odd = (Transaction.type == REVERSAL) != Transaction.reverses_id.is_not(None)
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
