"""What a user's bitcoin cost and gained, folded from the ledger (FIFO; see `domain/portfolio.py`).

The fold is kept in the cache with the `seq` it reached, and carried on from there: what was once true of the first n
movements stays true, because the ledger is append-only.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import cache, replica, wire
from bittrade.domain.ledger import BALANCE_ACCOUNTS, OWNED_ACCOUNTS
from bittrade.domain.money import SATOSHIS_PER_BTC, Asset, divide_down
from bittrade.domain.portfolio import Portfolio
from bittrade.errors import NoData
from bittrade.models import LedgerLeg, Transaction
from bittrade.services import ledger, market

METHOD = "FIFO"


def get_portfolio(user_id: int, seq: int) -> dict[str, Any]:
    """Holdings, average cost, realised and unrealised gain, no older than `seq`; valued at what BitTrade pays now.

    Raises UserNotFound.
    """
    key = cache.user_portfolio_key(user_id)
    held = cache.get(key)
    folded = held["seq"] if held is not None else 0

    def read(session: Session) -> tuple[Portfolio, dict[str, int], bool]:
        portfolio = Portfolio.from_json(held["value"]) if held is not None else Portfolio()
        balance = ledger.read_balance(session, user_id)
        is_new = folded < balance["seq"]
        if is_new:
            _carry_on(session, user_id, portfolio, after=folded, up_to=balance["seq"])
        if folded > balance["seq"] or portfolio.satoshis != _satoshis_of(balance):
            # Kept from another life of this database, before a backup was restored: fold anew.
            portfolio, is_new = Portfolio(), True
            _carry_on(session, user_id, portfolio, after=0, up_to=balance["seq"])
        return portfolio, balance, is_new

    portfolio, balance, is_new = replica.read_own(user_id, max(seq, folded), read)
    if is_new:
        cache.put_for(key, balance["seq"], portfolio.to_json(), cache.USER_TRANSACTIONS_TTL_S)
    return {**_document(portfolio), **wire.balance(balance), "seq": balance["seq"]}


def _satoshis_of(balance: dict[str, int]) -> int:
    return balance["available_btc"] + balance["reserved_btc"] + balance["collateral_btc"]


def _carry_on(session: Session, user_id: int, portfolio: Portfolio, *, after: int, up_to: int) -> None:
    """Apply the movements that made the balance what it was when it was read, and none that came since."""
    wanted = sa.and_(Transaction.user_id == user_id, Transaction.seq > after, Transaction.seq <= up_to)
    for movement in session.execute(_movements().where(wanted), execution_options={"yield_per": 1000}):
        portfolio.apply(inr=int(movement.inr), satoshis=int(movement.btc))


def _movements() -> sa.Select[int, int, int]:
    """Each transaction's change of the user's rupees and satoshis, in their order."""

    def change(asset: Asset) -> sa.ColumnElement[int]:
        # What is reserved or pledged is still the user's: setting it aside is no movement.
        owned = [account for account in OWNED_ACCOUNTS if BALANCE_ACCOUNTS[account] is asset]
        is_it = sa.and_(LedgerLeg.account.in_(owned), LedgerLeg.user_id == Transaction.user_id)
        return sa.func.coalesce(sa.func.sum(sa.case((is_it, LedgerLeg.amount))), 0)

    return (
        sa.select(Transaction.seq, change(Asset.INR).label("inr"), change(Asset.BTC).label("btc"))
        .join(LedgerLeg, LedgerLeg.transaction_id == Transaction.id)
        .group_by(Transaction.user_id, Transaction.seq)
        .order_by(Transaction.seq)
    )


def _document(portfolio: Portfolio) -> dict[str, Any]:
    sell_rate, freshness = _valuation()
    value = None if sell_rate is None else divide_down(portfolio.satoshis * sell_rate, SATOSHIS_PER_BTC)
    return {
        "method": METHOD,
        "holdings_btc": portfolio.satoshis,
        "holdings_btc_with_cost": portfolio.satoshis_with_cost,
        "cost_inr": portfolio.cost_inr,
        "average_cost_inr": portfolio.average_cost_inr,
        "value_inr": value,
        "realised_gain_inr": portfolio.realised_gain_inr,
        "unrealised_gain_inr": None if sell_rate is None else portfolio.unrealised_gain_inr(sell_rate),
        "proceeds_without_cost_inr": portfolio.proceeds_without_cost_inr,
        "sell_rate_inr": sell_rate,
        **freshness,
    }


def _valuation() -> tuple[int | None, dict[str, Any]]:
    """The rate to value at, and how fresh it is; nothing before the first price."""
    try:
        rates = market.get_rates()
    except NoData:
        return None, {"as_of": None, "age_ms": None, "stale": True}
    return rates["sell_rate_inr"], {key: rates[key] for key in ("as_of", "age_ms", "stale")}
