"""The books as the database holds them, read in one consistent snapshot, and what replaying them from zero gives.

Reads the tables by plain SQL, not through BitTrade's models: the checker must not share a mistake with what it checks.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

ACCOUNTS = {
    "available_inr": "INR",
    "available_btc": "BTC",
    "reserved_inr": "INR",
    "reserved_btc": "BTC",
    "collateral_btc": "BTC",
    "borrowed_inr": "INR",
    "interest_accrued": "INR",
}
TRADES = {"MARKET_BUY": 1, "MARKET_SELL": -1}  # the sign of the user's bitcoin
# What is done at a recorded price: at once, when a limit is reached, or on a plan's day.
PRICED = {f"{kind}_{side}" for kind in ("MARKET", "LIMIT", "DCA") for side in ("BUY", "SELL")}
MULTIPLIER_SCALE = 10_000


class Transaction(NamedTuple):
    id: int
    user_id: int
    seq: int
    type: str
    status: str
    btc_amount: int
    inr_amount: int
    execution_price: int | None
    receipt: dict[str, Any] | None
    created_at: datetime


class Leg(NamedTuple):
    transaction_id: int
    user_id: int | None
    account: str
    asset: str
    amount: int


class Key(NamedTuple):
    """A row of idempotency_keys: which trade a user's key led to."""

    user_id: int
    key: str
    transaction_id: int | None


class Price(NamedTuple):
    btc_usd_cents: int
    source: str
    as_of: datetime
    created_at: datetime


@dataclass
class Books:
    transactions: dict[int, Transaction]
    legs: list[Leg]
    balances: dict[int, dict[str, int]]  # by user: `seq` and the seven accounts
    keys: list[Key]
    prices: dict[int, Price]
    multipliers: dict[str, int]  # buy, sell; in units of 1 / MULTIPLIER_SCALE
    _zero: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0), repr=False)

    @cached_property
    def legs_of(self) -> dict[int, list[Leg]]:
        """The legs of each transaction."""
        groups: dict[int, list[Leg]] = defaultdict(list)
        for leg in self.legs:
            groups[leg.transaction_id].append(leg)
        return groups

    @cached_property
    def by_user(self) -> dict[int, list[Transaction]]:
        """Each user's transactions, in the order of their sequence."""
        groups: dict[int, list[Transaction]] = defaultdict(list)
        for transaction in self.transactions.values():
            groups[transaction.user_id].append(transaction)
        return {user_id: sorted(rows, key=lambda row: row.seq) for user_id, rows in groups.items()}

    @cached_property
    def replayed(self) -> dict[tuple[int, int], dict[str, int]]:
        """The seven accounts of a user after each sequence number, from the legs alone."""
        states: dict[tuple[int, int], dict[str, int]] = {}
        for user_id, rows in self.by_user.items():
            state = self._zero
            for row in rows:
                state = dict(state)
                for leg in self.legs_of.get(row.id, ()):
                    if leg.user_id == user_id and leg.account in state:
                        state[leg.account] += leg.amount
                states[user_id, row.seq] = state
        return states

    @cached_property
    def trade_of_key(self) -> dict[tuple[int, str], int | None]:
        return {(key.user_id, key.key): key.transaction_id for key in self.keys}


def read_books(connection: sa.Connection) -> Books:
    """Everything, as of one moment: the connection must be at REPEATABLE READ (or SQLite) and in no transaction."""
    rows = {name: connection.execute(sa.text(query)).all() for name, query in _QUERIES.items()}
    connection.rollback()
    settings = {row.name: row.value for row in rows["settings"]}
    return Books(
        transactions={row.id: _transaction(row) for row in rows["transactions"]},
        legs=[Leg(*row) for row in rows["legs"]],
        balances={row.user_id: dict(row._mapping) for row in rows["balances"]},
        keys=[Key(row.user_id, row.name, orjson.loads(row.answer).get("id")) for row in rows["keys"]],
        prices={row.id: Price(row.btc_usd_cents, row.source, *map(_time, row[3:])) for row in rows["prices"]},
        multipliers={
            side: int(Decimal(settings.get(f"{side}_multiplier", default)) * MULTIPLIER_SCALE)
            for side, default in (("buy", "91"), ("sell", "88"))
        },
    )


_QUERIES = {
    "transactions": (
        "SELECT id, user_id, seq, type, status, btc_amount, inr_amount, execution_price, receipt, created_at"
        " FROM transactions ORDER BY id"
    ),
    "legs": "SELECT transaction_id, user_id, account, asset, amount FROM ledger_legs",
    "balances": f"SELECT user_id, seq, {', '.join(ACCOUNTS)} FROM balances",  # noqa: S608 - our own names
    "keys": "SELECT user_id, `key` AS name, answer FROM idempotency_keys WHERE route = 'trade'",
    "prices": "SELECT id, btc_usd_cents, source, as_of, created_at FROM bitcoin_data",
    "settings": "SELECT `key` AS name, value FROM settings",
}


def _transaction(row: Any) -> Transaction:
    receipt = None if row.receipt is None else orjson.loads(row.receipt)
    return Transaction(**{**row._mapping, "receipt": receipt, "created_at": _time(row.created_at)})


def _time(value: datetime | str) -> datetime:
    """Both databases keep UTC without a zone; SQLite as text."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC)
