"""The checker: what must hold between the books and what the clients saw, whatever was killed in between.

Each check takes the books and the history and returns its faults, one line each; none means that the invariant holds.
The figures are worked out here once more, on purpose without BitTrade's own code.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from drills.books import ACCOUNTS, MULTIPLIER_SCALE, PRICED, TRADES, Books, Transaction, read_books
from drills.history import BALANCE, PAGE, TRADE, Line, by_key

SATOSHIS = 100_000_000
MAX_PRICE_AGE_MS = 90_000
MAX_RETRY_AFTER_S = 5
SHOWN_FAULTS = 10


@dataclass(frozen=True, slots=True)
class Result:
    """One invariant: how much was looked at, and what is wrong."""

    name: str
    claim: str
    faults: tuple[str, ...]

    @property
    def is_ok(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        head = f"{self.name:8}{'ok  ' if self.is_ok else 'FAIL'}  {self.claim}"
        more = len(self.faults) - SHOWN_FAULTS
        rows = [f"             {fault}" for fault in self.faults[:SHOWN_FAULTS]]
        return "\n".join([head, *rows, *([f"             … and {more} more"] if more > 0 else [])])


def check(connection: sa.Connection, history: Sequence[Line]) -> list[Result]:
    """Every invariant, over one consistent snapshot of the database."""
    return check_books(read_books(connection), history)


def check_books(books: Books, history: Sequence[Line]) -> list[Result]:
    return [Result(name, claim, tuple(look(books, history))) for name, claim, look in INVARIANTS]


# --- I1, I2, I3, I10: the books alone ------------------------------------------------------------------------------


def ledger_sums_to_zero(books: Books, _history: Sequence[Line]) -> Iterator[str]:
    totals: Counter[str] = Counter()
    for leg in books.legs:
        totals[leg.asset] += leg.amount
        if leg.transaction_id not in books.transactions:
            yield f"a leg of {leg.amount} {leg.asset} belongs to transaction {leg.transaction_id}, which is not there"
    yield from (f"{asset} sums to {total}" for asset, total in totals.items() if total)
    for transaction in books.transactions.values():
        yield from _faults_of_entry(books, transaction)


def _faults_of_entry(books: Books, transaction: Transaction) -> Iterator[str]:
    """A transaction's legs balance, and say what its row says."""
    sums: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for leg in books.legs_of.get(transaction.id, ()):
        sums[leg.asset] += leg.amount
        if leg.user_id == transaction.user_id:
            moved[leg.account] += leg.amount
    yield from (
        f"transaction {transaction.id}: {asset} sums to {rest}" for asset, rest in sums.items() if rest
    )
    sign = TRADES.get(transaction.type)
    if sign is None:
        return
    wanted = {"available_inr": -sign * transaction.inr_amount, "available_btc": sign * transaction.btc_amount}
    if dict(moved) != wanted:
        yield f"transaction {transaction.id}: its row says {wanted}, its legs {dict(moved)}"


def balances_equal_legs(books: Books, _history: Sequence[Line]) -> Iterator[str]:
    sums: Counter[tuple[int, str]] = Counter()
    for leg in books.legs:
        if leg.user_id is not None:
            sums[leg.user_id, leg.account] += leg.amount
    for user_id, balance in books.balances.items():
        for account in ACCOUNTS:
            proven = sums.pop((user_id, account), 0)
            if balance[account] != proven:
                yield f"user {user_id}: {account} is {balance[account]}, its legs sum to {proven}"
    yield from (f"user {user_id}: {account} has legs but no balance" for user_id, account in sums)


def nothing_is_negative(books: Books, _history: Sequence[Line]) -> Iterator[str]:
    for user_id, balance in books.balances.items():
        yield from (f"user {user_id}: {name} is {balance[name]}" for name in ACCOUNTS if balance[name] < 0)
    for (user_id, seq), state in books.replayed.items():
        if min(state.values()) < 0:
            yield f"user {user_id}: below zero after seq {seq}: {state}"


