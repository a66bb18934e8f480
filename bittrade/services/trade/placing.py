"""Trading: one unit of work that locks the balance, takes the newest price, and posts what follows.

A trade goes with others (`together`) where that can be, and alone otherwise; either way it fails or succeeds by itself.
"""

from typing import Any

from sqlalchemy.orm import Session

from bittrade import metrics, unit_of_work, wire
from bittrade.errors import BitTradeError, DatabaseUnavailable, OutcomeUnknown, TooBusy
from bittrade.services import audit, idempotency, ledger, market, quotes, user_data
from bittrade.services.ledger import Posted
from bittrade.services.trade import together
from bittrade.services.trade.execution import answer, make_deal, refuse_reused_id
from bittrade.services.trade.instruction import ROUTE, Instruction, Placed
from bittrade.services.trade.together import Wanted


def place_trade(user_id: int, instruction: Instruction, *, idempotency_key: str | None = None) -> Placed:
    """Execute a market order, exactly once for one key.

    Raises InsufficientFunds, InvalidAmount, OrderOutOfRange, RatesUnavailable, PriceUncertain, TradingHalted, PriceMoved,
    the quote's errors, IdempotencyKeyReused, ClientOrderIdReused; TokenInvalid where who asks was logged out meanwhile;
    OutcomeUnknown where the database went away during COMMIT (the same key then tells).
    """
    wanted = Wanted(user_id, instruction, idempotency_key, instruction.fingerprint, audit.origin.get().asker)
    side = instruction.order.action.value
    try:
        with unit_of_work.lane(user_id):
            placed, posted = together.place(wanted) or unit_of_work.commit(
                lambda session: _place_alone(session, wanted)
            )
    except BitTradeError as error:
        metrics.TRADES.count(side, error.code)
        # With these nobody refused it, and there is nothing to write to, or no time.
        if not isinstance(error, DatabaseUnavailable | OutcomeUnknown | TooBusy):
            audit.record_refusal(
                "trade_refused", cause=f"{user_id} {error.code}", user_id=user_id, code=error.code
            )
        raise
    _count(side, placed)
    if posted is not None:
        user_data.publish(user_id, posted.balance)
    return placed


def _count(side: str, placed: Placed) -> None:
    metrics.TRADES.count(side, "replayed" if placed.is_replay else "executed")
    if not placed.is_replay:
        metrics.TRADED_RUPEES.count(side, by=placed.answer["inr_amount"])
        metrics.TRADED_SATOSHIS.count(side, by=placed.answer["btc_amount"])


def _place_alone(session: Session, wanted: Wanted) -> tuple[Placed, Posted | None]:
    user_id, instruction = wanted.user_id, wanted.instruction
    key: dict[str, Any] = {"route": ROUTE, "key": wanted.key, "fingerprint": wanted.fingerprint}
    held = ledger.lock_balance(session, user_id)
    first = idempotency.find_first_answer(session, user_id, **key)
    if first is not None:
        return Placed(first, is_replay=True), None
    now = wire.now()
    refuse_reused_id(session, user_id, instruction.client_order_id)
    if instruction.quote_id is None:
        basis = market.price_for_trade(session, now)
    else:
        basis = quotes.claim(session, user_id, instruction.quote_id, now)
    deal = make_deal(instruction, basis, held, now)
    entry = deal.fill.entry(user_id)
    posted = ledger.post(session, user_id, held=held, entry=entry, posting=deal.posting, now=now)
    told = answer(deal, posted)
    idempotency.keep_answer(session, user_id, **key, answer=told)
    return Placed(told, is_replay=False), posted
