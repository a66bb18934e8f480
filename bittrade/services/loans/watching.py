"""Looking after loans: margin calls and liquidations after each price, interest each day.

However often it runs and wherever it is killed, each step is one unit of work that reads the loan and the price again
behind the lock: what a repayment has just healed is left alone. A price that a trade would refuse endangers nobody.
"""

import logging
import time
from datetime import timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain import loans as rules
from bittrade.domain.loans import CHARGED_EACH, Loan, LoanStatus, Sale
from bittrade.domain.money import Asset
from bittrade.domain.pricing import age_ms
from bittrade.domain.receipt import PriceBasis, Receipt
from bittrade.domain.trading import Action, Order
from bittrade.errors import BitTradeError, LoanNotActive, PriceUncertain, RatesUnavailable, TradingHalted
from bittrade.models import LoanRow
from bittrade.services import audit, ledger, market
from bittrade.services.loans import book
from bittrade.services.loans.book import Changed, OpenLoan

log = logging.getLogger(__name__)
NO_PRICE = (TradingHalted, PriceUncertain, RatesUnavailable)
LOANS_AT_ONCE = 500
CHARGE_FOR_S = 10  # one run: a worker does one thing at a time
CALM_PCT = 5  # so far above the call's rate a price ends it: one that hovers there calls once
_IS_ACTIVE = LoanRow.status == LoanStatus.ACTIVE


def watch() -> tuple[int, int]:
    """Liquidate what the price endangers, the most endangered first, and call who is near it; how many of each."""
    liquidated = _each(_list_endangered(LoanRow.liquidation_rate_inr, "liquidation_ltv_pct"), _liquidate)
    called = _each(
        _list_endangered(LoanRow.call_rate_inr, "call_ltv_pct", LoanRow.margin_called_at.is_(None)), _call
    )
    _each(_list_calm(), _end_call)
    return liquidated, called


def charge_due() -> int:
    """Charge the interest of loans that were not charged for a day, the longest ago first; how many."""
    until = time.monotonic() + CHARGE_FOR_S
    is_due = (_IS_ACTIVE, _OWES, LoanRow.interest_since <= wire.now() - CHARGED_EACH)
    with unit_of_work.reading() as session:
        query = sa.select(LoanRow.id, LoanRow.user_id).where(*is_due).order_by(LoanRow.interest_since)
        found = [(row.id, row.user_id) for row in session.execute(query.limit(LOANS_AT_ONCE))]
    count = 0
    for loan in found:
        if time.monotonic() > until:
            break
        count += _each([loan], _charge)
    return count


def find_late(*, by_s: float) -> int:
    """Return how many loans' interest should have been charged `by_s` seconds ago: nobody charges it."""
    deadline = wire.now() - CHARGED_EACH - timedelta(seconds=by_s)
    is_late = (_IS_ACTIVE, _OWES, LoanRow.interest_since < deadline)
    with unit_of_work.reading() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(LoanRow).where(*is_late)) or 0


_OWES = LoanRow.borrowed_inr + LoanRow.interest_accrued > 0


def _list_endangered(
    watched: Any, threshold: str, *conditions: sa.ColumnElement[bool]
) -> list[tuple[int, int]]:
    """Return ids and users of loans that have reached a threshold, the highest LTV first. One range of an index."""
    with unit_of_work.reading() as session:
        now = wire.now()
        try:
            rate = market.price_for_trade(session, now).rates.sell_inr
        except NO_PRICE:
            return []
        query = book.select_loans(_IS_ACTIVE, watched >= rate, *conditions).order_by(watched.desc())
        rows = [dict(row._mapping) for row in session.execute(query.limit(LOANS_AT_ONCE))]
    reached: list[tuple[Any, int, int]] = []
    for row in rows:
        loan = wire.loan_of(row).charged(now)
        if loan.has_reached(row[threshold], rate):
            danger = loan.ltv_bps(rate)
            reached.append((-(danger or 0), row["id"], row["user_id"]))
    return [(loan_id, user_id) for _, loan_id, user_id in sorted(reached)]


def _list_calm() -> list[tuple[int, int]]:
    """Return the loans under a call that the price has left behind."""
    with unit_of_work.reading() as session:
        try:
            rate = market.price_for_trade(session, wire.now()).rates.sell_inr
        except NO_PRICE:
            return []
        below = rate * 100 // (100 + CALM_PCT)
        is_calm = (_IS_ACTIVE, LoanRow.margin_called_at.is_not(None), LoanRow.call_rate_inr < below)
        query = sa.select(LoanRow.id, LoanRow.user_id).where(*is_calm).limit(LOANS_AT_ONCE)
        return [(row.id, row.user_id) for row in session.execute(query)]


