"""Transfers between users: both balances, both histories and the first answer in one unit of work.

Balances are locked in the order of user ids, so two users who send to each other at once never wait in a circle. While
trading is halted nothing is sent: a halt may come from books that do not add up, and then nobody knows whose money it is.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.ledger import HOUSE_TRANSFERS, transfer
from bittrade.domain.money import Asset
from bittrade.domain.transaction_types import TRANSFER_IN, TRANSFER_OUT
from bittrade.errors import RecipientNotFound, SameAccount
from bittrade.models import User
from bittrade.services import audit, idempotency, ledger, market, rights, trade, user_data
from bittrade.services.auth import normalize_email
from bittrade.services.ledger import Posted, Posting

ROUTE = "send-transaction"


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """What a client sends to whom: `amount` is in rupees or satoshis, as `asset` says."""

    recipient_email: str
    asset: Asset
    amount: int
    client_order_id: str | None = None

    @property
    def fingerprint(self) -> str:
        """Return a hash of its meaning: the same e-mail in other letters is the same recipient."""
        email = normalize_email(self.recipient_email)
        return hashlib.sha256(
            orjson.dumps([ROUTE, email, self.asset, self.amount, self.client_order_id])
        ).hexdigest()


@dataclass(frozen=True, slots=True)
class Sent:
    """Both halves, as posted, and whose they are: what to publish."""

    sender: tuple[int, Posted]
    recipient: tuple[int, Posted]

    def publish(self) -> None:
        """Publish both balances and histories."""
        for user_id, posted in (self.sender, self.recipient):
            user_data.publish(user_id, posted.balance)


def send(
    user_id: int, wanted: TransferRequest, *, idempotency_key: str | None = None
) -> tuple[dict[str, Any], bool]:
    """Send rupees or bitcoin to another user, exactly once for one key; the answer, and whether it is a replay.

    Raises RecipientNotFound, SameAccount, InsufficientFunds, InvalidAmount, TradingHalted, ClientOrderIdReused,
    IdempotencyKeyReused; TokenInvalid where who asks was logged out meanwhile; OutcomeUnknown.
    """
    key: dict[str, Any] = {"route": ROUTE, "key": idempotency_key, "fingerprint": wanted.fingerprint}

    def work(session: Session) -> tuple[dict[str, Any], Sent | None]:
        recipient_id = _find_recipient(session, wanted.recipient_email)
        held = ledger.lock_balances(session, {user_id, recipient_id or user_id})
        rights.confirm(session)
        first = idempotency.find_first_answer(session, user_id, **key)
        if first is not None:
            return first, None
        answer, sent = _send(session, user_id, recipient_id, wanted, held)
        idempotency.keep_answer(session, user_id, **key, answer=answer)
        return answer, sent

    answer, sent = unit_of_work.commit_for(user_id, work)
    if sent is not None:
        sent.publish()
    return answer, sent is None


def _find_recipient(session: Session, email: str) -> int | None:
    normalized = normalize_email(email)
    if normalized is None:
        return None
    known = (User.email_normalized == normalized, User.disabled_at.is_(None))
    return session.scalar(sa.select(User.id).where(*known))


def _send(
    session: Session,
    user_id: int,
    recipient_id: int | None,
    wanted: TransferRequest,
    held: dict[int, dict[str, int]],
) -> tuple[dict[str, Any], Sent]:
    """Post both halves. Who the e-mail belongs to is read again: it may have changed while this waited for the locks."""
    if recipient_id is None or _find_recipient(session, wanted.recipient_email) != recipient_id:
        raise RecipientNotFound()
    if recipient_id == user_id:
        raise SameAccount()
    market.refuse_if_halted(session)
    trade.refuse_reused_id(session, user_id, wanted.client_order_id)
    users = {
        row.id: row
        for row in session.execute(
            sa.select(User.id, User.name, User.email).where(User.id.in_((user_id, recipient_id)))
        )
    }
    sent = _post(session, users[user_id], users[recipient_id], wanted, held)
    mine, theirs = sent.sender[1], sent.recipient[1]
    facts: dict[str, Any] = {"currency": wanted.asset.value.lower(), "amount": wanted.amount}
    audit.record(
        session,
        "transfer_sent",
        user_id=user_id,
        transaction_id=mine.transaction_id,
        to=recipient_id,
        **facts,
    )
    audit.record(
        session,
        "transfer_received",
        user_id=recipient_id,
        by_owner=False,
        transaction_id=theirs.transaction_id,
        sender=users[user_id].name,
        **facts,
    )
    return _answer(wanted, users[recipient_id], sent), sent


def _post(
    session: Session, sender: Any, recipient: Any, wanted: TransferRequest, held: dict[int, dict[str, int]]
) -> Sent:
    inr, btc = (wanted.amount, 0) if wanted.asset is Asset.INR else (0, wanted.amount)
    now = wire.now()
    mine = ledger.post(
        session,
        sender.id,
        held=held[sender.id],
        entry=transfer(user_id=sender.id, house=HOUSE_TRANSFERS, inr=-inr, btc=-btc),
        posting=Posting(
            type=TRANSFER_OUT,
            client_order_id=wanted.client_order_id,
            counterparty_id=recipient.id,
            counterparty_name=recipient.name,
        ),
        now=now,
    )
    theirs = ledger.post(
        session,
        recipient.id,
        held=held[recipient.id],
        entry=transfer(user_id=recipient.id, house=HOUSE_TRANSFERS, inr=inr, btc=btc),
        posting=Posting(
            type=TRANSFER_IN,
            transfer_id=mine.transaction_id,
            counterparty_id=sender.id,
            counterparty_name=sender.name,
        ),
        now=now,
    )
    return Sent((sender.id, mine), (recipient.id, theirs))


def _answer(wanted: TransferRequest, recipient: Any, sent: Sent) -> dict[str, Any]:
    mine, theirs = sent.sender[1], sent.recipient[1]
    is_inr = wanted.asset is Asset.INR
    return {
        "message": "Transfer completed",
        "recipient": {"name": recipient.name, "email": recipient.email},
        "amount": wanted.amount,
        "currency": wanted.asset.value.lower(),
        "inr_amount": wanted.amount if is_inr else 0,
        "btc_amount": 0 if is_inr else wanted.amount,
        "senderTransactionId": mine.transaction_id,
        "recipientTransactionId": theirs.transaction_id,
        "client_order_id": wanted.client_order_id,
        "timestamp": wire.timestamp(mine.at),
        "seq": mine.balance["seq"],
        "updated_balance": user_data.balance_document(mine.balance),
    }