def replay_rebuilds_balances(books: Books, _history: Sequence[Line]) -> Iterator[str]:
    for user_id, balance in books.balances.items():
        rows = books.by_user.get(user_id, [])
        numbers = [row.seq for row in rows]
        if numbers != list(range(1, balance["seq"] + 1)):
            yield f"user {user_id}: seq is {balance['seq']}, the transactions are numbered {_shortened(numbers)}"
        state = books.replayed[user_id, rows[-1].seq] if rows else dict.fromkeys(ACCOUNTS, 0)
        held = {account: balance[account] for account in ACCOUNTS}
        if state != held:
            yield f"user {user_id}: the replay gives {state}, the balance is {held}"


# --- I4, I5, I6: what the clients were told ------------------------------------------------------------------------


def one_trade_a_key(books: Books, history: Sequence[Line]) -> Iterator[str]:
    """Every client of the drills sends a key with every trade, so a trade without one was executed twice."""
    keys_of = Counter(key.transaction_id for key in books.keys)
    for transaction in books.transactions.values():
        if transaction.type in TRADES and keys_of[transaction.id] != 1:
            yield f"transaction {transaction.id} of user {transaction.user_id} belongs to {keys_of[transaction.id]} keys"
    for key in books.keys:
        found = books.transactions.get(key.transaction_id or 0)
        if found is None or found.user_id != key.user_id:
            yield f"key {key.key} of user {key.user_id} names transaction {key.transaction_id}, which is not theirs"
    for (user_id, name), lines in by_key(history).items():
        answers = [line.body or {} for line in lines if line.is_acknowledged]
        if len({answer.get("id") for answer in answers}) > 1:
            yield f"key {name} of user {user_id} was answered with {sorted({str(a.get('id')) for a in answers})}"
        elif any(answer != answers[0] for answer in answers):
            yield f"key {name} of user {user_id}: its answers differ"


def answers_match_books(books: Books, history: Sequence[Line]) -> Iterator[str]:
    """Each acknowledged trade is there with exactly the figures of its answer."""
    for line in _acknowledged(history):
        answer = line.body or {}
        stored = books.transactions.get(answer.get("id", 0))
        if stored is None:
            continue  # lost: I5 says so
        if books.trade_of_key.get((line.user_id, line.key or "")) != stored.id:
            yield f"key {line.key} of user {line.user_id}: answered {stored.id}, stored for another or none"
        wanted = _answer_for(books, stored)
        wrong = {
            name: (answer.get(name), value) for name, value in wanted.items() if answer.get(name) != value
        }
        if wrong or stored.user_id != line.user_id:
            yield f"transaction {stored.id} of user {stored.user_id}: answered and stored differ: {wrong}"
        elif not _is_what_was_ordered(line.order or {}, stored):
            yield f"transaction {stored.id}: {line.order} was ordered, its receipt says {stored.receipt}"


def _answer_for(books: Books, stored: Transaction) -> dict[str, Any]:
    """What POST /api/trade has to say of a transaction."""
    return {
        "type": stored.type,
        "action": "buy" if stored.type == "MARKET_BUY" else "sell",
        "btc_amount": stored.btc_amount,
        "inr_amount": stored.inr_amount,
        "execution_price": stored.execution_price,
        "status": stored.status,
        "timestamp": _milliseconds(stored.created_at),
        "seq": stored.seq,
    } | _balance_in(books, stored)


def _balance_in(books: Books, stored: Transaction) -> dict[str, Any]:
    return {"updated_balance": {**books.replayed[stored.user_id, stored.seq], "seq": stored.seq}}


def nothing_acknowledged_is_lost(books: Books, history: Sequence[Line]) -> Iterator[str]:
    for line in _acknowledged(history):
        number = (line.body or {}).get("id")
        if number not in books.transactions:
            yield f"transaction {number} of user {line.user_id} (key {line.key}) was acknowledged and is not there"


def unknown_outcomes_resolve(books: Books, history: Sequence[Line]) -> Iterator[str]:
    """At the end each key has a definite answer, and the books agree with it."""
    for (user_id, name), lines in by_key(history).items():
        stored = books.trade_of_key.get((user_id, name))
        if not any(line.is_definite for line in lines):
            yield f"key {name} of user {user_id}: no definite answer in {len(lines)} attempts"
        elif stored is not None and not any(line.is_acknowledged for line in lines):
            yield f"key {name} of user {user_id}: refused to the client, yet transaction {stored} is there"
    sent = set(by_key(history))
    for key in books.keys:
        if (key.user_id, key.key) not in sent:
            yield f"key {key.key} of user {key.user_id}: transaction {key.transaction_id}, which nobody sent"


