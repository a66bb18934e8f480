"""What users do with loans: each one unit of work under the lock of their balance, exactly once for one key.

Interest is charged before anything else. What needs a price is refused where a trade would be: to borrow, and to take
collateral out of a loan with a debt. To repay and to pledge more needs none, and is always possible.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain import loans as rules
from bittrade.domain.loans import Loan, LoanStatus
from bittrade.domain.transaction_types import LOAN_CREATE
from bittrade.errors import TooManyLoans
from bittrade.models import LoanRow
from bittrade.services import audit, idempotency, ledger, market, settings, trade, user_data
from bittrade.services.ledger import Posting
from bittrade.services.loans import book
from bittrade.services.loans.book import Changed, OpenLoan

ROUTE = "loans"
MAX_LOANS = 20  # active ones of a user


class Step(StrEnum):
    """What can be done to a loan; also the last part of its route."""

    BORROW = "borrow"
    REPAY = "repay"
    ADD_COLLATERAL = "add-collateral"
    WITHDRAW_COLLATERAL = "withdraw-collateral"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One step: rupees to borrow or repay, satoshis to pledge or take out."""

    loan_id: int
    step: Step
    amount: int
    client_order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The answer, and whether the same key was answered before."""

    answer: dict[str, Any]
    is_replay: bool


def create_loan(
    user_id: int,
    *,
    collateral: int,
    inr: int,
    client_order_id: str | None = None,
    idempotency_key: str | None = None,
) -> Done:
    """Pledge satoshis and borrow rupees against them.

    Raises LtvTooHigh, InsufficientFunds, TooManyLoans, the reasons for which there is no price to trade on,
    ClientOrderIdReused, IdempotencyKeyReused; OutcomeUnknown where the database went away during COMMIT.
    """

    def work(session: Session, held: dict[str, int]) -> tuple[Changed, dict[str, Any]]:
        return _create(session, user_id, held, collateral, inr, client_order_id)

    meaning = ["create", collateral, inr, client_order_id]
    return _once(user_id, meaning, work, key=idempotency_key, route=ROUTE)


def take_step(user_id: int, wanted: Instruction, *, idempotency_key: str | None = None) -> Done:
    """Borrow more, repay, pledge more or take collateral out.

    Raises what `create_loan` does, LoanNotFound and LoanNotActive; InvalidAmount where nothing is owed or pledged.
    """

    def work(session: Session, held: dict[str, int]) -> tuple[Changed, dict[str, Any]]:
        trade.refuse_reused_id(session, user_id, wanted.client_order_id)
        open_loan = OpenLoan.get(session, wanted.loan_id, user_id, held=held, now=wire.now())
        charged = open_loan.charge()
        facts = _STEPS[wanted.step](open_loan, wanted)
        audit.record(
            session,
            f"loan_{wanted.step.replace('-', '_')}",
            user_id=user_id,
            loan_id=wanted.loan_id,
            amount=wanted.amount,
        )
        changed = open_loan.save(wanted.step.replace("-", "_"), **_calm(open_loan))
        return changed, {**facts, "interest_charged_inr": charged}

    meaning = [wanted.step, wanted.loan_id, wanted.amount, wanted.client_order_id]
    return _once(user_id, meaning, work, key=idempotency_key, route=f"{ROUTE}/{wanted.step}")


def _once(
    user_id: int,
    meaning: list[Any],
    act: Callable[[Session, dict[str, int]], tuple[Changed, dict[str, Any]]],
    *,
    key: str | None,
    route: str,
) -> Done:
    """Do it in one unit of work, keep the first answer of a key, and publish what changed."""
    fingerprint = hashlib.sha256(orjson.dumps([ROUTE, *meaning])).hexdigest()
    known: dict[str, Any] = {"route": route, "key": key, "fingerprint": fingerprint}

    def work(session: Session) -> tuple[dict[str, Any], Changed | None]:
        held = ledger.lock_balance(session, user_id)
        first = idempotency.find_first_answer(session, user_id, **known)
        if first is not None:
            return first, None
        changed, facts = act(session, held)
        balance = user_data.balance_document(changed.balance)
        answer = {**changed.loan, **facts, "seq": balance["seq"], "updated_balance": balance}
        idempotency.keep_answer(session, user_id, **known, answer=answer)
        return answer, changed

    answer, changed = unit_of_work.commit_for(user_id, work)
    if changed is not None:
        changed.publish()
    return Done(answer, is_replay=changed is None)


def _create(
    session: Session,
    user_id: int,
    held: dict[str, int],
    collateral: int,
    inr: int,
    client_order_id: str | None,
) -> tuple[Changed, dict[str, Any]]:
    now = wire.now()
    trade.refuse_reused_id(session, user_id, client_order_id)
    rate = market.price_for_trade(session, now).rates.sell_inr
    terms = settings.loan_terms(settings.read_all(session))
    loan = Loan(terms, now).with_collateral(collateral).with_borrowed(inr, rate)
    mine = (LoanRow.user_id == user_id, LoanRow.status == LoanStatus.ACTIVE)
    if (session.scalar(sa.select(sa.func.count()).select_from(LoanRow).where(*mine)) or 0) >= MAX_LOANS:
        raise TooManyLoans(max_loans=MAX_LOANS)
    entry = rules.pledge_entry(user_id, collateral) + rules.borrow_entry(user_id, inr)
    posting = Posting(type=LOAN_CREATE, client_order_id=client_order_id)
    posted = ledger.post(session, user_id, held=held, entry=entry, posting=posting, now=now)
    row = book.add(session, user_id, posted, loan)
    audit.record(session, "loan_created", user_id=user_id, loan_id=row["id"], collateral=collateral, inr=inr)
    changed = Changed(user_id, book.show(session, row, now), posted.balance, "created")
    return changed, _named(posted.transaction_id, client_order_id)


def _named(transaction_id: int, client_order_id: str | None) -> dict[str, Any]:
    return {"transactionId": transaction_id, "client_order_id": client_order_id}


def _borrow(open_loan: OpenLoan, wanted: Instruction) -> dict[str, Any]:
    rate = market.price_for_trade(open_loan.session, open_loan.now).rates.sell_inr
    after = open_loan.loan.with_borrowed(wanted.amount, rate)
    entry = rules.borrow_entry(open_loan.user_id, wanted.amount)
    return _post(open_loan, "LOAN_BORROW", entry, after, wanted)


def _repay(open_loan: OpenLoan, wanted: Instruction) -> dict[str, Any]:
    """Repay what is owed at most: nobody can know it to the rupee while interest accrues."""
    paid = open_loan.loan.payment(wanted.amount)
    posted = open_loan.pay(paid, client_order_id=wanted.client_order_id)
    figures = {
        "repaid_inr": paid.inr,
        "interest_paid_inr": paid.interest,
        "principal_paid_inr": paid.principal,
    }
    return {**_named(posted.transaction_id, wanted.client_order_id), **figures}


def _add_collateral(open_loan: OpenLoan, wanted: Instruction) -> dict[str, Any]:
    after = open_loan.loan.with_collateral(wanted.amount)
    entry = rules.pledge_entry(open_loan.user_id, wanted.amount)
    return _post(open_loan, "LOAN_ADD_COLLATERAL", entry, after, wanted)


def _withdraw_collateral(open_loan: OpenLoan, wanted: Instruction) -> dict[str, Any]:
    rate = None
    if open_loan.loan.owed:
        rate = market.price_for_trade(open_loan.session, open_loan.now).rates.sell_inr
    after = open_loan.loan.without_collateral(wanted.amount, rate)
    entry = rules.return_entry(open_loan.user_id, wanted.amount)
    return _post(open_loan, "LOAN_WITHDRAW_COLLATERAL", entry, after, wanted)


_STEPS: dict[Step, Callable[[OpenLoan, Instruction], dict[str, Any]]] = {
    Step.BORROW: _borrow,
    Step.REPAY: _repay,
    Step.ADD_COLLATERAL: _add_collateral,
    Step.WITHDRAW_COLLATERAL: _withdraw_collateral,
}


def _post(open_loan: OpenLoan, kind: str, entry: Any, after: Loan, wanted: Instruction) -> dict[str, Any]:
    posted = open_loan.post(kind, entry, after, client_order_id=wanted.client_order_id)
    return _named(posted.transaction_id, wanted.client_order_id)


def _calm(open_loan: OpenLoan) -> dict[str, Any]:
    """End a margin call that what was done has answered."""
    rate = market.find_sell_rate(open_loan.session)
    if rate is None or open_loan.loan.has_reached(open_loan.loan.terms.call_ltv_pct, rate):
        return {}
    return {"margin_called_at": None}
