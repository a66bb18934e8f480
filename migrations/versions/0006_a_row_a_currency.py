"""Deposits and withdrawals are a row for each currency; the history is read by its `seq`.

What moved both currencies becomes two rows, one after the other, and what came after it moves up: see docs/adr/0022.
Each user is done in one transaction, and every step looks before it works: the same upgrade can simply be run again.

The hash chains of whose rows change begin anew: `flask --app wsgi ledger chain`, as after 0005.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from migrations.checks import add_check, drop_check

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CHECK, INDEX = "ck_transactions_type", "ix_transactions_history"
OLD = ("MARKET_BUY", "MARKET_SELL", "DEPOSIT", "WITHDRAWAL", "REVERSAL")
NEW = (
    *("MARKET_BUY", "MARKET_SELL", "DEPOSIT_INR", "DEPOSIT_BTC", "WITHDRAW_INR", "WITHDRAW_BTC"),
    "REVERSAL",
)
PREFIXES = {"DEPOSIT": "DEPOSIT", "WITHDRAWAL": "WITHDRAW"}

transactions = sa.table(
    "transactions",
    *(sa.column(name) for name in ("id", "user_id", "seq", "type", "status", "is_pending", "btc_amount")),
    *(sa.column(name) for name in ("inr_amount", "reverses_id", "created_at", "executed_at")),
)
reversed_ = transactions.alias("reversed")
legs = sa.table("ledger_legs", sa.column("transaction_id"), sa.column("asset"))
balances = sa.table("balances", *(sa.column(name) for name in ("user_id", "seq", "chain", "chain_seq")))
checkpoints = sa.table("ledger_checkpoints", sa.column("user_id"))


def upgrade() -> None:
    drop_check("transactions", CHECK)
    bind = op.get_bind()
    _unchain(bind, (*PREFIXES,))
    of_both = sa.select(transactions.c.user_id).select_from(_joined()).where(_is_of_both()).distinct()
    users = list(bind.scalars(of_both))
    bind.commit()
    for user_id in users:
        _split(bind, user_id)
        bind.commit()
    for old, new in PREFIXES.items():
        is_old = transactions.c.type == old
        for asset, other in (("INR", "btc_amount"), ("BTC", "inr_amount")):
            bind.execute(
                sa.update(transactions)
                .where(is_old, transactions.c[other] == 0)
                .values(type=f"{new}_{asset}")
            )
    bind.commit()
    add_check("transactions", CHECK, _one_of(NEW))
    _index_history_by("seq")


def downgrade() -> None:
    """The old names come back. What was split stays two rows: the history does not change its numbers twice."""
    drop_check("transactions", CHECK)
    bind = op.get_bind()
    _unchain(bind, tuple(f"{new}_{asset}" for new in PREFIXES.values() for asset in ("INR", "BTC")))
    for old, new in PREFIXES.items():
        bind.execute(
            sa.update(transactions)
            .where(transactions.c.type.in_((f"{new}_INR", f"{new}_BTC")))
            .values(type=old)
        )
    bind.commit()
    add_check("transactions", CHECK, _one_of(OLD))
    _index_history_by("id")


def _unchain(bind: sa.Connection, types: tuple[str, ...]) -> None:
    """Forget the chains and checkpoints of whoever has rows of these types: they are about to read otherwise."""
    users = sa.select(transactions.c.user_id).where(transactions.c.type.in_(types))
    bind.execute(sa.update(balances).where(balances.c.user_id.in_(users)).values(chain="", chain_seq=0))
    bind.execute(sa.delete(checkpoints).where(checkpoints.c.user_id.in_(users)))
    bind.commit()


def _one_of(types: tuple[str, ...]) -> str:
    return f"type IN ({', '.join(repr(kind) for kind in types)})"


def _joined() -> Any:
    return transactions.outerjoin(reversed_, reversed_.c.id == transactions.c.reverses_id)


def _is_of_both() -> Any:
    """A deposit or withdrawal of both currencies, or the reversal of one. A trade's reversal stays one row."""
    kind = sa.func.coalesce(reversed_.c.type, transactions.c.type)
    return sa.and_(kind.in_(PREFIXES), transactions.c.inr_amount > 0, transactions.c.btc_amount > 0)


def _split(bind: sa.Connection, user_id: int) -> None:
    """Make two of each row of both currencies: rupees, then bitcoin under the next `seq`."""
    balance = sa.select(balances.c.seq).where(balances.c.user_id == user_id).with_for_update()
    seq = bind.scalar(balance)  # the lock that every posting takes first
    rows = bind.execute(
        sa.select(transactions)
        .select_from(_joined())
        .where(transactions.c.user_id == user_id, _is_of_both())
        .order_by(transactions.c.seq)
    ).all()
    _make_room(bind, user_id, [row.seq for row in rows])
    halves: dict[int, int] = {}
    for number, row in enumerate(rows):
        halves[row.id] = _split_row(bind, row, seq=row.seq + number + 1, halves=halves)
    bind.execute(sa.update(balances).where(balances.c.user_id == user_id).values(seq=seq + len(rows)))


def _make_room(bind: sa.Connection, user_id: int, seqs: list[int]) -> None:
    """Move each row up by the number of splits before it; by way of negative numbers, for a `seq` is unique."""
    mine = transactions.c.user_id == user_id
    for number, (after, until) in enumerate(zip(seqs, [*seqs[1:], None], strict=True), start=1):
        between = transactions.c.seq > after
        if until is not None:
            between = sa.and_(between, transactions.c.seq <= until)
        bind.execute(sa.update(transactions).where(mine, between).values(seq=-(transactions.c.seq + number)))
    bind.execute(sa.update(transactions).where(mine, transactions.c.seq < 0).values(seq=-transactions.c.seq))


def _split_row(bind: sa.Connection, row: Any, *, seq: int, halves: dict[int, int]) -> int:
    """Leave the rupees in a row and give its satoshis, with their legs, to a new one, whose id is returned."""
    prefix = PREFIXES.get(row.type)
    values = {**row._mapping, "seq": seq, "inr_amount": 0}
    del values["id"]
    if prefix is None:
        values["reverses_id"] = halves[row.reverses_id]
    else:
        values["type"] = f"{prefix}_BTC"
    bind.execute(sa.insert(transactions).values(**values))
    mine = (transactions.c.user_id == row.user_id, transactions.c.seq == seq)
    half = bind.scalar(sa.select(transactions.c.id).where(*mine))
    rest = {"btc_amount": 0} if prefix is None else {"btc_amount": 0, "type": f"{prefix}_INR"}
    bind.execute(sa.update(transactions).where(transactions.c.id == row.id).values(**rest))
    bind.execute(
        sa.update(legs).where(legs.c.transaction_id == row.id, legs.c.asset == "BTC").values(transaction_id=half)
    )
    return half


def _index_history_by(last: str) -> None:
    """Replace the history's index; meanwhile uq_transactions_user_id_seq serves the foreign key to the user."""
    inspector = sa.inspect(op.get_bind())
    columns = {index["name"]: index["column_names"] for index in inspector.get_indexes("transactions")}
    wanted = ["user_id", "is_pending", last]
    if columns.get(INDEX) == wanted:
        return
    if INDEX in columns:
        op.drop_index(INDEX, table_name="transactions")
    op.create_index(INDEX, "transactions", wanted)
