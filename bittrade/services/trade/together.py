"""Trades that commit together: what arrives while a commit is under way shares the next transaction (docs/adr/0039).

Only the plain case goes this way, on MariaDB, without waiting for a lock and without a retry. Whatever else happens
(somebody holds the user's row, a quote, a deadlock, a connection that died) makes the trade go alone, as if it had never
been here: nothing of it was written. Each trade of a batch is another user's, fails or succeeds by itself, and is
acknowledged after the COMMIT.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from flask import current_app

from bittrade import messages, metrics, unit_of_work, wire
from bittrade.database import Meaning, meaning_of
from bittrade.errors import (
    BitTradeError,
    ClientOrderIdReused,
    DatabaseUnavailable,
    OutcomeUnknown,
)
from bittrade.extensions import db
from bittrade.group_commit import GroupCommit
from bittrade.messages import CommitFailed, Insert, Query, Transaction
from bittrade.models import IdempotencyKey
from bittrade.models import Transaction as TransactionRow
from bittrade.services import idempotency, ledger, market, rights, settings
from bittrade.services.identity import Identity
from bittrade.services.ledger import Held, Posted, Prepared
from bittrade.services.trade.execution import Deal, answer, make_deal
from bittrade.services.trade.instruction import ROUTE, Instruction, Placed

log = logging.getLogger(__name__)
AT_MOST = 64
# Who waited so long for a server that does not answer has no time to ask it again, alone.
SLOW_S = 1
_PAIRS: sa.BindParameter[Any] = sa.bindparam("pairs", expanding=True)
_KEYS = Query(
    sa.select(
        IdempotencyKey.user_id, IdempotencyKey.key, IdempotencyKey.fingerprint, IdempotencyKey.answer
    ).where(
        IdempotencyKey.route == sa.literal_column(f"'{ROUTE}'"),
        sa.tuple_(IdempotencyKey.user_id, IdempotencyKey.key).in_(_PAIRS),
    )
)
_ORDER_IDS = Query(
    sa.select(TransactionRow.user_id, TransactionRow.client_order_id, TransactionRow.id).where(
        sa.tuple_(TransactionRow.user_id, TransactionRow.client_order_id).in_(_PAIRS)
    )
)
_SETTINGS = Query(settings.every_setting())
_PRICE = Query(market.newest_price())
_KEEP = Insert(
    IdempotencyKey.__table__,
    ("user_id", "route", "key", "fingerprint", "answer", "created_at"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A trade that was asked for; `asker` is whose token or key asked."""

    user_id: int
    instruction: Instruction
    key: str | None
    fingerprint: str
    asker: Identity | None


Done = tuple[Placed, Posted | None]
Outcome = Done | BitTradeError | None  # None: it has to go alone


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the database says under the locks."""

    held: dict[int, Held]
    rights: set[tuple[int, str | int]]
    answers: dict[tuple[int, str], Any]
    order_ids: dict[tuple[int, str], int]
    settings: dict[str, str]
    price: Any


def place(wanted: Wanted) -> Done | None:
    """Execute a trade together with others; None where it has to go alone. The caller holds the user's lane.

    Raises what a trade raises.
    """
    if wanted.instruction.quote_id is not None or not _is_possible():
        return None
    outcome = _group().run(wanted)
    if isinstance(outcome, BitTradeError):
        raise outcome
    return outcome


def _is_possible() -> bool:
    return bool(getattr(db.engine.dialect, "is_mariadb", False)) and unit_of_work.is_schema_known()


def _group() -> GroupCommit[Wanted, Outcome]:
    group: GroupCommit[Wanted, Outcome] = current_app.extensions.setdefault(
        "bittrade_trades_together", GroupCommit(_execute, at_most=AT_MOST)
    )
    return group


def _execute(several: list[Wanted]) -> Sequence[Outcome]:
    """One transaction for all; each one's outcome, in their order."""
    began, batch = time.monotonic(), _Batch(several)
    try:
        with messages.transaction(messages.plain_engine("bittrade_trades", size=1)) as transaction:
            batch.run(transaction)
        return batch.outcomes
    except CommitFailed as failure:
        log.warning(
            "database: what became of %d trades is unknown: %s", len(batch.pending), failure.__cause__
        )
        metrics.UNKNOWN_OUTCOMES.count(by=len(batch.pending))
        return batch.when_unknown()
    except Exception as error:
        meaning = meaning_of(error)
        log.warning(
            "database: %d trades go alone: %s", len(several), meaning.name, exc_info=meaning is Meaning.BUG
        )
        if messages.is_lost(error) or isinstance(error, messages.NotFit):
            messages.plain_engine("bittrade_trades", size=1).dispose()
        if time.monotonic() - began > SLOW_S:
            return [DatabaseUnavailable(retry_after_s=1) for _ in several]
        return [None] * len(several)