def _each(found: list[tuple[int, int]], do: Any) -> int:
    """Do it to each loan in a unit of work of its own; to how many it was done. One's fault keeps no other waiting."""
    count = 0
    for loan_id, user_id in found:
        try:
            changed = unit_of_work.commit_for(user_id, _work(loan_id, user_id, do))
        except NO_PRICE:
            break  # the price may not be traded on any more
        except LoanNotActive:
            continue  # its owner was quicker
        except (BitTradeError, exc.SQLAlchemyError):
            log.exception("loan %d was not looked after; it is tried again", loan_id)
            continue
        if changed is not None:
            changed.publish()
            count += 1
    return count


def _work(loan_id: int, user_id: int, do: Any) -> Any:
    def work(session: Session) -> Changed | None:
        held = ledger.lock_balance(session, user_id)
        changed: Changed | None = do(OpenLoan.get(session, loan_id, user_id, held=held, now=wire.now()))
        return changed

    return work


def _liquidate(open_loan: OpenLoan) -> Changed | None:
    """Sell just enough, or all, and repay with it; what all of it did not cover is the house's loss."""
    basis = market.price_for_trade(open_loan.session, open_loan.now)
    rate = basis.rates.sell_inr
    sale = open_loan.loan.charged(open_loan.now).find_sale(rate)
    if sale is None:
        return None  # healed meanwhile
    open_loan.charge()
    ltv_bps = open_loan.loan.ltv_bps(rate)
    _sell(open_loan, sale, basis)
    open_loan.pay(open_loan.loan.payment(sale.inr))
    lost = _write_off(open_loan) if sale.is_full else 0
    audit.record(
        open_loan.session,
        "loan_liquidated",
        user_id=open_loan.user_id,
        by_owner=False,
        loan_id=open_loan.row["id"],
        kind=sale.kind,
        satoshis=sale.satoshis,
        inr=sale.inr,
        sell_rate_inr=rate,
        ltv_bps=ltv_bps,
        written_off_inr=lost,
    )
    reason = sale.kind.lower()
    return open_loan.save(reason, ended_as=LoanStatus.LIQUIDATED, margin_called_at=None)


def _sell(open_loan: OpenLoan, sale: Sale, basis: PriceBasis) -> None:
    order = Order(Action.SELL, Asset.BTC, sale.satoshis)
    receipt = Receipt(basis, order, age_ms(basis.as_of, open_loan.now))
    open_loan.post(
        sale.kind,
        rules.sale_entry(open_loan.user_id, sale),
        open_loan.loan.after_sale(sale),
        execution_price=basis.rates.sell_inr,
        receipt=orjson.dumps(receipt.to_json()).decode(),
    )


def _write_off(open_loan: OpenLoan) -> int:
    """Let the house bear what is still owed; the rupees."""
    if not open_loan.loan.owed:
        return 0
    rest = open_loan.loan.payment(open_loan.loan.owed)
    entry = rules.write_off_entry(open_loan.user_id, rest)
    open_loan.post("LOAN_WRITE_OFF", entry, open_loan.loan.after_payment(rest))
    return rest.inr


def _call(open_loan: OpenLoan) -> Changed | None:
    """Tell the owner that the loan is near its liquidation."""
    if open_loan.row["margin_called_at"] is not None or not _is_called(open_loan):
        return None
    audit.record(
        open_loan.session,
        "loan_margin_call",
        user_id=open_loan.user_id,
        by_owner=False,
        loan_id=open_loan.row["id"],
    )
    return open_loan.save("margin_call", margin_called_at=open_loan.now)


def _end_call(open_loan: OpenLoan) -> Changed | None:
    if open_loan.row["margin_called_at"] is None or _is_called(open_loan):
        return None
    return open_loan.save("margin_call_over", margin_called_at=None)


def _is_called(open_loan: OpenLoan) -> bool:
    rate = market.price_for_trade(open_loan.session, open_loan.now).rates.sell_inr
    loan: Loan = open_loan.loan.charged(open_loan.now)
    return loan.has_reached(loan.terms.call_ltv_pct, rate)


def _charge(open_loan: OpenLoan) -> Changed | None:
    if open_loan.loan.since > open_loan.now - CHARGED_EACH:
        return None  # another process, or its owner, was quicker
    open_loan.charge()
    return open_loan.save("interest")
