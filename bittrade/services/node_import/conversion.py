"""What the original's rows become here, and what was odd about them. Knows no database.

The balance is taken as it is: a debt in an account that cannot be below zero opens at zero, and is named. What was
reserved is free again, because the orders that it was reserved for do not come along. History is told as it was, and
moves nothing.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bittrade.domain.names import MAX_LENGTH, read_name
from bittrade.domain.transaction_types import (
    HOLDS,
    IMPORTED,
    LOAN_CREATE,
    OF_A_LOAN,
    OPENING,
    REVERSAL,
    TRANSFERS,
    TYPE_NAMES,
)
from bittrade.errors import InvalidInput
from bittrade.services.auth.emails import normalize_email, read_email

MAX_MONEY = 2**62  # half of what a column holds, so that sums of two are fine
UNUSABLE_HASH = "!"  # no password matches it
PLACEHOLDER_DOMAIN = "import.invalid"
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}")
_STATUSES = {"EXECUTED": "EXECUTED", "CANCELLED": "CANCELLED", "EXPIRED": "CANCELLED", "PENDING": "CANCELLED"}
_KINDS = frozenset(TYPE_NAMES) - {REVERSAL, OPENING, IMPORTED, LOAN_CREATE, *HOLDS, *TRANSFERS, *OF_A_LOAN}
_COMES, _GOES = ("DEPOSIT", "RECEIVE"), ("WITHDRAW", "SEND")
_BALANCES = (
    *("available_inr", "available_btc", "reserved_inr", "reserved_btc"),
    *("collateral_btc", "borrowed_inr", "interest_accrued"),
)
Remarks = list[str]


@dataclass(frozen=True, slots=True)
class Opening:
    """What a user has and owes at the start, in rupees and satoshis."""

    inr: int = 0
    btc: int = 0
    collateral_btc: int = 0
    borrowed_inr: int = 0
    interest_accrued: int = 0


@dataclass(frozen=True, slots=True)
class PastTransaction:
    """A row of the original's history."""

    imported_id: int
    imported_type: str
    type: str
    status: str
    inr_amount: int
    btc_amount: int
    execution_price: int | None
    created_at: datetime
    executed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the original, as an account here. The id stays, so that tokens made with the same secret stay good."""

    id: int
    email: str
    email_normalized: str
    name: str
    password_hash: str
    created_at: datetime
    opening: Opening


@dataclass(slots=True)
class Converter:
    """Converts users one after the other, in the order of their ids; an e-mail belongs to the first who has it."""

    now: datetime
    remarks: Remarks = field(default_factory=list)
    _emails: dict[str, int] = field(default_factory=dict)

    def account(self, raw: dict[str, Any]) -> Account:
        """Return the account of a user."""
        user_id = int(raw["id"])
        odd = _Odd(self.remarks, f"user {user_id}")
        email, normalized = self._email(user_id, raw.get("email"), odd)
        if raw.get("is_admin"):
            odd.say("was an administrator there, and is none here")
        return Account(
            id=user_id,
            email=email,
            email_normalized=normalized,
            name=_name(user_id, raw.get("name"), odd),
            password_hash=_password_hash(raw.get("password_hash"), odd),
            created_at=_moment(raw.get("created_at")) or self._missing("created_at", odd),
            opening=_opening(raw, odd),
        )

    def history(self, account: Account, rows: Iterable[dict[str, Any]]) -> list[PastTransaction]:
        """Return a user's history, and compare what it comes to with the balance."""
        past = [self._past(raw, account) for raw in rows]
        _compare(past, account, _Odd(self.remarks, f"user {account.id}"))
        return past

    def _email(self, user_id: int, email: Any, odd: "_Odd") -> tuple[str, str]:
        """Return an e-mail as written and as compared; a placeholder where it is none, or another user's."""
        placeholder = f"user-{user_id}@{PLACEHOLDER_DOMAIN}"
        normalized = normalize_email(email)
        if normalized is None:
            odd.say(f"the e-mail {email!r} is none: it is {placeholder} now, and nobody can log in with it")
            return placeholder, placeholder
        first = self._emails.setdefault(normalized, user_id)
        if first != user_id:
            odd.say(f"the e-mail {email!r} is that of user {first} too: it is {placeholder} now")
            return placeholder, placeholder
        return read_email(email)[0], normalized

    def _past(self, raw: dict[str, Any], account: Account) -> PastTransaction:
        odd = _Odd(self.remarks, f"user {account.id}, row {raw['id']} of the history")
        written = _word(raw.get("type"), odd, "type")
        status = _word(raw.get("status"), odd, "status")
        if status not in _STATUSES:
            odd.say(f"the status {raw.get('status')!r} is unknown: it is FAILED here")
        elif status == "PENDING":
            odd.say(f"a {written} was pending: it is CANCELLED here, and what it reserved is free")
        inr, btc = (_amount(raw.get(name), odd, name) for name in ("inr_amount", "btc_amount"))
        if inr == btc == 0:
            odd.say(f"a {written} of nothing")
        price = _whole(raw.get("execution_price"), odd, "execution_price")
        executed_at = _moment(raw.get("executed_at"))
        created_at = _moment(raw.get("created_at")) or executed_at
        if created_at is None:
            odd.say("created_at is missing: it is the account's")
        return PastTransaction(
            imported_id=int(raw["id"]),
            imported_type=written,
            type=written if written in _KINDS else IMPORTED,
            status=_STATUSES.get(status, "FAILED"),
            inr_amount=inr,
            btc_amount=btc,
            execution_price=price if price and 0 < price < MAX_MONEY else None,
            created_at=created_at or account.created_at,
            executed_at=executed_at if status == "EXECUTED" else None,
        )

    def _missing(self, name: str, odd: "_Odd") -> datetime:
        odd.say(f"{name} is missing: it is the time of the import")
        return self.now