# --- I8: prices ----------------------------------------------------------------------------------------------------


def prices_were_recorded_and_fresh(books: Books, _history: Sequence[Line]) -> Iterator[str]:
    for transaction in books.transactions.values():
        if transaction.type in PRICED:
            yield from (
                f"transaction {transaction.id}: {fault}" for fault in _price_faults(books, transaction)
            )


def _price_faults(books: Books, transaction: Transaction) -> Iterator[str]:
    receipt = transaction.receipt
    price = books.prices.get(receipt["price_id"]) if receipt else None
    if receipt is None or price is None:
        yield "it has no receipt" if receipt is None else f"price {receipt['price_id']} was never recorded"
        return
    if (receipt["btc_usd_cents"], receipt["source"]) != (price.btc_usd_cents, price.source):
        yield f"its receipt says {receipt['btc_usd_cents']} cents, the recorded price is {price.btc_usd_cents}"
    side = "buy" if transaction.type.endswith("_BUY") else "sell"
    multiplier = receipt[f"{side}_multiplier"]
    if multiplier != books.multipliers[side]:
        yield f"its {side} multiplier is {multiplier}, the setting is {books.multipliers[side]}"
    rate = _half_up(price.btc_usd_cents * multiplier, 100 * MULTIPLIER_SCALE)
    if transaction.execution_price != rate:
        yield f"its price is {transaction.execution_price}, the recorded one × {multiplier} is {rate}"
    if receipt["quote_id"] is None:
        age_ms = max(0, (transaction.created_at - price.as_of) // timedelta(milliseconds=1))
        if receipt["age_ms"] != age_ms or age_ms > MAX_PRICE_AGE_MS:
            yield f"its price was {age_ms} ms old, its receipt says {receipt['age_ms']}"
    figures = _figures(receipt["order"], rate)
    if figures != (transaction.inr_amount, transaction.btc_amount):
        yield f"its order makes {figures}, it has {(transaction.inr_amount, transaction.btc_amount)}"


def _figures(order: dict[str, Any], rate: int) -> tuple[int, int]:
    """Rupees and satoshis, each rounded for the house."""
    is_buy, amount = order["action"] == "buy", order["amount"]
    if order["asset"] == "INR":
        return amount, amount * SATOSHIS // rate if is_buy else _up(amount * SATOSHIS, rate)
    return _up(amount * rate, SATOSHIS) if is_buy else amount * rate // SATOSHIS, amount


def _is_what_was_ordered(body: dict[str, Any], stored: Transaction) -> bool:
    unit = 1 if body["currency"] == "inr" else SATOSHIS
    order = {
        "action": body["action"],
        "asset": body["currency"].upper(),
        "amount": int(Decimal(str(body["amount"])) * unit),
    }
    return (stored.receipt or {}).get("order") == order


# --- I9: what clients read -----------------------------------------------------------------------------------------


def nobody_goes_back(books: Books, history: Sequence[Line]) -> Iterator[str]:
    """What begins after an answer has ended shows at least that answer's sequence, and shows the truth of it."""
    seen: dict[int, list[tuple[Line, int]]] = defaultdict(list)
    for line in history:
        seq = _sequence_shown(line)
        if seq is not None:
            seen[line.user_id].append((line, seq))
    for lines in seen.values():
        yield from _went_back(lines)
    for line in history:
        if line.kind != TRADE and line.status == 200:
            yield from _faults_of_read(books, line)


def _sequence_shown(line: Line) -> int | None:
    """How far the user's books had come, as far as this answer tells; a replayed answer is an old one on purpose."""
    body = line.body or {}
    if line.status not in (200, 201) or line.is_replay:
        return None
    if line.kind == PAGE:
        return max((row["seq"] for row in body["transactions"]), default=0)
    return int(body["seq"])


def _went_back(lines: list[tuple[Line, int]]) -> Iterator[str]:
    ended = sorted(lines, key=lambda pair: pair[0].ended_s)
    floor, by = 0, "nothing"
    position = 0
    for line, seq in sorted(lines, key=lambda pair: pair[0].started_s):
        while ended[position][0].ended_s < line.started_s:
            before, its_seq = ended[position]
            position += 1
            if its_seq > floor:
                floor, by = its_seq, f"a {before.kind} at {before.ended_s:.3f} s"
        if seq < floor + (line.kind == TRADE):
            yield f"user {line.user_id}: a {line.kind} at {line.started_s:.3f} s shows seq {seq}, {by} had shown {floor}"


def _faults_of_read(books: Books, line: Line) -> Iterator[str]:
    body = line.body or {}
    if line.kind == BALANCE:
        truth = books.replayed.get((line.user_id, body["seq"]), dict.fromkeys(ACCOUNTS, 0))
        if {account: body[account] for account in ACCOUNTS} != truth:
            yield f"user {line.user_id}: a balance at seq {body['seq']} shows {body}, the books say {truth}"
        return
    numbers = [row["seq"] for row in body["transactions"]]
    if numbers != list(range(numbers[0], numbers[0] - len(numbers), -1)) if numbers else False:
        yield f"user {line.user_id}: a page shows the sequence {_shortened(numbers)}"
    for row in body["transactions"]:
        stored = books.transactions.get(row["id"])
        if stored is None or any(row[name] != getattr(stored, name) for name in _ROW_FIGURES):
            yield f"user {line.user_id}: a page shows {row}, the books say {stored}"


_ROW_FIGURES = ("seq", "type", "status", "btc_amount", "inr_amount", "execution_price")


# --- Answers as such -----------------------------------------------------------------------------------------------


def answers_are_as_promised(_books: Books, history: Sequence[Line]) -> Iterator[str]:
    """No 5xx but a 503, each 503 says when to come back, good orders are executed and bad ones refused."""
    for line in history:
        if line.status is not None and line.status >= 500 and line.status != 503:
            yield f"{line.drill}: a {line.kind} of user {line.user_id} was answered {line.status} {line.body}"
        if line.status == 503 and not 1 <= int(line.retry_after or 0) <= MAX_RETRY_AFTER_S:
            yield f"{line.drill}: a 503 says Retry-After: {line.retry_after}"
        if line.status is not None and line.body is None:
            yield f"{line.drill}: a {line.kind} was answered {line.status} with {line.error}"
        if line.is_definite and line.expects and line.is_acknowledged != (line.expects == "executed"):
            yield f"{line.drill}: {line.order} should be {line.expects}, and was answered {line.status} {line.body}"


Check = Callable[[Books, Sequence[Line]], Iterable[str]]
INVARIANTS: tuple[tuple[str, str, Check], ...] = (
    ("I1", "the ledger sums to 0 for every asset, and for every transaction", ledger_sums_to_zero),
    ("I2", "each balance is the sum of its legs", balances_equal_legs),
    ("I3", "no balance is below 0, now or at any moment before", nothing_is_negative),
    ("I4", "at most one trade a key", one_trade_a_key),
    ("I4b", "each acknowledged trade is there with exactly its figures", answers_match_books),
    ("I5", "no acknowledged trade is lost", nothing_acknowledged_is_lost),
    ("I6", "every unknown outcome resolved to one state", unknown_outcomes_resolve),
    (
        "I8",
        "each trade's price was recorded and fresh, and its figures follow",
        prices_were_recorded_and_fresh,
    ),
    ("I9", "nobody's view goes back, and each balance and page read is true", nobody_goes_back),
    ("I10", "replaying the legs from zero rebuilds the balances", replay_rebuilds_balances),
    (
        "answers",
        "no 5xx but 503 with Retry-After; good orders executed, bad refused",
        answers_are_as_promised,
    ),
)


def _acknowledged(history: Sequence[Line]) -> Iterator[Line]:
    return (line for line in history if line.is_acknowledged)


def _milliseconds(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _shortened(numbers: list[int]) -> str:
    text = ", ".join(map(str, numbers[:8]))
    return f"{text}, … {numbers[-1]} ({len(numbers)})" if len(numbers) > 8 else text or "not at all"
