"""One movement of a user's money by staff: what it is, what it is worth, and how it is posted."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

from bittrade.domain.ledger import AVAILABLE
from bittrade.domain.money import SATOSHIS_PER_BTC, Asset, divide_up
from bittrade.errors import InsufficientFunds
from bittrade.services import corrections, funds, market
from bittrade.services.funds import Funds

Kind = Literal["deposit", "withdrawal", "reversal"]


@dataclass(frozen=True, slots=True)
class Movement:
    """What shall move: so much in or out of an account, or the opposite of one of its transactions.

    Of a reversal `inr` and `satoshis` are what the reversed transaction moved.
    """

    kind: Kind
    user_id: int
    inr: int
    satoshis: int
    reverses_id: int | None = None
    client_order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The transaction that came of it, and the balance after it."""

    transaction_id: int
    balance: dict[str, int]


def find_value(session: Session, movement: Movement) -> int | None:
    """Return what it is worth in rupees at what a buyer pays now; None where bitcoin never had a price."""
    if movement.satoshis == 0:
        return movement.inr
    rates = market.find_rates(session)
    if rates is None:
        return None
    return movement.inr + divide_up(movement.satoshis * rates.buy_inr, SATOSHIS_PER_BTC)


def execute(
    session: Session, movement: Movement, held: dict[str, int], *, why: str, approval_id: int | None = None
) -> Done:
    """Post it in the caller's unit of work, which holds the balance.

    Raises InsufficientFunds, InvalidAmount, AlreadyReversed, NotReversible.
    """
    facts = {"why": why} | ({} if approval_id is None else {"approval_id": approval_id})
    if movement.kind == "reversal":
        opposite = corrections.read_opposite(session, movement.reverses_id or 0)
        posted = corrections.post(session, opposite, held=held, **facts)
        return Done(posted.transaction_id, posted.balance)
    moved = funds.post(
        session,
        movement.user_id,
        Funds(movement.inr, movement.satoshis),
        movement.kind,
        held=held,
        client_order_id=movement.client_order_id,
        **facts,
    )
    return Done(moved.transaction_ids[0], moved.balance)


def refuse_if_impossible(session: Session, movement: Movement, held: dict[str, int]) -> None:
    """Raise now what would be raised when it is executed, as things stand: nobody should have to approve it first."""
    if movement.kind == "reversal":
        corrections.refuse_if_reversed(session, movement.reverses_id or 0)
    if movement.kind == "withdrawal":
        for asset, amount in ((Asset.INR, movement.inr), (Asset.BTC, movement.satoshis)):
            if (available := held[AVAILABLE[asset]]) < amount:
                raise InsufficientFunds(asset=asset.value, required=amount, available=available)