@dataclass(frozen=True, slots=True)
class _Odd:
    """Where an oddity is, and where to say so."""

    remarks: Remarks
    place: str

    def say(self, what: str) -> None:
        self.remarks.append(f"{self.place}: {what}")


def _name(user_id: int, name: Any, odd: _Odd) -> str:
    written = name if isinstance(name, str) else ""
    try:
        return read_name(written)
    except InvalidInput:
        pass
    shown = "".join(sign for sign in written if sign.isprintable()).strip()[:MAX_LENGTH].strip()
    try:
        name_here = read_name(shown)
    except InvalidInput:
        name_here = f"User {user_id}"
    odd.say(f"the name {name!r} is none: it is {name_here!r} now")
    return name_here


def _password_hash(hashed: Any, odd: _Odd) -> str:
    if isinstance(hashed, str) and _BCRYPT.fullmatch(hashed):
        return hashed
    odd.say("the password's hash is not bcrypt's: no password opens this account until it gets a new one")
    return UNUSABLE_HASH


def _opening(raw: dict[str, Any], odd: _Odd) -> Opening:
    held = {name: _balance(raw.get(name), odd, name) for name in _BALANCES if name in raw}
    missing = [name for name in _BALANCES[:4] if name not in held]
    if missing:
        odd.say(f"{', '.join(missing)}: there is no such column")
    reserved_inr, reserved_btc = held.pop("reserved_inr", 0), held.pop("reserved_btc", 0)
    if reserved_inr or reserved_btc:
        odd.say(f"₹{reserved_inr} and {reserved_btc} satoshis were reserved: they are free now")
    return Opening(
        inr=held.pop("available_inr", 0) + reserved_inr,
        btc=held.pop("available_btc", 0) + reserved_btc,
        **held,
    )


def _balance(value: Any, odd: _Odd, name: str) -> int:
    amount = _whole(value, odd, name)
    if amount is None:
        odd.say(f"{name} is missing: it opens at 0")
        return 0
    if amount < 0:
        odd.say(f"{name} is {amount}: it opens at 0, a debt of {-amount} is not carried over")
    if amount > MAX_MONEY:
        odd.say(f"{name} is {amount}, more than can be: it opens at 0")
    return amount if 0 <= amount <= MAX_MONEY else 0


def _amount(value: Any, odd: _Odd, name: str) -> int:
    amount = _whole(value, odd, name) or 0
    if amount < 0:
        odd.say(f"{name} is {amount}: it is {-amount} here, where amounts have no sign")
    if abs(amount) > MAX_MONEY:
        odd.say(f"{name} is {amount}, more than can be: it is 0 here")
        return 0
    return abs(amount)


def _whole(value: Any, odd: _Odd, name: str) -> int | None:
    """Return a whole number; what lies behind the point is cut off, and named."""
    if value is None:
        return None
    try:
        exact = Decimal(str(value))
        whole = int(exact)
    except (ArithmeticError, ValueError):
        odd.say(f"{name} is {value!r}, no number")
        return None
    if whole != exact:
        odd.say(f"{name} is {value}: it is {whole} here")
    return whole


def _moment(value: Any) -> datetime | None:
    """Return a time of the original's, which is read in UTC; a zero date is none."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else None


def _word(value: Any, odd: _Odd, name: str) -> str:
    """Return a type or status in capitals, without what no name of one has."""
    word = re.sub(r"[^A-Z0-9_]", "", str(value).upper())[:40] if value is not None else ""
    if not word:
        odd.say(f"the {name} {value!r} is none")
    return word or "UNKNOWN"


def _compare(past: list[PastTransaction], account: Account, odd: _Odd) -> None:
    """Say where a balance does not follow from the history. Loans move money in ways that a row does not show."""
    moves = [_move(row) for row in past if row.status == "EXECUTED"]
    opening = account.opening
    if None in moves or opening.collateral_btc or opening.borrowed_inr or opening.interest_accrued:
        return
    inr, btc = (sum(move[at] for move in moves if move is not None) for at in (0, 1))
    if (inr, btc) != (opening.inr, opening.btc):
        odd.say(
            f"the history comes to ₹{inr} and {btc} satoshis, the balance opens at ₹{opening.inr} and {opening.btc}"
        )


def _move(row: PastTransaction) -> tuple[int, int] | None:
    """Return what a row did to its user's rupees and satoshis, where its type says so."""
    kind = row.imported_type
    if kind.endswith("_BUY"):
        return -row.inr_amount, row.btc_amount
    if kind.endswith("_SELL"):
        return row.inr_amount, -row.btc_amount
    if kind.startswith(_COMES):
        return row.inr_amount, row.btc_amount
    if kind.startswith(_GOES):
        return -row.inr_amount, -row.btc_amount
    return None


def grouped(rows: list[dict[str, Any]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Return each user's rows, of rows that are sorted by user."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end]["user_id"] != rows[start]["user_id"]:
            yield int(rows[start]["user_id"]), rows[start:end]
            start = end
