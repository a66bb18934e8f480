"""What proofs leave behind: that each began and ended, how far each user's books are proven, which prices are named."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.ledger import BALANCE_ACCOUNTS
from bittrade.domain.proof import UserBooks
from bittrade.models import LedgerCheckpoint, LedgerProof, TradedPrice

AT_ONCE = 500
# A proof that has not ended after so long was killed, or will be.
RECENT_S, WHOLE_S = 300, 1800
MISSED_RUNS = 3  # so many intervals without a proof that ended are an alarm


@dataclass(frozen=True, slots=True)
class Standing:
    """How the proof of the books stands: `state` is none, right, wrong, late or unfinished."""

    state: str
    age_ms: int | None  # of the last proof that ended

    @property
    def is_alarm(self) -> bool:
        return self.state in ("wrong", "late", "unfinished")

    def __str__(self) -> str:
        last = "none has ended" if self.age_ms is None else f"the last ended {self.age_ms // 1000} s ago"
        return f"the proof of the books is {self.state}; {last}"


def find_standing() -> Standing:
    """Return how the proof stands, and how old the last one that ended is."""
    with unit_of_work.reading() as session:
        newest = session.execute(_proofs().limit(1)).first()
        ended = session.execute(_proofs().where(LedgerProof.ended_at.is_not(None)).limit(1)).first()
    now = wire.now()
    age = None if ended is None else now - ended.ended_at
    return Standing(_state(newest, ended, now), None if age is None else age // timedelta(milliseconds=1))


def list_proofs(*, limit: int) -> list[dict[str, Any]]:
    """Return the newest proofs, newest first: when each ran, over how much, and with what."""
    with unit_of_work.reading() as session:
        rows = session.scalars(sa.select(LedgerProof).order_by(LedgerProof.id.desc()).limit(limit))
        return [
            {
                "id": row.id,
                "kind": row.kind,
                "began_at": wire.timestamp(row.began_at),
                "ended_at": None if row.ended_at is None else wire.timestamp(row.ended_at),
                "transactions": row.transactions,
                "faults": row.faults,
                "first_fault": row.first_fault,
            }
            for row in rows
        ]


def _proofs() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(
        LedgerProof.kind, LedgerProof.began_at, LedgerProof.ended_at, LedgerProof.faults
    ).order_by(LedgerProof.id.desc())


def _state(newest: Any, ended: Any, now: datetime) -> str:
    if newest is None:
        return "none"
    if ended is not None and ended.faults:
        return "wrong"
    limit_s = WHOLE_S if newest.kind == "whole" else RECENT_S
    if newest.ended_at is None and now - newest.began_at > timedelta(seconds=limit_s):
        return "unfinished"
    may_be_s = MISSED_RUNS * current_app.config["LEDGER_VERIFY_INTERVAL_S"]
    if ended is not None and now - ended.ended_at > timedelta(seconds=may_be_s):
        return "late"
    return "none" if ended is None else "right"


def begin(kind: str) -> int:
    """Write down that a proof begins; its number."""

    def work(session: Session) -> int:
        row = sa.insert(LedgerProof.__table__).values(kind=kind, began_at=wire.now())
        number: int = session.execute(row).inserted_primary_key[0]  # type: ignore[attr-defined]
        return number

    return unit_of_work.commit(work)


def end(number: int, transactions: int, faults: Sequence[str], last_leg_id: int) -> None:
    """Write down that a proof ended, and with what."""
    values = {
        "ended_at": wire.now(),
        "transactions": transactions,
        "faults": len(faults),
        "first_fault": faults[0][:255] if faults else None,
        "last_leg_id": None if faults else last_leg_id,
    }
    unit_of_work.commit(
        lambda session: session.execute(
            sa.update(LedgerProof).where(LedgerProof.id == number).values(**values)
        )
    )


def find_last_leg_id(session: Session) -> int | None:
    """Return the newest leg that the last right proof saw."""
    return session.scalar(
        sa.select(LedgerProof.last_leg_id)
        .where(LedgerProof.last_leg_id.is_not(None))
        .order_by(LedgerProof.id.desc())
        .limit(1)
    )


def prices_kept_since(session: Session) -> datetime:
    """Return since when no price that a receipt names is thinned out: proofs note them before they are that old."""
    first = session.scalar(sa.select(sa.func.min(LedgerProof.began_at)))
    return (first or wire.now()) - timedelta(days=current_app.config["PRICE_RAW_DAYS"])


def keep(users: Iterable[UserBooks]) -> None:
    """Keep how far these users' books are proven."""
    for batch in _batches(list(users)):
        rows = [
            {
                "user_id": user.user_id,
                "seq": user.seq,
                "transaction_id": user.transaction_id,
                "link": user.link,
                **user.totals,
            }
            for user in batch
        ]
        _upsert(LedgerCheckpoint.__table__, rows, ("seq", "transaction_id", "link", *BALANCE_ACCOUNTS))


def keep_prices(price_ids: Iterable[int]) -> None:
    """Keep the prices that receipts name from being thinned out."""
    with unit_of_work.reading() as session:
        known = set(session.scalars(sa.select(TradedPrice.price_id)))
    for batch in _batches(sorted(set(price_ids) - known)):
        _upsert(TradedPrice.__table__, [{"price_id": number} for number in batch], ("price_id",))


def _upsert(table: Any, rows: list[dict[str, Any]], columns: Iterable[str]) -> None:
    def work(session: Session) -> None:
        if session.get_bind().dialect.name == "sqlite":
            insert = sqlite.insert(table)
            values = {name: insert.excluded[name] for name in columns}
            session.execute(insert.on_conflict_do_update(set_=values), rows)
        else:
            new = mysql.insert(table)
            session.execute(new.on_duplicate_key_update({name: new.inserted[name] for name in columns}), rows)

    unit_of_work.commit(work)


def _batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))
