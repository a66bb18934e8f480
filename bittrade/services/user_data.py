"""A user's own view: balance and history. Cached answers are served only at the `seq` that the database holds now."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import broadcast, cache, replica, unit_of_work, wire
from bittrade.domain.receipt import Receipt
from bittrade.errors import NoReceipt, TransactionNotFound
from bittrade.models import Balance, Transaction
from bittrade.services import history, ledger
from bittrade.services.history import EVERYTHING, Filter

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
MAX_SEQ = 2**63 - 1  # what a BIGINT holds
SEQS_AT_ONCE = 500
LATEST = 15  # transactions in a socket's update
# One more than the default page, so that a cached page also knows whether there is a next one.
_CACHED_ROWS = DEFAULT_LIMIT + 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a socket gets when it authenticates."""

    balance: dict[str, Any]
    transactions: list[dict[str, Any]]


def get_balance(user_id: int, seq: int) -> dict[str, Any]:
    """The seven accounts and `seq`, no older than `seq`. Raises UserNotFound."""
    held = cache.get_for(cache.user_balance_key(user_id), seq)
    if held is not None:
        return {**held, "cached": True}
    with unit_of_work.reading() as session:
        balance = balance_document(ledger.read_balance(session, user_id))
    cache.put_for(cache.user_balance_key(user_id), balance["seq"], balance, cache.USER_BALANCE_TTL_S)
    return {**balance, "cached": False}


def list_transactions(
    user_id: int, seq: int, *, limit: int, page: int = 1, wanted: Filter = EVERYTHING
) -> dict[str, Any]:
    """One page of the history, PENDING first, then newest; no older than `seq`.

    `next_before_id` is the cursor of the next page: with it the thousandth page costs what the first does. Pages by
    cursor hold what is settled; what is PENDING stands on the first page.
    """
    # Clients ask for the first page of an empty history many times a second: nothing has to be read for that.
    rows, cached = _page(user_id, seq, limit=limit, page=page, wanted=wanted) if seq else ([], False)
    has_more = len(rows) > limit
    rows = rows[:limit]
    return {
        "transactions": [{**row, "cached": cached} for row in rows],
        "page": page,
        "limit": limit,
        "hasMore": has_more,
        "next_before_id": rows[-1]["id"] if has_more else None,
        "next_after_id": None,
    }


def list_ascending(
    user_id: int, seq: int, *, limit: int, after_id: int | None, wanted: Filter = EVERYTHING
) -> dict[str, Any]:
    """One page of what is settled, oldest first and no older than `seq`.

    `next_after_id` is always there: what comes later follows it.
    """
    rows = replica.read_own(
        user_id,
        seq,
        lambda session: history.read_newer(
            session, user_id, limit=limit + 1, after_id=after_id, wanted=wanted
        ),
    )
    shown = rows[:limit]
    return {
        "transactions": [{**row, "cached": False} for row in shown],
        "page": 1,
        "limit": limit,
        "hasMore": len(rows) > limit,
        "next_before_id": None,
        "next_after_id": shown[-1]["id"] if shown else after_id or 0,
    }


def get_transaction(user_id: int, transaction_id: int) -> dict[str, Any]:
    """One transaction of this user. Raises TransactionNotFound."""
    with unit_of_work.reading() as session:
        return {**wire.transaction(_get_row(session, user_id, transaction_id)), "cached": False}


def get_receipt(user_id: int, transaction_id: int) -> dict[str, Any]:
    """Where a trade's price came from, and whether its figures follow from it. Raises TransactionNotFound or NoReceipt."""
    with unit_of_work.reading() as session:
        row = _get_row(session, user_id, transaction_id)
    if row.receipt is None:
        raise NoReceipt()
    receipt = Receipt.from_json(orjson.loads(row.receipt))
    return {
        "transaction_id": row.id,
        "order_id": row.order_id,
        **wire.receipt(receipt),
        "recomputed": ledger.is_receipt_right(row),
    }


def snapshot(user_id: int) -> Snapshot:
    """Balance, and the latest transactions of the moment it was read. Raises UserNotFound."""
    return _read_snapshot(user_id)


def _read_snapshot(user_id: int) -> Snapshot:
    with unit_of_work.reading() as session:
        balance = balance_document(ledger.read_balance(session, user_id))
        rows = history.read_latest(session, user_id, limit=LATEST)
    known = [row for row in rows if row["seq"] <= balance["seq"]]  # a trade may have come between the two
    return Snapshot(balance, [{**row, "cached": False} for row in known])


