"""What other rows must say about the books' rows: recorded prices, the audit log, what a reversal undoes, both halves of
a transfer."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade.domain.plain_trades import PlainTrade, RecordedPrice, named_price
from bittrade.domain.proof import Row
from bittrade.domain.transaction_types import REVERSAL, TRANSFER_IN, TRANSFER_OUT, TRANSFERS, TYPES
from bittrade.models import AuditEvent, BitcoinData, Transaction
from bittrade.services.ledger.ranges import Range
from bittrade.services.ledger.reading import parse_rows, read

AT_ONCE = 500
MAX_CONFIRMED = 100_000  # prices that are remembered as rightly named
# An audit row is written in the same unit of work as what it is about, after it.
AUDIT_WITHIN = timedelta(seconds=30)
_HALF = (
    Transaction.user_id,
    Transaction.counterparty_id,
    Transaction.inr_amount,
    Transaction.btc_amount,
)
AUDITED = {kind.audited_as for kind in TYPES.values() if kind.audited_as}
Claim = tuple[str | None, int, str, int]
Mark = tuple[int, str]  # an audit row, and which part of it


class Evidence:
    """Gathers the rows of one range, then asks the other tables about all of them at once."""

    def __init__(self, session: Session, *, prices_kept_since: datetime) -> None:
        self._session = session
        self._kept_since = prices_kept_since.strftime("%Y-%m-%d %H:%M:%S.%f")
        self.price_ids: set[int] = set()
        self._used: set[Mark] = set()
        self._confirmed: set[RecordedPrice] = set()
        self._clear()

    def _clear(self) -> None:
        self._prices: dict[tuple[RecordedPrice, bool], int] = {}
        self._unpriced: list[int] = []
        self._reversals: list[Row] = []
        self._audited: list[Row] = []
        self._transfers: list[Row] = []

    def take(self, row: Row) -> None:
        """Note what has to be asked about a row; of what happened elsewhere no table here knows."""
        if row.imported_id is not None:
            return
        if row.receipt is not None:
            self._take_receipt(row)
        if row.reverses_id is not None:
            self._reversals.append(row)
        if row.type in TRANSFERS:
            self._transfers.append(row)
        if row.type in TYPES and TYPES[row.type].audited_as:
            self._audited.append(row)

    def _take_receipt(self, row: Row) -> None:
        price = named_price(row.receipt)
        if price is None:
            self._unpriced.append(row.id)
        else:
            self.take_price(price, row)

    def take_price(self, price: RecordedPrice, row: Row | PlainTrade) -> None:
        """Note which price a row's receipt names, and what it says of it."""
        if price not in self._confirmed:
            self._prices.setdefault((price, row.created_at >= self._kept_since), row.id)

    def faults(self) -> list[str]:
        """Return what the other tables contradict in the rows taken since the last call."""
        found = [
            *self._price_faults(),
            *self._reversal_faults(),
            *self._audit_faults(),
            *self._transfer_faults(),
        ]
        self._clear()
        return found

    def _price_faults(self) -> Iterator[str]:
        for number in self._unpriced:
            yield f"transaction {number}: its receipt names no price"
        known: dict[int, tuple[int, str, datetime]] = {}
        for ids in _batches(sorted({price.price_id for price, _ in self._prices})):
            rows = self._session.execute(
                sa.select(
                    BitcoinData.id, BitcoinData.btc_usd_cents, BitcoinData.source, BitcoinData.as_of
                ).where(BitcoinData.id.in_(ids))
            )
            known |= {row.id: (row.btc_usd_cents, row.source, row.as_of) for row in rows}
        self.price_ids |= set(known)
        if len(self._confirmed) > MAX_CONFIRMED:
            self._confirmed.clear()
        for (price, is_kept), number in self._prices.items():
            price_id, cents, source, as_of = price
            if price_id not in known:
                if is_kept:
                    yield f"transaction {number}: price {price_id} of its receipt was never recorded, or is gone"
            elif known[price_id] != (cents, source, _instant(as_of)):
                yield f"transaction {number}: its receipt is not what was recorded as price {price_id}"
            else:
                self._confirmed.add(price)

    def _reversal_faults(self) -> Iterator[str]:
        """A reversal negates exactly what it names, of the same user (and once: the database's index says so)."""
        undone: dict[int, Row] = {}
        for ids in _batches(sorted({row.reverses_id for row in self._reversals if row.reverses_id})):
            texts = read(self._session, Range(Transaction.id.in_(ids)))
            undone |= {row.id: row for row in parse_rows(texts) if isinstance(row, Row)}
        for row in self._reversals:
            original = undone.get(row.reverses_id or 0)
            if original is None or original.type == REVERSAL or original.user_id != row.user_id:
                yield f"transaction {row.id}: it reverses {row.reverses_id}, which can't be reversed by it"
            elif sorted(_negated(original)) != sorted(map(_sortable, row.legs)):
                yield f"transaction {row.id}: it is not the opposite of {original.id}"

    def _audit_faults(self) -> Iterator[str]:
        """Each deposit, withdrawal and reversal was written to the audit log; one row there vouches for one movement."""
        written = self._read_audit()
        for row in self._audited:
            at = _moment(row.created_at)
            for claim in _claims(row):
                mine = (mark for when, mark in written[claim] if abs(when - at) <= AUDIT_WITHIN)
                vouching = next((mark for mark in mine if mark not in self._used), None)
                if vouching is None:
                    yield f"transaction {row.id}: the audit log does not know this {row.type}"
                elif row.type != REVERSAL:  # a reversal of both currencies may have become two rows
                    self._used.add(vouching)

    def _transfer_faults(self) -> Iterator[str]:
        """What was sent came exactly once: as much, of one user, to the other."""
        halves = self._read_halves()
        for row in self._transfers:
            other = halves.get((row.type, row.transfer_id if row.type == TRANSFER_IN else row.id))
            if other is None:
                yield f"transaction {row.id}: the other half of this {row.type} is missing"
            elif _half(other) != (row.counterparty_id, row.user_id, row.inr_amount, row.btc_amount):
                yield f"transaction {row.id}: {other.id} is not the other half of this {row.type}"

    def _read_halves(self) -> dict[tuple[str, int | None], Any]:
        """Return the other halves, by the type of ours and the number of what was sent."""
        found: dict[tuple[str, int | None], Any] = {}
        columns = (Transaction.id, Transaction.transfer_id, *_HALF)
        sent_ids = sorted(row.transfer_id or 0 for row in self._transfers if row.type == TRANSFER_IN)
        for ids in _batches(sent_ids):
            is_sent = (Transaction.id.in_(ids), Transaction.type == TRANSFER_OUT)
            found |= {
                (TRANSFER_IN, other.id): other
                for other in self._session.execute(sa.select(*columns).where(*is_sent))
            }
        own_ids = sorted(row.id for row in self._transfers if row.type == TRANSFER_OUT)
        for ids in _batches(own_ids):
            has_come = (Transaction.transfer_id.in_(ids), Transaction.type == TRANSFER_IN)
            found |= {
                (TRANSFER_OUT, other.transfer_id): other
                for other in self._session.execute(sa.select(*columns).where(*has_come))
            }
        return found

    def _read_audit(self) -> dict[Claim, list[tuple[datetime, Mark]]]:
        written: dict[Claim, list[tuple[datetime, Mark]]] = defaultdict(list)
        times = [_moment(row.created_at) for row in self._audited]
        for user_ids in _batches(sorted({row.user_id for row in self._audited})):
            rows = self._session.execute(
                sa.select(
                    AuditEvent.id, AuditEvent.at, AuditEvent.action, AuditEvent.user_id, AuditEvent.facts
                ).where(
                    AuditEvent.user_id.in_(user_ids),
                    AuditEvent.at.between(min(times) - AUDIT_WITHIN, max(times) + AUDIT_WITHIN),
                    AuditEvent.action.in_(AUDITED),
                )
            )
            for row in rows:
                for claim in _vouched(row.action, row.user_id, orjson.loads(row.facts)):
                    written[claim].append((row.at, (row.id, claim[2])))
        return written


def _half(row: Any) -> tuple[int, int | None, int, int]:
    return (row.user_id, row.counterparty_id, row.inr_amount, row.btc_amount)


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _claims(row: Row) -> Iterator[Claim]:
    """What the audit log has to say of a row: its action, whose it is, and how much of what."""
    action = TYPES[row.type].audited_as
    if row.type == REVERSAL:
        yield (action, row.user_id, REVERSAL, 0)
        return
    for asset, amount in (("INR", row.inr_amount), ("BTC", row.btc_amount)):
        if amount:
            yield (action, row.user_id, asset, amount)


def _vouched(action: str, user_id: int, facts: dict[str, Any]) -> Iterator[Claim]:
    if action == TYPES[REVERSAL].audited_as:
        yield (action, user_id, REVERSAL, 0)
    for asset, name in (("INR", "inr"), ("BTC", "satoshis")):
        if facts.get(name):
            yield (action, user_id, asset, facts[name])


def _negated(row: Row) -> list[tuple[Any, ...]]:
    return [_sortable(leg._replace(amount=-leg.amount)) for leg in row.legs]


def _sortable(leg: Any) -> tuple[Any, ...]:
    return (leg.account, leg.asset, leg.amount, leg.user_id or 0)


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))
