"""What must hold of limit orders after a drill, when every order has ended. Rules of its own, not BitTrade's code.

Each check returns its faults, one line each; none means that it holds.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from drills.books import Books, read_books
from drills.checker import SATOSHIS, Result

CLOSED_BY = {
    "FILLED": ("LIMIT_BUY", "LIMIT_SELL"),
    "CANCELLED": ("ORDER_RELEASE",),
    "EXPIRED": ("ORDER_RELEASE",),
}


class Row(NamedTuple):
    """An order as the database holds it."""

    id: int
    user_id: int
    action: str
    asset: str
    amount: int
    limit_price: int
    reserved: int
    status: str
    expires_at: datetime | None
    created_at: datetime
    closed_at: datetime | None
    closed_by_id: int | None

    @property
    def account(self) -> str:
        """Where its money waits."""
        return "reserved_inr" if self.action == "buy" else "reserved_btc"


@dataclass(slots=True)
class Placed:
    """An order of a client, under one key until its answer is definite: `order_id` where it was acknowledged."""

    user_id: int
    key: str
    body: dict[str, Any]
    order_id: int | None = None
    is_refused: bool = False


@dataclass
class Told:
    """What the clients know: what they placed, and how each cancel of an order was answered."""

    placed: list[Placed] = field(default_factory=list)
    cancels: dict[int, int] = field(default_factory=dict)  # by order: 200 or 409


@dataclass
class OrderBooks:
    """The orders, beside the books, when everything is at rest."""

    books: Books
    rows: dict[int, Row]
    closings: dict[int, list[int]]  # by order: the transactions that say they closed it
    keys: dict[tuple[int, str], int]  # by user and key: the order

    @cached_property
    def order_of(self) -> dict[int, int]:
        """By the transaction that closed it."""
        return {number: order_id for order_id, found in self.closings.items() for number in found}


def read_orders(connection: sa.Connection) -> OrderBooks:
    """Everything; the connection must be at REPEATABLE READ and in no transaction."""
    rows = [_row(row) for row in connection.execute(sa.text(_ORDERS))]
    closings: dict[int, list[int]] = defaultdict(list)
    closed = "SELECT id, order_id FROM transactions WHERE order_id IS NOT NULL ORDER BY id"
    for row in connection.execute(sa.text(closed)):
        closings[row.order_id].append(row.id)
    asked = "SELECT user_id, `key` AS name, answer FROM idempotency_keys WHERE route = 'orders'"
    keys = {
        (row.user_id, row.name): orjson.loads(row.answer)["id"] for row in connection.execute(sa.text(asked))
    }
    return OrderBooks(read_books(connection), {row.id: row for row in rows}, closings, keys)


_ORDERS = f"SELECT {', '.join(Row._fields)} FROM orders"  # noqa: S608 - our own names


def _row(row: Any) -> Row:
    moments = {name: _time(getattr(row, name)) for name in ("expires_at", "created_at", "closed_at")}
    return Row(**{**row._mapping, **moments})


def _time(value: Any) -> Any:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return None if moment is None else moment.replace(tzinfo=UTC)


def check_orders(found: OrderBooks, told: Told) -> list[Result]:
    """Every rule."""
    return [Result(name, claim, tuple(look(found, told))) for name, claim, look in RULES]


# --- what the clients were told -----------------------------------------------------------------------------------


def placed_once_as_asked(found: OrderBooks, told: Told) -> Iterator[str]:
    numbers = Counter(found.keys.values())
    yield from (
        f"order {number} belongs to {numbers[number]} keys" for number in found.rows if numbers[number] != 1
    )
    for placed in told.placed:
        number = found.keys.get((placed.user_id, placed.key))
        if placed.is_refused and number is not None:
            yield f"key {placed.key}: refused to the client, yet order {number} is there"
        if placed.order_id is None:
            continue
        row = found.rows.get(placed.order_id)
        if number != placed.order_id or row is None:
            yield f"key {placed.key}: order {placed.order_id} was acknowledged, {number} is there"
        elif _asked(placed) != (row.user_id, row.action, row.asset, row.amount, row.limit_price):
            yield f"order {row.id}: {placed.body} was asked, {row} is there"


def _asked(placed: Placed) -> tuple[int, str, str, int, int]:
    body = placed.body
    amount = body["amount"]
    if body["currency"] == "btc":  # ours are written with all eight places
        whole, _, rest = amount.partition(".")
        amount = int(whole) * SATOSHIS + int(rest.ljust(8, "0"))
    return placed.user_id, body["side"], body["currency"].upper(), int(amount), body["limit_price"]


def cancels_are_true(found: OrderBooks, told: Told) -> Iterator[str]:
    for number, status in told.cancels.items():
        row = found.rows.get(number)
        if row is None or (status == 200) > (row.status == "CANCELLED"):
            yield f"order {number}: its cancel was answered {status}, it is {row.status if row else 'not there'}"
        elif status == 409 and row.status == "CANCELLED":
            yield f"order {number}: its cancel was refused, and nobody else cancelled it"


# --- the orders and their money -----------------------------------------------------------------------------------


def ended_in_one_way(found: OrderBooks, _told: Told) -> Iterator[str]:
    for row in found.rows.values():
        closings = found.closings.get(row.id, [])
        if len(closings) != 1 or closings != [row.closed_by_id]:
            yield f"order {row.id} is {row.status}, closed by {row.closed_by_id}; transactions {closings} closed it"
            continue
        closing = found.books.transactions[closings[0]]
        if closing.type not in CLOSED_BY.get(row.status, ()) or closing.user_id != row.user_id:
            yield f"order {row.id} is {row.status}, and a {closing.type} of user {closing.user_id} closed it"
        if row.status == "EXPIRED" and (row.expires_at is None or closing.created_at < row.expires_at):
            yield f"order {row.id} expired at {closing.created_at}, its time is {row.expires_at}"
        if row.status == "FILLED" and row.expires_at is not None and closing.created_at >= row.expires_at:
            yield f"order {row.id} was filled at {closing.created_at}, after its time, {row.expires_at}"
    yield from (
        f"order {number} was closed and is not there" for number in found.closings.keys() - found.rows
    )


def fills_are_right(found: OrderBooks, _told: Told) -> Iterator[str]:
    """At a rate that the limit allows, for what was ordered, of money that was its own. I8 holds the rate to its price."""
    for row in found.rows.values():
        if row.status == "FILLED" and row.closed_by_id in found.books.transactions:
            yield from (f"order {row.id}: {fault}" for fault in _fill_faults(found.books, row))


def _fill_faults(books: Books, row: Row) -> Iterator[str]:
    closing = books.transactions[row.closed_by_id or 0]
    sign, rate = (1 if row.action == "buy" else -1), closing.execution_price or 0
    if closing.type != f"LIMIT_{row.action.upper()}":
        yield f"a {row.action} was filled by a {closing.type}"
    if (rate - row.limit_price) * sign > 0 or rate <= 0:
        yield f"its limit is {row.limit_price}, it was filled at {rate}"
    wanted = {"action": row.action, "asset": row.asset, "amount": row.amount}
    if (closing.receipt or {}).get("order") != wanted:
        yield f"it says {wanted}, its receipt {closing.receipt}"
    moved: Counter[str] = Counter()
    for leg in books.legs_of.get(closing.id, ()):
        if leg.user_id == row.user_id:
            moved[leg.asset] += leg.amount
    if (moved["INR"], moved["BTC"]) != (-sign * closing.inr_amount, sign * closing.btc_amount):
        yield f"its row says {closing.inr_amount} rupees and {closing.btc_amount} satoshis, its legs {dict(moved)}"


def reserves_are_what_waits(found: OrderBooks, _told: Told) -> Iterator[str]:
    """After each transaction of a user: the sum of what their open orders may cost; at the end, nothing."""
    for row in found.rows.values():
        if row.reserved != _most(row):
            yield f"order {row.id} reserved {row.reserved}, the most that it can cost is {_most(row)}"
    for user_id, transactions in found.books.by_user.items():
        waiting = dict.fromkeys(("reserved_inr", "reserved_btc"), 0)
        for transaction in transactions:
            if (row_placed := found.rows.get(transaction.id)) is not None:
                waiting[row_placed.account] += row_placed.reserved
            closed = found.rows.get(found.order_of.get(transaction.id, 0))
            if closed is not None:
                waiting[closed.account] -= closed.reserved
            held = found.books.replayed[user_id, transaction.seq]
            if any(held[account] != amount for account, amount in waiting.items()):
                yield f"user {user_id}, seq {transaction.seq}: {waiting} should be reserved, the books say {held}"
                break
        if any(waiting.values()):
            yield f"user {user_id}: {waiting} is still reserved at the end"


def _most(row: Row) -> int:
    """What it costs at its limit, rounded up; a buy pays rupees, a sell bitcoin."""
    if (row.action == "buy") == (row.asset == "INR"):
        return row.amount
    product, unit = (row.limit_price, SATOSHIS) if row.action == "buy" else (SATOSHIS, row.limit_price)
    return -(-row.amount * product // unit)


RULES: Sequence[tuple[str, str, Any]] = (
    ("O-once", "each acknowledged order is there, once, as it was asked", placed_once_as_asked),
    ("O-cancel", "a cancel that was acknowledged, cancelled; one that was refused did not", cancels_are_true),
    ("O-end", "each order ended in exactly one way", ended_in_one_way),
    ("O-fill", "each fill was allowed by its limit, and moved what its row says", fills_are_right),
    ("O-hold", "reserved is what open orders hold, after every transaction; at the end nothing", reserves_are_what_waits),
)  # fmt: skip