def find_seqs(user_ids: Collection[int]) -> dict[int, int]:
    """How far each of these users' books have come. Any number of users, asked for in bounded queries."""
    wanted, found = sorted(user_ids), dict[int, int]()
    if not wanted:
        return found
    with unit_of_work.reading() as session:
        for start in range(0, len(wanted), SEQS_AT_ONCE):
            some = wanted[start : start + SEQS_AT_ONCE]
            query = sa.select(Balance.user_id, Balance.seq).where(Balance.user_id.in_(some))
            found |= dict(session.execute(query).all())
    return found


def publish(user_id: int, balance: dict[str, int]) -> None:
    """After a commit: fill the cache and tell the user's sockets. `balance` holds the seven accounts and `seq`."""
    document = balance_document(balance)
    listens = cache.put_for_and_see(
        cache.user_balance_key(user_id),
        balance["seq"],
        document,
        cache.USER_BALANCE_TTL_S,
        mark=cache.user_listens_key(user_id),
    )
    if listens is False:
        return  # no process has a socket of this user (docs/adr/0038); where Redis lost that, the sockets' upkeep tells
    broadcast.balance_changed(user_id, document)
    broadcast.transactions_changed(user_id, lambda: _latest(user_id))


def note_listeners(user_ids: Collection[int]) -> None:
    """Let every process know that these users have sockets here; to be said again before USER_LISTENS_TTL_S."""
    cache.mark(map(cache.user_listens_key, user_ids), cache.USER_LISTENS_TTL_S)


def find_listeners(user_ids: Collection[int]) -> set[int]:
    """Return those of these users of whom some process may have a socket: all of them while Redis is away."""
    users = list(user_ids)
    marked = cache.are_marked(map(cache.user_listens_key, users))
    return (
        set(users)
        if marked is None
        else {user for user, listens in zip(users, marked, strict=True) if listens}
    )


def _latest(user_id: int) -> tuple[list[dict[str, Any]], int]:
    """Return the newest transactions as sockets get them, and the `seq` that they are true of."""
    held = _read_snapshot(user_id)
    return held.transactions, held.balance["seq"]


def read_between(session: Session, user_id: int, *, after: int, until: int) -> list[dict[str, Any]]:
    """The transactions with after < seq ≤ until, oldest first. Their number is for the caller to bound."""
    query = history.select_rows(
        Transaction.user_id == user_id, Transaction.seq > after, Transaction.seq <= until
    )
    return [wire.transaction(row) for row in session.execute(query.order_by(Transaction.seq))]


def balance_document(row: dict[str, int]) -> dict[str, Any]:
    return {**wire.balance(row), "seq": row["seq"]}


def _page(
    user_id: int, seq: int, *, limit: int, page: int, wanted: Filter
) -> tuple[list[dict[str, Any]], bool]:
    """Up to limit + 1 rows from the page's start, and whether they came from the cache."""
    is_cacheable = page == 1 and limit < _CACHED_ROWS and wanted == EVERYTHING
    if not is_cacheable:
        rows = replica.read_own(
            user_id,
            seq,
            lambda session: history.read_rows(
                session, user_id, limit=limit + 1, offset=(page - 1) * limit, wanted=wanted
            ),
        )
        return rows, False
    key = cache.user_transactions_key(user_id)
    held = cache.get_for(key, seq)
    if held is not None:
        return held[: limit + 1], True

    def read(session: Session) -> tuple[int, list[dict[str, Any]]]:
        # The seq is read before the rows: a trade between the two makes the rows newer than they claim, never older.
        seen = ledger.read_balance(session, user_id)["seq"]
        return seen, history.read_rows(session, user_id, limit=_CACHED_ROWS)

    seen, rows = replica.read_own(user_id, seq, read)
    cache.put_for(key, seen, rows, cache.USER_TRANSACTIONS_TTL_S)
    return rows[: limit + 1], False


def _get_row(session: Session, user_id: int, transaction_id: int) -> Any:
    if transaction_id > MAX_SEQ:
        raise TransactionNotFound()  # no column holds it: SQLite's driver would not even ask
    row = session.execute(
        history.select_rows(Transaction.id == transaction_id, Transaction.user_id == user_id).add_columns(
            Transaction.receipt
        )
    ).first()
    if row is None:
        raise TransactionNotFound()
    return row
