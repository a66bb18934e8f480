"""The rules of the proof: what must hold of each transaction by itself, and of a user's transactions together.

Pure. Rows may come in any order; what is wrong comes out, a line a fault.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bittrade.domain import chain
from bittrade.domain.ledger import AVAILABLE, BALANCE_ACCOUNTS, HOUSE_ACCOUNTS, Leg, amount_of
from bittrade.domain.money import Asset
from bittrade.domain.plain_trades import PlainTrade
from bittrade.domain.receipt import recompute
from bittrade.domain.trading import Action
from bittrade.domain.transaction_types import (
    FALLS,
    OF_A_LOAN,
    REVERSAL,
    RISES,
    STAYS,
    TRANSFER_IN,
    TRANSFERS,
    TYPES,
)
from bittrade.errors import BitTradeError

AVAILABLE_ACCOUNTS = frozenset(AVAILABLE.values())


class Row(NamedTuple):
    """A transaction as it was read, with its legs."""

    id: int
    user_id: int
    seq: int
    type: str
    status: str
    btc_amount: int
    inr_amount: int
    created_at: str
    executed_at: str
    execution_price: int | None
    reverses_id: int | None
    receipt: Any
    imported_id: int | None
    legs: tuple[Leg, ...]
    digest: str
    transfer_id: int | None = None
    counterparty_id: int | None = None
    loan_id: int | None = None


def faults_of(row: Row) -> list[str]:
    """Say what is wrong with one transaction."""
    if row.imported_id is not None:
        is_still = not (row.legs or row.receipt is not None or row.reverses_id is not None)
        return [] if is_still else [f"transaction {row.id}: it was imported, and yet it moves something"]
    legs = () if _are_legs_plain(row) else _faults_of_legs(row)
    return [f"transaction {row.id}: {fault}" for fault in (*legs, *_faults_of_columns(row))]


def _are_legs_plain(row: Row) -> bool:
    """Return whether `_faults_of_legs` has nothing to say, for most rows: a proof judges millions.

    What is not simple (a reserve, a reversal, anything wrong) is left to the rules themselves.
    """
    kind = TYPES.get(row.type)
    if kind is None or kind.accounts is None:
        return False
    inr = btc = owned_inr = owned_btc = 0
    for account, asset, amount, user_id in row.legs:
        if asset is Asset.INR:
            inr += amount
        else:
            btc += amount
        if user_id is None:
            if account not in kind.house:
                return False
        elif (
            user_id != row.user_id
            or account not in AVAILABLE_ACCOUNTS
            or account not in kind.accounts
            or kind.accounts[account] * amount < 0
            or BALANCE_ACCOUNTS[account] is not asset
        ):
            return False
        elif asset is Asset.INR:
            owned_inr += amount
        else:
            owned_btc += amount
    return (
        inr == btc == 0
        and owned_inr == kind.inr * row.inr_amount
        and owned_btc == kind.btc * row.btc_amount
        and (kind.inr != STAYS or row.inr_amount == 0)
        and (kind.btc != STAYS or row.btc_amount == 0)
    )


def _faults_of_legs(row: Row) -> Iterator[str]:
    inr = btc = 0
    for leg in row.legs:
        if leg.asset is Asset.INR:
            inr += leg.amount
        else:
            btc += leg.amount
        if leg.user_id is None:
            if leg.account not in HOUSE_ACCOUNTS:
                yield f"there is no account {leg.account} of the house"
        elif BALANCE_ACCOUNTS.get(leg.account) is not leg.asset:
            yield f"there is no account {leg.account} for {leg.asset}"
    for asset, rest in (("INR", inr), ("BTC", btc)):
        if rest:
            yield f"{asset} sums to {rest}, not to 0"
    if row.type in TYPES:
        for fault in TYPES[row.type].faults(row.legs, row.user_id):
            yield f"its legs moved what they may not: {fault}"
    else:
        yield f"there is no type {row.type}"
    said = (row.inr_amount, row.btc_amount)
    moved = tuple(amount_of(row.legs, row.user_id, asset) for asset in (Asset.INR, Asset.BTC))
    if said != moved:
        yield f"its row says ₹{said[0]} and {said[1]} satoshis, its legs moved {moved[0]} and {moved[1]}"


def _faults_of_columns(row: Row) -> Iterator[str]:
    if row.status != "EXECUTED" or row.executed_at != row.created_at:
        yield f"it was posted at {row.created_at}, and is {row.status} since {row.executed_at or 'never'}"
    if (row.type == REVERSAL) != (row.reverses_id is not None):
        yield "a reversal names what it undoes, and nothing else does"
    if (row.type in TRANSFERS) != (row.counterparty_id is not None):
        yield "a transfer names the other user, and nothing else does"
    if (row.type == TRANSFER_IN) != (row.transfer_id is not None):
        yield "what came names what was sent, and nothing else does"
    if (row.type in OF_A_LOAN) != (row.loan_id is not None):
        yield "what is done to a loan names it, and nothing else does"
    has_receipt = row.type in TYPES and TYPES[row.type].has_receipt
    if has_receipt != (row.receipt is not None):
        yield "a trade has a receipt, and nothing else has"
    elif has_receipt and not is_receipt_right(row, row.receipt):
        yield "its figures do not follow from its receipt"


def is_receipt_right(row: Any, receipt: Any) -> bool:
    """Return whether a trade's type and figures follow from its receipt, as it was parsed from JSON."""
    try:
        fill = recompute(receipt)
    except (BitTradeError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return False
    sign = RISES if fill.action is Action.BUY else FALLS
    return TYPES[row.type].btc == sign and (fill.inr, fill.satoshis, fill.price_inr) == (
        row.inr_amount,
        row.btc_amount,
        row.execution_price,
    )


class _Waiting(NamedTuple):
    """A row whose turn in the chain has not come."""

    id: int
    created_at: str
    digest: str


@dataclass(slots=True)
class UserBooks:
    """What a user's transactions come to, folded in the order of their `seq` from a checkpoint or from nothing."""

    user_id: int
    seq: int = 0
    transaction_id: int = 0
    link: str = chain.NO_LINK
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BALANCE_ACCOUNTS, 0))
    # Who says which link stands at a `seq`: the balance, a checkpoint, a digest that was kept elsewhere.
    marks: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _waiting: dict[int, _Waiting] = field(default_factory=dict)
    _created_at: str = ""

    def expect(self, seq: int, link: str, source: str) -> None:
        """Compare the chain at `seq` with what `source` says of it."""
        if seq > self.seq:
            self.marks.setdefault(seq, []).append((source, link))

    def add(self, row: Row | PlainTrade) -> None:
        """Take in a transaction of this user."""
        if row.seq == self.seq + 1:
            self._follow(row)
        else:
            self._waiting[row.seq] = _Waiting(row.id, row.created_at, row.digest)
        while self._waiting and (following := self._waiting.pop(self.seq + 1, None)) is not None:
            self._follow(following)

    def _follow(self, row: Row | PlainTrade | _Waiting) -> None:
        self.seq += 1
        self.link = chain.link(self.link, row.digest)
        # What was posted in one unit of work has one time. Of such a group only the first must have a later id: when
        # deposits of both currencies became two rows, the second half got a new id.
        if row.created_at != self._created_at:
            if row.id <= self.transaction_id:
                self.faults.append(f"transaction {row.id}: it stands after {self.transaction_id}")
            self.transaction_id = row.id
        self._created_at = row.created_at
        for source, link in self.marks.pop(self.seq, ()):
            if link != self.link:
                self.faults.append(
                    f"user {self.user_id}: transactions 1 to {self.seq} are not what {source} says:"
                    " one of them was changed, moved or removed"
                )

    def close(self, balance: Mapping[str, int] | None) -> Iterator[str]:
        """Say what is wrong with the user's books as a whole. `balance` holds `seq` and the seven accounts."""
        yield from self.faults
        if balance is None:
            yield f"user {self.user_id}: there are transactions or legs, but no balance"
            return
        if self._waiting or self.seq != balance["seq"]:
            rest = f" and {len(self._waiting)} beyond a gap" if self._waiting else ""
            yield (
                f"user {self.user_id}: the transactions are numbered 1 to {self.seq}{rest},"
                f" the balance says {balance['seq']}"
            )
        for account, proven in self.totals.items():
            held = balance.get(account, 0)
            if held != proven:
                yield f"user {self.user_id}: {account} is {held}, its legs sum to {proven}"
            if held < 0:
                yield f"user {self.user_id}: {account} is {held}, below 0"
        for seq, marks in self.marks.items():
            for source, _ in marks:
                yield f"user {self.user_id}: {source} knows transaction number {seq}, which is not there"
