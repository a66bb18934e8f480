"""Money that comes from outside and goes back there: deposits and withdrawals, made by operators."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.ledger import HOUSE_CUSTODY, Entry, transfer
from bittrade.domain.money import MAX_AMOUNT
from bittrade.errors import InvalidInput
from bittrade.services import audit, ledger, user_data
from bittrade.services.ledger import Posting

Kind = Literal["deposit", "withdrawal"]
TYPES: dict[Kind, str] = {"deposit": "DEPOSIT", "withdrawal": "WITHDRAW"}


@dataclass(frozen=True, slots=True)
class Funds:
    """Rupees and satoshis; neither negative, not both zero."""

    inr: int
    satoshis: int

    def __post_init__(self) -> None:
        if (
            not (0 <= self.inr <= MAX_AMOUNT and 0 <= self.satoshis <= MAX_AMOUNT)
            or self.inr == self.satoshis == 0
        ):
            raise InvalidInput("Say how much: whole rupees, satoshis, or both, above 0")


@dataclass(frozen=True, slots=True)
class Moved:
    """What a deposit or withdrawal came to: the balance after it, and its transactions, rupees first."""

    balance: dict[str, int]
    transaction_ids: list[int]


def deposit(user_id: int, funds: Funds) -> dict[str, int]:
    """Credit a user; the balance afterwards. Raises UserNotFound."""
    return _move(user_id, funds, "deposit")


def withdraw(user_id: int, funds: Funds) -> dict[str, int]:
    """Debit a user; the balance afterwards. Raises UserNotFound or InsufficientFunds."""
    return _move(user_id, funds, "withdrawal")


def post(
    session: Session,
    user_id: int,
    funds: Funds,
    kind: Kind,
    *,
    held: dict[str, int],
    client_order_id: str | None = None,
    **facts: Any,
) -> Moved:
    """Post a transaction for each currency, all or none of them, in the caller's unit of work.

    `held` is what `ledger.lock_balance` returned in it; `facts` go to the audit log. Raises InsufficientFunds.
    """
    balance, now, posted_ids = held, wire.now(), list[int]()
    for currency, entry in _entries(user_id, funds, sign=1 if kind == "deposit" else -1).items():
        posting = Posting(type=f"{TYPES[kind]}_{currency}", client_order_id=client_order_id)
        posted = ledger.post(session, user_id, held=balance, entry=entry, posting=posting, now=now)
        balance, client_order_id = posted.balance, None  # a name is one transaction's
        posted_ids.append(posted.transaction_id)
    audit.record(session, kind, user_id=user_id, inr=funds.inr, satoshis=funds.satoshis, **facts)
    return Moved(balance, posted_ids)


def _move(user_id: int, funds: Funds, kind: Kind) -> dict[str, int]:
    def work(session: Session) -> dict[str, int]:
        held = ledger.lock_balance(session, user_id)
        return post(session, user_id, funds, kind, held=held).balance

    balance = unit_of_work.commit_for(user_id, work)
    user_data.publish(user_id, balance)
    return user_data.balance_document(balance)


def _entries(user_id: int, funds: Funds, *, sign: int) -> dict[str, Entry]:
    entries = {}
    if funds.inr:
        entries["INR"] = transfer(user_id=user_id, house=HOUSE_CUSTODY, inr=sign * funds.inr)
    if funds.satoshis:
        entries["BTC"] = transfer(user_id=user_id, house=HOUSE_CUSTODY, btc=sign * funds.satoshis)
    return entries
