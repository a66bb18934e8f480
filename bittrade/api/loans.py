"""Loans against bitcoin: terms, borrowing, repaying, collateral."""

from typing import Any

from flask import Blueprint

from bittrade.api import limits
from bittrade.api.loan_schemas import (
    LoanActionAnswer,
    LoanAmountBody,
    LoanAnswer,
    LoanCollateralBody,
    LoansAnswer,
    LoansQuery,
    LoanStepAnswer,
    LoanTermsAnswer,
    NewLoanBody,
    RepaymentAnswer,
)
from bittrade.api.openapi import documented
from bittrade.api.security import current_user
from bittrade.api.trade import NO_PRICE, idempotency_key
from bittrade.errors import (
    ClientOrderIdReused,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidAmount,
    InvalidIdempotencyKey,
    LoanNotActive,
    LoanNotFound,
    LtvTooHigh,
    OutcomeUnknown,
    TooBusy,
    TooManyLoans,
)
from bittrade.services import loans
from bittrade.services.auth import LOAN, READ
from bittrade.services.loans import Instruction, Step

blueprint = Blueprint("loans", __name__, url_prefix="/api/loans")
TAG = "loans"
MOVING = (
    InsufficientFunds,
    InvalidAmount,
    ClientOrderIdReused,
    InvalidIdempotencyKey,
    IdempotencyKeyReused,
    OutcomeUnknown,
    TooBusy,
)
OF_ONE = (LoanNotFound, LoanNotActive, *MOVING)
PRICED = (LtvTooHigh, *NO_PRICE)
BORROWER: dict[str, Any] = {"needs_token": True, "scope": (LOAN,), "limit": limits.TRADE, "tag": TAG}


@blueprint.get("/terms")
@documented(LoanTermsAnswer, tag=TAG)
def get_terms() -> Any:
    """Return what new loans are made on."""
    return loans.get_terms()


@blueprint.post("")
@documented(LoanActionAnswer, *MOVING, *PRICED, TooManyLoans, status=201, **BORROWER)
def create_loan(json: NewLoanBody) -> Any:
    """Pledge bitcoin and borrow rupees against it. Send an Idempotency-Key header to be able to retry safely."""
    done = loans.create_loan(
        current_user().user_id,
        collateral=json.collateral_btc,
        inr=json.borrow_inr,
        client_order_id=json.client_order_id,
        idempotency_key=idempotency_key(),
    )
    return done.answer, 201, _replayed(done.is_replay)


@blueprint.get("")
@documented(LoansAnswer, needs_token=True, scope=(READ, LOAN), tag=TAG)
def list_loans(query: LoansQuery) -> Any:
    """List the user's loans, newest first."""
    return loans.list_loans(current_user().user_id, status=query.status)


@blueprint.get("/<int:loan_id>")
@documented(LoanAnswer, LoanNotFound, needs_token=True, scope=(READ, LOAN), tag=TAG)
def get_loan(loan_id: int) -> Any:
    """Return one loan with its LTV, its liquidation rate and its interest."""
    return loans.get_loan(current_user().user_id, loan_id)


@blueprint.post("/<int:loan_id>/borrow")
@documented(LoanStepAnswer, *OF_ONE, *PRICED, **BORROWER)
def borrow(loan_id: int, json: LoanAmountBody) -> Any:
    """Borrow more against what is pledged."""
    return _take_step(loan_id, Step.BORROW, json.amount_inr, json.client_order_id)


@blueprint.post("/<int:loan_id>/repay")
@documented(RepaymentAnswer, *OF_ONE, **BORROWER)
def repay(loan_id: int, json: LoanAmountBody) -> Any:
    """Repay, interest first. No more is taken than is owed."""
    return _take_step(loan_id, Step.REPAY, json.amount_inr, json.client_order_id)


@blueprint.post("/<int:loan_id>/add-collateral")
@documented(LoanStepAnswer, *OF_ONE, **BORROWER)
def add_collateral(loan_id: int, json: LoanCollateralBody) -> Any:
    """Pledge more."""
    return _take_step(loan_id, Step.ADD_COLLATERAL, json.collateral_btc, json.client_order_id)


@blueprint.post("/<int:loan_id>/withdraw-collateral")
@documented(LoanStepAnswer, *OF_ONE, *PRICED, **BORROWER)
def withdraw_collateral(loan_id: int, json: LoanCollateralBody) -> Any:
    """Take collateral out, as far as the maximum LTV allows; a loan without debt and collateral is closed."""
    return _take_step(loan_id, Step.WITHDRAW_COLLATERAL, json.collateral_btc, json.client_order_id)


def _take_step(loan_id: int, step: Step, amount: int, client_order_id: str | None) -> Any:
    wanted = Instruction(loan_id, step, amount, client_order_id)
    done = loans.take_step(current_user().user_id, wanted, idempotency_key=idempotency_key())
    return done.answer, 200, _replayed(done.is_replay)


def _replayed(is_replay: bool) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if is_replay else {}
