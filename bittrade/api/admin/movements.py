"""Deposits, withdrawals and reversals by staff. What is worth more than one admin may move waits for a second one."""

from decimal import Decimal
from typing import Any

from flask import Blueprint

from bittrade.api.admin.access import BY_LATER_CLIENT, CHANGING, PREFIX
from bittrade.api.admin.answers import DepositedAnswer, MovedAnswer, WaitsAnswer, WithdrawnAnswer
from bittrade.api.admin.schemas import AmountBody, BitcoinBody, CashBody, OptionalReasonBody
from bittrade.api.openapi import documented
from bittrade.api.security import current_user
from bittrade.api.trade import idempotency_key
from bittrade.domain.money import Asset, parse_amount, parse_nearly_satoshis
from bittrade.errors import (
    AlreadyReversed,
    ClientOrderIdReused,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidAmount,
    InvalidIdempotencyKey,
    NotReversible,
    OutcomeUnknown,
    TooBusy,
    TooManyApprovals,
    TransactionNotFound,
    UserNotFound,
)
from bittrade.services.operators import requesting
from bittrade.services.operators.movements import Kind, Movement
from bittrade.services.operators.requesting import Outcome

blueprint = Blueprint("admin_movements", __name__, url_prefix=PREFIX)
MOVING = (
    UserNotFound,
    InvalidAmount,
    InsufficientFunds,
    TooManyApprovals,
    InvalidIdempotencyKey,
    IdempotencyKeyReused,
    ClientOrderIdReused,
    OutcomeUnknown,
    TooBusy,
)


@blueprint.post("/users/<int:user_id>/deposit-cash")
@documented({200: DepositedAnswer, 202: WaitsAnswer}, *MOVING, **CHANGING)
def deposit_cash(user_id: int, json: CashBody) -> Any:
    """Credit an account with rupees; 202 where a second admin has to approve."""
    return _move("deposit", user_id, json, rupees=parse_amount(json.amount, Asset.INR))


@blueprint.post("/users/<int:user_id>/withdraw-cash")
@documented({200: WithdrawnAnswer, 202: WaitsAnswer}, *MOVING, **CHANGING)
def withdraw_cash(user_id: int, json: CashBody) -> Any:
    """Debit an account by rupees; 202 where a second admin has to approve."""
    return _move("withdrawal", user_id, json, rupees=parse_amount(json.amount, Asset.INR))


@blueprint.post("/users/<int:user_id>/deposit-bitcoin")
@documented({200: DepositedAnswer, 202: WaitsAnswer}, *MOVING, **CHANGING)
def deposit_bitcoin(user_id: int, json: BitcoinBody) -> Any:
    """Credit an account with satoshis; 202 where a second admin has to approve."""
    return _move("deposit", user_id, json, satoshis=parse_nearly_satoshis(Decimal(json.amount)))


@blueprint.post("/users/<int:user_id>/withdraw-bitcoin")
@documented({200: WithdrawnAnswer, 202: WaitsAnswer}, *MOVING, **CHANGING)
def withdraw_bitcoin(user_id: int, json: BitcoinBody) -> Any:
    """Debit an account by satoshis; 202 where a second admin has to approve."""
    return _move("withdrawal", user_id, json, satoshis=parse_nearly_satoshis(Decimal(json.amount)))


@blueprint.post("/transactions/<int:transaction_id>/reverse")
@documented(
    {200: MovedAnswer, 202: WaitsAnswer},
    TransactionNotFound,
    NotReversible,
    AlreadyReversed,
    *MOVING,
    **CHANGING,
)
def reverse_transaction(transaction_id: int, json: OptionalReasonBody) -> Any:
    """Post the opposite of a transaction; 202 where a second admin has to approve."""
    return _answer(
        requesting.request_reversal(
            current_user(),
            transaction_id,
            why=json.reason or BY_LATER_CLIENT,
            idempotency_key=idempotency_key(),
        )
    )


def _move(kind: Kind, user_id: int, body: AmountBody, *, rupees: int = 0, satoshis: int = 0) -> Any:
    movement = Movement(kind, user_id, rupees, satoshis, client_order_id=body.client_order_id)
    return _answer(
        requesting.request_movement(
            current_user(),
            movement,
            why=body.reason or BY_LATER_CLIENT,
            idempotency_key=idempotency_key(),
        )
    )


def _answer(outcome: Outcome) -> Any:
    headers = {"Idempotent-Replayed": "true"} if outcome.is_replay else {}
    return outcome.answer, 202 if outcome.is_waiting else 200, headers
