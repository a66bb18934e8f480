"""The proof: recompute the books from their rows, and say where they disagree with themselves or with other tables.

`verify()` proves everything from the first transaction on; `verify_recent()` what came after the checkpoints of the last
right proof. Both read one consistent snapshot while trading goes on, in ranges, so that each statement is short. What
must hold of rows is in `domain/proof.py`, what other tables must say of them in `evidence.py`.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from bittrade import unit_of_work
from bittrade.domain import proof as rules
from bittrade.domain.ledger import AVAILABLE, BALANCE_ACCOUNTS
from bittrade.domain.money import Asset
from bittrade.domain.plain_trades import PlainTrade
from bittrade.domain.proof import Row, UserBooks
from bittrade.errors import BitTradeError
from bittrade.models import Balance, LedgerCheckpoint, LedgerLeg, Transaction
from bittrade.services.ledger import checkpoints
from bittrade.services.ledger.counterparts import CHECKS
from bittrade.services.ledger.evidence import Evidence
from bittrade.services.ledger.ranges import Range, recent_ranges, whole_ranges
from bittrade.services.ledger.reading import Texts, parse, read

log = logging.getLogger(__name__)
MAX_FAULTS = 1000  # more say nothing new
USERS_AT_ONCE = 5000
_AVAILABLE_INR, _AVAILABLE_BTC = AVAILABLE[Asset.INR], AVAILABLE[Asset.BTC]
Digest = Mapping[int, tuple[int, str]]  # user → `seq` and link, as `ledger digest` wrote them


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found; `faults` is empty when the books are right, as far as they were read."""

    transactions: int
    legs: int
    balances: int
    faults: tuple[str, ...]
    kind: str = "whole"
    is_complete: bool = True
    unchained: int = 0  # users whose chain is behind their history

    @property
    def is_right(self) -> bool:
        return self.is_complete and not self.faults


def verify(*, digest: Digest | None = None, run_s: float = checkpoints.WHOLE_S) -> Proof:
    """Prove everything, also against a digest that was kept elsewhere. Unfinished after `run_s`."""
    return _prove("whole", run_s, digest or {})


def verify_recent(*, run_s: float = checkpoints.RECENT_S) -> Proof:
    """Prove what came after the last right proof, and that nothing before it was added to or taken away."""
    return _prove("recent", run_s, {})


def is_receipt_right(row: Any) -> bool:
    """Return whether a trade's row, as the database has it, follows from its receipt."""
    return rules.is_receipt_right(row, orjson.loads(row.receipt))


def _prove(kind: str, run_s: float, digest: Digest) -> Proof:
    number = _note("begin", lambda: checkpoints.begin(kind))
    with unit_of_work.proving() as session:
        run = _Run(session, kind, deadline=time.monotonic() + run_s)
        run.load(digest)
        run.read()
        if run.is_complete:
            run.close()
    if run.is_complete and not run.faults:
        _note("keep", run.keep)
    found = run.proof()
    if number is not None and run.is_complete:
        _note("end", lambda: checkpoints.end(number, found.transactions, found.faults, run.last_leg_id))
    return found


def _note(what: str, work: Callable[[], Any]) -> Any:
    """Write something down about the proof; where that can't be, the proof itself counts."""
    try:
        return work()
    except (BitTradeError, SQLAlchemyError) as error:
        log.warning("ledger: could not %s the proof's notes: %s", what, type(error).__name__)
        return None


