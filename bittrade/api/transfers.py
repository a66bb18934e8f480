"""Transfers: sending rupees or bitcoin to another user."""

from typing import Any

from flask import Blueprint

from bittrade.api import limits
from bittrade.api.openapi import documented
from bittrade.api.schemas import TransferAnswer, TransferBody
from bittrade.api.security import current_user
from bittrade.api.trade import idempotency_key
from bittrade.domain.money import Asset, parse_amount
from bittrade.errors import (
    ClientOrderIdReused,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidAmount,
    InvalidCurrency,
    InvalidIdempotencyKey,
    OutcomeUnknown,
    RecipientNotFound,
    SameAccount,
    TooBusy,
    TradingHalted,
)
from bittrade.services import transfers
from bittrade.services.auth import TRANSFER
from bittrade.services.transfers import TransferRequest

blueprint = Blueprint("transfers", __name__, url_prefix="/api")


@blueprint.post("/send-transaction")
@documented(
    TransferAnswer,
    RecipientNotFound,
    SameAccount,
    InsufficientFunds,
    InvalidAmount,
    InvalidCurrency,
    TradingHalted,
    ClientOrderIdReused,
    InvalidIdempotencyKey,
    IdempotencyKeyReused,
    OutcomeUnknown,
    TooBusy,
    needs_token=True,
    scope=(TRANSFER,),
    limit=limits.TRANSFER,
    tag="transfers",
)
def send(json: TransferBody) -> Any:
    """Send rupees or bitcoin to another user, at once and for good. Send an Idempotency-Key header to retry safely."""
    answer, is_replay = transfers.send(current_user().user_id, parse(json), idempotency_key=idempotency_key())
    return answer, 200, {"Idempotent-Replayed": "true"} if is_replay else {}


def parse(body: TransferBody) -> TransferRequest:
    """Read a transfer's body. Raises the child of InvalidInput that names what is wrong."""
    asset = Asset(body.currency.upper())
    return TransferRequest(
        body.recipient_email, asset, parse_amount(body.amount, asset), body.client_order_id
    )
