"""What a trade would do, and the rules for it; nothing here moves anything."""

from typing import Any

from flask import current_app

from bittrade import unit_of_work, wire
from bittrade.domain.money import PLACES, Asset
from bittrade.services import ledger, market, quotes, settings
from bittrade.services.trade.execution import decide, figures, order_limits, refuse_reused_id
from bittrade.services.trade.instruction import Instruction


def preview_trade(user_id: int, instruction: Instruction) -> dict[str, Any]:
    """What `place_trade` would do now, and the balance after it; moves nothing, and raises the same refusals."""
    now = wire.now()
    with unit_of_work.reading() as session:
        held = ledger.read_balance(session, user_id)
        refuse_reused_id(session, user_id, instruction.client_order_id)
        if instruction.quote_id is None:
            basis = market.price_for_trade(session, now)
        else:
            basis = quotes.read(session, user_id, instruction.quote_id, now)
    fill = decide(instruction, basis, held)
    after = ledger.apply(held, fill.entry(user_id), user_id)
    return {**figures(fill, basis, now), "updated_balance": wire.balance(after)}


def get_rules() -> dict[str, Any]:
    """What every order must keep to, and what the house takes."""
    with unit_of_work.reading() as session:
        values = settings.read_all(session)
    multipliers, limits = settings.multipliers(values), order_limits()
    spread_bps = (multipliers.buy - multipliers.sell) * 10_000 // multipliers.buy
    return {
        "order_types": ["market"],
        "min_order_inr": limits.min_inr,
        "max_order_inr": limits.max_inr,
        "inr_places": PLACES[Asset.INR],
        "btc_places": PLACES[Asset.BTC],
        "inr_step": 1,
        "btc_step_satoshis": 1,
        "buy_multiplier": values["buy_multiplier"],
        "sell_multiplier": values["sell_multiplier"],
        "spread_pct": wire.hundredths(spread_bps),
        "max_price_age_ms": current_app.config["MAX_PRICE_AGE_S"] * 1000,
        "quote_lifetime_ms": current_app.config["QUOTE_LIFETIME_S"] * 1000,
        "trading_halted": settings.TRADING_HALTED in values,
    }