@dataclass
class _Run:
    """One proof on its way."""

    session: Session
    kind: str
    deadline: float
    users: dict[int, UserBooks] = field(default_factory=dict)
    balances: dict[int, dict[str, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    transactions: int = 0
    legs: int = 0
    unchained: int = 0
    is_complete: bool = True
    last_leg_id: int = 0
    _checkpoints: dict[int, Any] = field(default_factory=dict)
    _stood_at: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept_since = checkpoints.prices_kept_since(self.session)
        self.evidence = Evidence(self.session, prices_kept_since=kept_since)
        self.last_leg_id = self.session.scalar(sa.select(sa.func.max(LedgerLeg.id))) or 0

    # --- before: what is claimed

    def load(self, digest: Digest) -> None:
        """Read the balances and checkpoints: where each user's books begin, and what is said of their chains."""
        self._checkpoints = {
            row.user_id: row for row in self._pages(LedgerCheckpoint, LedgerCheckpoint.user_id)
        }
        for row in self._pages(Balance, Balance.user_id):
            balance = dict(row._mapping)
            held = self._checkpoints.get(row.user_id)
            books = self._books_from(row.user_id, held)
            self.balances[row.user_id] = balance
            self.unchained += row.chain_seq < row.seq
            books.expect(row.chain_seq, row.chain, "the balance's chain")
        if self.kind == "whole":
            for user_id, held in self._checkpoints.items():
                self._books(user_id).expect(held.seq, held.link, "the last proof")
            for user_id, (seq, link) in digest.items():
                self._books(user_id).expect(seq, link, "the digest")

    def _books_from(self, user_id: int, held: Any) -> UserBooks:
        if held is None or self.kind == "whole":
            return self._books(user_id)
        totals = {account: getattr(held, account) for account in BALANCE_ACCOUNTS}
        books = UserBooks(user_id, held.seq, held.transaction_id, held.link, totals)
        self.users[user_id] = books
        return books

    def _books(self, user_id: int) -> UserBooks:
        books = self.users.get(user_id)
        if books is None:
            books = self.users[user_id] = UserBooks(user_id)
        return books

    def _pages(self, table: Any, key: Any) -> Iterator[Any]:
        after = -1
        while rows := self.session.execute(
            sa.select(table.__table__).where(key > after).order_by(key).limit(USERS_AT_ONCE)
        ).all():
            yield from rows
            after = rows[-1].user_id

    # --- the rows

    def read(self) -> None:
        """Take in each range. The database reads the next one while this one is judged: one thread asks it all."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="proof") as database:
            following: Future[Texts] | None = None
            for part in itertools.chain(self._ranges(), (None,)):
                current = following
                following = database.submit(read, self.session, part) if part is not None else None
                if current is None:
                    continue
                self._take(current.result())
                for fault in database.submit(self.evidence.faults).result():
                    self._fault(fault)
                if time.monotonic() > self.deadline:
                    self.is_complete = False
                    return

    def _ranges(self) -> Iterable[Range]:
        if self.kind == "whole":
            last = self.session.scalar(sa.select(sa.func.max(Transaction.id))) or 0
            return whole_ranges(last)
        seqs = {user_id: (books.seq, self.balances[user_id]["seq"]) for user_id, books in self.users.items()}
        return recent_ranges(seqs)

    def _take(self, texts: Texts) -> None:
        legs_before = self.legs
        for row in parse(texts):
            if isinstance(row, PlainTrade):
                self._take_trade(row)
            elif isinstance(row, Row):
                self._take_row(row)
            else:
                self._fault(row)
        self.transactions += len(texts.transactions)
        strays = 0 if texts.legs_said is None else texts.legs_said - (self.legs - legs_before)
        if strays:
            self._fault(f"{strays} legs belong to no transaction")

    def _take_trade(self, trade: PlainTrade) -> None:
        own = self._books(trade.user_id)
        own.add(trade)
        own.totals[_AVAILABLE_INR] += trade.inr
        own.totals[_AVAILABLE_BTC] += trade.btc
        self.legs += 4
        self.evidence.take_price(trade.price, trade)

    def _take_row(self, row: Row) -> None:
        for fault in rules.faults_of(row):
            self._fault(fault)
        self.legs += len(row.legs)
        own = self._books(row.user_id)
        own.add(row)
        for account, _, amount, user_id in row.legs:
            if user_id is not None:
                totals = own.totals if user_id == row.user_id else self._books(user_id).totals
                totals[account] = totals.get(account, 0) + amount
        self.evidence.take(row)

    def _fault(self, text: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(text)

    # --- after: does it come to what is claimed

    def close(self) -> None:
        """Compare what was read with the balances."""
        for user_id, books in self.users.items():
            for fault in books.close(self.balances.get(user_id)):
                self._fault(fault)
        for check in CHECKS:
            for fault in check(self.session):
                self._fault(fault)
        if self.kind == "recent":
            for fault in self._late_rows():
                self._fault(fault)

    def _late_rows(self) -> Iterator[str]:
        """What was added since the last proof to what it had seen already, or beyond what a balance knows of."""
        last = checkpoints.find_last_leg_id(self.session)
        if last is None:
            return
        legs = (
            sa.select(LedgerLeg.id, LedgerLeg.transaction_id)
            .outerjoin(Transaction, Transaction.id == LedgerLeg.transaction_id)
            .outerjoin(LedgerCheckpoint, LedgerCheckpoint.user_id == Transaction.user_id)
            .where(LedgerLeg.id > last)
            .where(sa.or_(Transaction.id.is_(None), Transaction.seq <= LedgerCheckpoint.seq))
            .limit(100)
        )
        for row in self.session.execute(legs):
            yield f"transaction {row.transaction_id}: leg {row.id} was added to it later"
        since = self.session.scalar(sa.select(LedgerLeg.transaction_id).where(LedgerLeg.id == last)) or 0
        strays = (
            sa.select(Transaction.id, Transaction.seq, Balance.seq.label("known"))
            .join(Balance, Balance.user_id == Transaction.user_id)
            .where(Transaction.id > since, Transaction.seq > Balance.seq)
            .limit(100)
        )
        for stray in self.session.execute(strays):
            yield f"transaction {stray.id}: it is number {stray.seq}, its user's balance knows of {stray.known}"

    def keep(self) -> None:
        """Keep how far each user's books are proven now, where that is news; and the prices that were named."""
        checkpoints.keep(
            books
            for user_id, books in self.users.items()
            if self._is_news(books, self._checkpoints.get(user_id))
        )
        checkpoints.keep_prices(self.evidence.price_ids)

    @staticmethod
    def _is_news(books: UserBooks, held: Any) -> bool:
        return books.seq > 0 and (held is None or (held.seq, held.link) != (books.seq, books.link))

    def proof(self) -> Proof:
        return Proof(
            transactions=self.transactions,
            legs=self.legs,
            balances=len(self.balances),
            faults=tuple(self.faults),
            kind=self.kind,
            is_complete=self.is_complete,
            unchained=self.unchained,
        )
