"""Reading the books for the proof: bounded ranges of transactions with their legs, as one text each.

A text a transaction is what makes millions of rows cheap to fetch; it is also what the hash chain is made of.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session

from bittrade.domain import chain
from bittrade.domain.ledger import Leg
from bittrade.domain.money import Asset
from bittrade.domain.proof import Row
from bittrade.models import LedgerLeg, Transaction

ASSETS = {asset.value: asset for asset in Asset}
MAX_LEGS_BYTES = 2**20  # of one transaction; MySQL cuts GROUP_CONCAT at 1024 otherwise


class _Joined(sa.sql.functions.GenericFunction[str]):
    """Columns as one text, separated."""

    type = sa.String()
    inherit_cache = True
    name = "concat_ws"


@compiles(_Joined, "sqlite")
def _join_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    separator, *parts = [compiler.process(part, **options) for part in element.clauses]
    return "(" + f" || {separator} || ".join(parts) + ")"


class _Grouped(sa.sql.functions.GenericFunction[str]):
    """A group's texts as one."""

    type = sa.String()
    inherit_cache = True
    name = "group_concat"


@compiles(_Grouped, "mysql", "mariadb")
def _group_on_mysql(element: Any, compiler: Any, **options: Any) -> str:
    text, separator = element.clauses
    return f"GROUP_CONCAT({compiler.process(text, **options)} SEPARATOR '{separator.value}')"


def _text(column: Any) -> sa.ColumnElement[str]:
    return sa.func.coalesce(sa.cast(column, sa.String), "")


def _joined(columns: Iterable[Any]) -> Any:
    return _Joined(chain.SEPARATOR, *map(_text, columns))


_LEG = _joined((LedgerLeg.user_id, LedgerLeg.account, LedgerLeg.asset, LedgerLeg.amount))
_TRANSACTIONS = (
    sa.select(
        _joined(getattr(Transaction, name) for name in chain.COLUMNS),
        # NULL is left out: what was imported has no legs.
        _Grouped(sa.case((LedgerLeg.id.is_not(None), _LEG)), sa.literal(chain.LEG_SEPARATOR)),
    )
    .select_from(Transaction)
    .outerjoin(LedgerLeg, LedgerLeg.transaction_id == Transaction.id)
    .group_by(Transaction.id)
)


def read_rows(session: Session, condition: sa.ColumnElement[bool]) -> list[tuple[str, str | None]]:
    """Return the transactions for which `condition` holds: the text of the columns, and of the legs."""
    return [tuple(row) for row in session.execute(_TRANSACTIONS.where(condition))]


def parse(texts: Iterable[tuple[str, str | None]]) -> Iterator[Row | str]:
    """Make rows of texts; a fault where one cannot be read."""
    for columns, legs in texts:
        try:
            yield _row(columns.split(chain.SEPARATOR), legs.split(chain.LEG_SEPARATOR) if legs else [])
        except (ValueError, KeyError):
            yield f"transaction {columns.split(chain.SEPARATOR)[0]}: it cannot be read"


def _row(columns: list[str], legs: list[str]) -> Row:
    if len(columns) != len(chain.COLUMNS):
        raise ValueError("a column holds the separator")
    number, user_id, seq, kind, status, btc, inr, created_at, executed_at, price, reverses_id, *rest = columns
    _, receipt, _, imported_id, _, transfer_id, counterparty_id, _, loan_id = rest
    parts = (leg.split(chain.SEPARATOR) for leg in legs)
    return Row(
        int(number),
        int(user_id),
        int(seq),
        kind,
        status,
        int(btc),
        int(inr),
        created_at,
        executed_at,
        int(price) if price else None,
        int(reverses_id) if reverses_id else None,
        orjson.loads(receipt) if receipt else None,
        int(imported_id) if imported_id else None,
        tuple(
            Leg(account, ASSETS[asset], int(amount), int(owner) if owner else None)
            for owner, account, asset, amount in parts
        ),
        chain.digest(columns, legs),
        int(transfer_id) if transfer_id else None,
        int(counterparty_id) if counterparty_id else None,
        int(loan_id) if loan_id else None,
    )
