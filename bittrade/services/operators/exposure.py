"""What the house holds and owes, and what it gained by trading, at the current rates."""

from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work
from bittrade.domain.ledger import HOUSE_ACCOUNTS, HOUSE_CUSTODY, HOUSE_TRADING
from bittrade.domain.money import SATOSHIS_PER_BTC, Asset, divide_half_up
from bittrade.domain.pricing import Rates
from bittrade.models import LedgerLeg
from bittrade.services import market
from bittrade.services.operators import figures


def get_exposure() -> dict[str, Any]:
    """Return the house's accounts, what it owes its customers, and its gain by trading.

    `custody` is what came in from outside and is still here. `net` is that less what customers own, and what trading has
    brought: it is short of bitcoin where customers bought. The unrealised gain values that at what closing it would cost:
    bitcoin that is owed at the rate for sellers, bitcoin that is left over at the rate for buyers.
    """
    with unit_of_work.reading() as session:
        accounts, totals = _read_accounts(session), figures.read_totals(session)
        rates = market.find_rates(session)
    trading = accounts[HOUSE_TRADING]
    owed_inr = totals["total_available_inr"] + totals["total_reserved_inr"]
    owed_btc = totals["total_available_btc"] + totals["total_reserved_btc"] + totals["total_collateral_btc"]
    return {
        "accounts": accounts,
        "custody": _opposite(accounts[HOUSE_CUSTODY]),
        "owed_to_customers": {"inr": owed_inr, "btc": owed_btc},
        "lent_to_customers": {
            "inr": totals["total_borrowed_inr"] + totals["total_interest_accrued"],
            "collateral_btc": totals["total_collateral_btc"],
        },
        "trading_position": trading,
        "buy_rate_inr": None if rates is None else rates.buy_inr,
        "sell_rate_inr": None if rates is None else rates.sell_inr,
        "unrealised_gain_inr": None if rates is None else trading["inr"] + _worth(trading["btc"], rates),
    }


def _read_accounts(session: Session) -> dict[str, dict[str, int]]:
    """Each house account's rupees and satoshis. The house's legs are only ever inserted and summed."""
    query = (
        sa.select(LedgerLeg.account, LedgerLeg.asset, sa.func.sum(LedgerLeg.amount))
        .where(LedgerLeg.user_id.is_(None))
        .group_by(LedgerLeg.account, LedgerLeg.asset)
    )
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for account, asset, amount in session.execute(query):
        sums[account, asset] = int(amount)
    return {name: {"inr": sums[name, Asset.INR], "btc": sums[name, Asset.BTC]} for name in HOUSE_ACCOUNTS}


def _opposite(amounts: dict[str, int]) -> dict[str, int]:
    return {asset: -amount for asset, amount in amounts.items()}


def _worth(satoshis: int, rates: Rates) -> int:
    rate = rates.sell_inr if satoshis < 0 else rates.buy_inr
    worth = divide_half_up(abs(satoshis) * rate, SATOSHIS_PER_BTC)
    return -worth if satoshis < 0 else worth
