"""Reading the books for the proof: bounded ranges of transactions and of their legs, all rows of a range as one text.

That is what makes millions of rows cheap to fetch. A transaction's text is what the hash chain is made of, so that it
need not be made again.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session

from bittrade.domain import chain, plain_trades
from bittrade.domain.chain import SEPARATOR
from bittrade.domain.ledger import Leg
from bittrade.domain.money import Asset
from bittrade.domain.plain_trades import PlainTrade
from bittrade.domain.proof import Row
from bittrade.models import LedgerLeg, Transaction
from bittrade.services.ledger.ranges import Range

ASSETS = {asset.value: asset for asset in Asset}
T = TypeVar("T")
END = "\x1d"  # of a row's text
# Legs are posted about when their transaction is, so those of a range of transactions are mostly a range themselves, and
# a range is read ten times as fast as single legs. Ids step by the number of nodes.
MAX_SPREAD = 12


class Texts(NamedTuple):
    """The transactions of a range: the text of each one's columns, and the texts of the legs by its id."""

    transactions: list[str]
    legs: dict[str, list[str]]
    legs_said: int | None = None  # how many legs are theirs by their number, where that can be said


class _Joined(sa.sql.functions.GenericFunction[str]):
    """Columns as one text; none of them may be NULL."""

    type = sa.String()
    inherit_cache = True
    name = "concat"
    identifier = "joined_text"  # SQLAlchemy has a `concat` of its own


@compiles(_Joined, "sqlite")
def _join_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    parts = [f"({compiler.process(part, **options)})" for part in element.clauses]
    return f"({' || '.join(parts)})"


class _Grouped(sa.sql.functions.GenericFunction[str]):
    """All texts as one."""

    type = sa.String()
    inherit_cache = True
    name = "group_concat"


@compiles(_Grouped, "mysql", "mariadb")
def _group_on_mysql(element: Any, compiler: Any, **options: Any) -> str:
    text, separator = element.clauses
    return f"GROUP_CONCAT({compiler.process(text, **options)} SEPARATOR '{separator.value}')"


def _filled(name: str) -> sa.ColumnElement[Any]:
    """Return a column that counts only where it has a value; an empty text is none."""
    column = Transaction.__table__.c[name]
    return sa.func.nullif(column, "") if isinstance(column.type, sa.String) else column


def _transaction_text() -> sa.ColumnElement[str]:
    """Return how many optional columns are filled, and what is hashed of the columns.

    That number tells whether one of them holds the separator.
    """
    optional = {name: _filled(name) for name in chain.OPTIONAL}
    count: Any = sum(sa.case((value.is_not(None), 1), else_=0) for value in optional.values())
    parts: list[Any] = [count]
    for name in chain.REQUIRED:
        parts += [SEPARATOR, Transaction.__table__.c[name]]
    for name, value in optional.items():
        parts.append(sa.func.coalesce(_Joined(f"{SEPARATOR}{name}=", value), ""))
    return _Joined(*parts, END)


def _leg_text() -> sa.ColumnElement[str]:
    owner = sa.func.coalesce(sa.cast(LedgerLeg.user_id, sa.String), chain.HOUSE)
    parts: list[Any] = [LedgerLeg.transaction_id]
    for column in (owner, LedgerLeg.account, LedgerLeg.asset, LedgerLeg.amount):
        parts += [SEPARATOR, column]
    return _Joined(*parts, END)


_TRANSACTION, _LEG = _transaction_text(), _leg_text()
_TRANSACTIONS = sa.select(_TRANSACTION).select_from(Transaction)
_LEGS = sa.select(_LEG).select_from(LedgerLeg)
_LEGS_OF = _LEGS.join(Transaction, Transaction.id == LedgerLeg.transaction_id)


def read(session: Session, part: Range) -> Texts:
    """Return the transactions of a range with their legs."""
    transactions = _texts(session, _TRANSACTIONS.where(part.transactions))
    legs: dict[str, list[str]] = defaultdict(list)
    count, of_legs = None, _LEGS_OF.where(part.transactions)
    if part.legs is not None:
        count, condition = _place(session, part.legs)
        of_legs = _LEGS.where(condition)
    for text in _texts(session, of_legs):
        transaction_id, _, leg = text.partition(SEPARATOR)
        legs[transaction_id].append(leg)
    return Texts(transactions, legs, count)


def _place(session: Session, legs: sa.ColumnElement[bool]) -> tuple[int, sa.ColumnElement[bool]]:
    """Return how many legs there are, and where to read: it may be more than these."""
    number = LedgerLeg.id
    query = sa.select(sa.func.count(), sa.func.min(number), sa.func.max(number)).where(legs)
    count, first, last = session.execute(query).one()
    if count and last - first < MAX_SPREAD * count:
        return count, number.between(first, last)
    return count, legs


def _texts(session: Session, rows: sa.Select[str]) -> list[str]:
    """Return each row's text. They are read as one; row by row where that is too long for the server."""
    (text,) = rows.selected_columns
    together = rows.with_only_columns(sa.func.count(), _Grouped(text, sa.literal("")))
    count, joined = session.execute(together).one()
    texts: list[str] = (joined or "").split(END)
    if texts.pop() == "" and len(texts) == count:
        return texts
    return [one.removesuffix(END) for one in session.scalars(rows)]


def parse(texts: Texts) -> Iterator[PlainTrade | Row | str]:
    """Yield each transaction: a plain trade, which is right by itself, or a row; a fault where it cannot be read."""
    return _parsed(texts, lambda text, legs: plain_trades.read(text, legs) or _row(text, legs))


def parse_rows(texts: Texts) -> Iterator[Row | str]:
    """Yield each transaction as a row; a fault where it cannot be read."""
    return _parsed(texts, _row)


def _parsed(texts: Texts, read_one: Callable[[str, list[str]], T]) -> Iterator[T | str]:
    for text in texts.transactions:
        number = text.split(SEPARATOR, 2)[1]
        try:
            yield read_one(text, texts.legs.get(number, []))
        except (ValueError, KeyError):
            yield f"transaction {number}: it cannot be read"


def _row(text: str, legs: list[str]) -> Row:
    filled, _, hashed = text.partition(SEPARATOR)
    parts = hashed.split(SEPARATOR)
    number, user_id, seq, kind, status, btc, inr, created_at, *rest = parts
    if len(rest) != int(filled) or END in text:
        raise ValueError("a column holds a separator")
    optional = dict(part.split("=", 1) for part in rest)
    receipt = optional.get("receipt")
    return Row(
        int(number),
        int(user_id),
        int(seq),
        kind,
        status,
        int(btc),
        int(inr),
        created_at,
        optional.get("executed_at", ""),
        _optional_number(optional, "execution_price"),
        _optional_number(optional, "reverses_id"),
        orjson.loads(receipt) if receipt else None,
        _optional_number(optional, "imported_id"),
        tuple(map(_parsed_leg, legs)),
        chain.digest_of_text(hashed, sorted(legs)),
        _optional_number(optional, "transfer_id"),
        _optional_number(optional, "counterparty_id"),
        _optional_number(optional, "loan_id"),
    )


def _optional_number(optional: dict[str, str], name: str) -> int | None:
    return int(optional[name]) if name in optional else None


def _parsed_leg(text: str) -> Leg:
    owner, account, asset, amount = text.split(SEPARATOR)
    return Leg(account, ASSETS[asset], int(amount), int(owner) if owner else None)
