"""Money that comes from outside and goes back there: deposits and withdrawals, made by operators."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.ledger import HOUSE_CUSTODY, Entry, transfer
from bittrade.domain.money import MAX_AMOUNT
from bittrade.errors import InvalidInput
from bittrade.services import audit, ledger, user_data
from bittrade.services.ledger import Posting


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


def deposit(user_id: int, funds: Funds) -> dict[str, int]:
    """Credit a user; the balance afterwards. Raises UserNotFound."""
    return _move(user_id, funds, "DEPOSIT")


def withdraw(user_id: int, funds: Funds) -> dict[str, int]:
    """Debit a user; the balance afterwards. Raises UserNotFound or InsufficientFunds."""
    return _move(user_id, funds, "WITHDRAW")


def _move(user_id: int, funds: Funds, kind: Literal["DEPOSIT", "WITHDRAW"]) -> dict[str, int]:
    """Post a transaction for each currency, all or none of them."""
    entries = _entries(user_id, funds, sign=1 if kind == "DEPOSIT" else -1)

    def work(session: Session) -> dict[str, int]:
        balance, now = ledger.lock_balance(session, user_id), wire.now()
        for currency, entry in entries.items():
            posting = Posting(type=f"{kind}_{currency}")
            posted = ledger.post(session, user_id, held=balance, entry=entry, posting=posting, now=now)
            balance = posted.balance
        action = "deposit" if kind == "DEPOSIT" else "withdrawal"
        audit.record(session, action, user_id=user_id, inr=funds.inr, satoshis=funds.satoshis)
        return balance

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