class _Batch:
    """Trades of different users, and what became of each."""

    def __init__(self, several: list[Wanted]) -> None:
        self._several = several
        self.outcomes: list[Outcome] = [None] * len(several)
        self.pending: dict[int, _Pending] = {}  # by place: what is to be posted

    def run(self, transaction: Transaction) -> None:
        """Read, decide, write and commit. Until that has returned, nothing that moves money is true."""
        facts, now = _read(transaction, self._several), wire.now()
        for place, wanted in enumerate(self._several):
            try:
                decided = _decide(wanted, facts, now)
            except BitTradeError as refusal:
                self.outcomes[place] = refusal
                continue
            if isinstance(decided, _Pending):
                self.pending[place] = decided
            elif decided is not None:
                self.outcomes[place] = decided, None
        if self.pending:
            self._post(transaction, facts.held, now)

    def _post(self, transaction: Transaction, held: dict[int, Held], now: datetime) -> None:
        prepared = [pending.prepared for pending in self.pending.values()]
        posted = ledger.insert_together(transaction, prepared, now=now)
        statements = list(ledger.post_together(transaction, prepared, posted, held))
        keys = []
        for (place, pending), one in zip(self.pending.items(), posted, strict=True):
            wanted = self._several[place]
            told = answer(pending.deal, one)
            if wanted.key is not None:
                keys.append(
                    idempotency.row_of(
                        wanted.user_id,
                        route=ROUTE,
                        key=wanted.key,
                        fingerprint=wanted.fingerprint,
                        answer=told,
                    )
                )
            self.outcomes[place] = Placed(told, is_replay=False), one
        if keys:
            statements.append(_KEEP.write(transaction, keys))
        transaction.commit(statements)
        unit_of_work.writes().committed_at = time.monotonic()

    def when_unknown(self) -> list[Outcome]:
        """What to say where nobody knows whether the COMMIT was done: what posts nothing is as true as before."""
        return [
            OutcomeUnknown(retry_after_s=1) if place in self.pending else outcome
            for place, outcome in enumerate(self.outcomes)
        ]


@dataclass(frozen=True, slots=True)
class _Pending:
    deal: Deal
    prepared: Prepared


def _read(transaction: Transaction, several: list[Wanted]) -> _Facts:
    keys = [(wanted.user_id, wanted.key) for wanted in several if wanted.key is not None]
    order_ids = [
        (wanted.user_id, wanted.instruction.client_order_id)
        for wanted in several
        if wanted.instruction.client_order_id is not None
    ]
    balances, people, sessions, api_keys, answers, reused, values, prices = transaction.ask(
        *ledger.locks(wanted.user_id for wanted in several),
        *rights.of_several(wanted.asker for wanted in several),
        (_KEYS, {"pairs": keys}),
        (_ORDER_IDS, {"pairs": order_ids}),
        (_SETTINGS, {}),
        (_PRICE, {}),
    )
    return _Facts(
        held=ledger.read_locks(balances, people),
        rights=rights.read_several(sessions, api_keys),
        answers={(row.user_id, row.key): row for row in answers},
        order_ids={(row.user_id, row.client_order_id): row.id for row in reused},
        settings=settings.with_defaults(values),
        price=prices[0] if prices else None,
    )


def _decide(wanted: Wanted, facts: _Facts, now: datetime) -> Placed | _Pending | None:
    """What a trade alone does behind its lock, in the same order. Raises what a trade raises."""
    user_id, instruction = wanted.user_id, wanted.instruction
    if user_id not in facts.held:
        return None
    rights.confirm_in(facts.rights, wanted.asker)
    if wanted.key is not None and (first := facts.answers.get((user_id, wanted.key))) is not None:
        return Placed(idempotency.read_answer(first, wanted.fingerprint), is_replay=True)
    if instruction.client_order_id is not None:
        known = facts.order_ids.get((user_id, instruction.client_order_id))
        if known is not None:
            raise ClientOrderIdReused(transaction_id=known)
    held = facts.held[user_id].balance
    deal = make_deal(instruction, market.judge(facts.settings, facts.price, now), held, now)
    entry = deal.fill.entry(user_id)
    return _Pending(deal, ledger.prepare(user_id, held=held, entry=entry, posting=deal.posting, now=now))
