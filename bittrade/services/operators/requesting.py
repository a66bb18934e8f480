"""An admin asks for a movement of money: it is done at once, or waits for a second admin where it is worth more.

Exactly once for one Idempotency-Key: the first answer is kept with the account whose money moves, in the unit of work
that moves it or lets it wait.
"""

import hashlib
from dataclasses import astuple, dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from bittrade import unit_of_work
from bittrade.domain.roles import Role
from bittrade.errors import InvalidInput
from bittrade.models import Transaction, User
from bittrade.services import audit, corrections, idempotency, ledger, trade, user_data
from bittrade.services.identity import Identity, public_user
from bittrade.services.operators import approvals, movements
from bittrade.services.operators.movements import Done, Movement

MAX_REASON = 500
WAITS = "This is worth more than one admin may move. It waits for a second one"
MESSAGES = {"deposit": "Deposited", "withdrawal": "Withdrawn", "reversal": "Transaction reversed"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer, whether it says that the movement waits, and whether it was given before."""

    answer: dict[str, Any]
    is_waiting: bool
    is_replay: bool = False


def request_movement(
    admin: Identity, movement: Movement, *, why: str, idempotency_key: str | None = None
) -> Outcome:
    """Move money, or let it wait for a second admin.

    Raises InvalidInput (no reason), UserNotFound, InsufficientFunds, InvalidAmount, AlreadyReversed,
    ClientOrderIdReused, IdempotencyKeyReused, TooManyApprovals; TokenInvalid where who asks was logged out meanwhile.
    """
    reason = read_reason(why)
    key: dict[str, Any] = {
        "route": f"admin-{movement.kind}",
        "key": idempotency_key,
        "fingerprint": _fingerprint(admin, movement),
    }

    def work(session: Session) -> tuple[Outcome, Done | None]:
        held = ledger.lock_balance(session, movement.user_id)
        first = idempotency.find_first_answer(session, movement.user_id, **key)
        if first is not None:
            return Outcome(first, "approval_id" in first, is_replay=True), None
        outcome, done = _do_or_wait(session, admin, movement, held, reason)
        idempotency.keep_answer(session, movement.user_id, **key, answer=outcome.answer)
        return outcome, done

    outcome, done = unit_of_work.commit_for(movement.user_id, work)
    if done is not None:
        user_data.publish(movement.user_id, done.balance)
    return outcome


def request_reversal(
    admin: Identity, transaction_id: int, *, why: str, idempotency_key: str | None = None
) -> Outcome:
    """Post the opposite of a transaction, or let it wait. Raises TransactionNotFound or NotReversible besides."""
    with unit_of_work.reading() as session:
        opposite = corrections.read_opposite(session, transaction_id)
        row = session.execute(
            sa.select(Transaction.inr_amount, Transaction.btc_amount).where(Transaction.id == transaction_id)
        ).one()
    movement = Movement("reversal", opposite.user_id, row.inr_amount, row.btc_amount, transaction_id)
    return request_movement(admin, movement, why=why, idempotency_key=idempotency_key)


def read_reason(why: str) -> str:
    """Return the reason without space around it. Raises InvalidInput where it says nothing, or too much."""
    reason = audit.read_reason(why)
    if len(reason) > MAX_REASON:
        raise InvalidInput(f"Say why in {MAX_REASON} characters", field="reason")
    return reason


def _do_or_wait(
    session: Session, admin: Identity, movement: Movement, held: dict[str, int], why: str
) -> tuple[Outcome, Done | None]:
    trade.refuse_reused_id(session, movement.user_id, movement.client_order_id)
    value = movements.find_value(session, movement)
    if value is None or value > current_app.config["APPROVAL_ABOVE_INR"]:
        movements.refuse_if_impossible(session, movement, held)
        approval = approvals.open_approval(session, admin, movement, value_inr=value, why=why)
        answer = {"success": True, "message": WAITS, "approval_id": approval["id"], "approval": approval}
        return Outcome(answer, is_waiting=True), None
    done = movements.execute(session, movement, held, why=why)
    return Outcome(_answer(session, movement, done), is_waiting=False), done


def _answer(session: Session, movement: Movement, done: Done) -> dict[str, Any]:
    """What the API's later client reads, and the whole balance."""
    user = session.execute(
        sa.select(User.id, User.email, User.name, User.role).where(User.id == movement.user_id)
    ).one()
    moved = movement.inr or movement.satoshis
    amount = {"deposit": {"depositedAmount": moved}, "withdrawal": {"withdrawnAmount": moved}}
    return {
        "success": True,
        "message": MESSAGES[movement.kind],
        "user": public_user(user.id, user.email, user.name, Role(user.role)),
        **amount.get(movement.kind, {}),
        "newBalance": done.balance["available_inr" if movement.inr else "available_btc"],
        "transaction_id": done.transaction_id,
        "client_order_id": movement.client_order_id,
        "updated_balance": user_data.balance_document(done.balance),
    }


def _fingerprint(admin: Identity, movement: Movement) -> str:
    """Of the meaning of what was asked, and by whom: two admins' keys are not each other's."""
    parts = [admin.user_id, *astuple(movement)]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()
