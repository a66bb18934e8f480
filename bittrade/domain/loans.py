"""Loans against bitcoin: interest, loan-to-value, and how much a liquidation sells. Pure: rates and times are arguments.

A loan's debt is what was borrowed and the interest charged so far. Interest accrues by the second on the debt, in
micro-rupees, and is charged in whole rupees, rounded up; what that rounding took in advance is credited (`micro` below
zero), so that however often it is charged, all charges together are never a rupee more than the interest. LTV is debt ÷
collateral at the rate for sellers. Rules from the API contract, "Loans against bitcoin".
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bittrade.domain.ledger import (
    COLLATERAL,
    HOUSE_LENDING,
    HOUSE_LOSSES,
    HOUSE_TRADING,
    Entry,
    Leg,
    move,
    owe,
    transfer,
)
from bittrade.domain.money import MAX_AMOUNT, SATOSHIS_PER_BTC, Asset, divide_down, divide_up
from bittrade.errors import InvalidAmount, InvalidInput, LtvTooHigh

MICRO = 1_000_000
YEAR_S = 365 * 24 * 3600
BPS = 10_000
# debt × this ≥ collateral × rate × percent  is  LTV ≥ percent
_PERCENT = SATOSHIS_PER_BTC * 100
MAX_LTV_PCT = 95
MAX_YEARLY_RATE_BPS = 10 * BPS
# Loans are charged each day. A watched rate leaves room for the interest of some days more, so that it errs early.
CHARGED_EACH = timedelta(days=1)
_WATCHED_AHEAD = timedelta(days=7)
_MAX_RATE = 2**63 - 1  # what a BIGINT holds
_MAX_STEPS = 10_000


class LoanStatus(StrEnum):
    """ACTIVE becomes one of the others when nothing is owed and nothing pledged any more."""

    ACTIVE = "ACTIVE"
    CLOSED = "CLOSED"
    LIQUIDATED = "LIQUIDATED"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a loan is made on; it keeps them, whatever the settings become."""

    max_ltv_pct: int
    call_ltv_pct: int
    liquidation_ltv_pct: int
    yearly_rate_bps: int

    def __post_init__(self) -> None:
        if not 0 < self.max_ltv_pct < self.call_ltv_pct < self.liquidation_ltv_pct <= MAX_LTV_PCT:
            raise InvalidInput(
                f"A loan's LTVs rise from the maximum over the call to the liquidation, and end at {MAX_LTV_PCT} %"
            )
        if not 0 <= self.yearly_rate_bps <= MAX_YEARLY_RATE_BPS:
            raise InvalidInput(f"A loan's yearly rate is from 0 to {MAX_YEARLY_RATE_BPS} basis points")


@dataclass(frozen=True, slots=True)
class Sale:
    """What a liquidation sells, and what it brings."""

    satoshis: int
    inr: int
    is_full: bool

    @property
    def kind(self) -> str:
        """Return what the history calls it."""
        return "FULL_LIQUIDATION" if self.is_full else "PARTIAL_LIQUIDATION"


@dataclass(frozen=True, slots=True)
class Payment:
    """A repayment, interest first."""

    interest: int
    principal: int

    @property
    def inr(self) -> int:
        """Return the whole of it."""
        return self.interest + self.principal


@dataclass(frozen=True, slots=True)
class Loan:
    """A loan at a moment. Rupees and satoshis; `micro` is the interest up to `since` that was not charged."""

    terms: Terms
    since: datetime
    collateral: int = 0
    borrowed: int = 0
    interest: int = 0
    micro: int = 0

    @property
    def owed(self) -> int:
        """Return what was borrowed and charged."""
        return self.borrowed + self.interest

    @property
    def is_over(self) -> bool:
        """Return whether nothing is owed and nothing pledged."""
        return not self.owed and not self.collateral

    # --- interest

    def uncharged_micro(self, now: datetime) -> int:
        """Return the interest up to now that was not charged, in micro-rupees; below zero where it is paid ahead."""
        return self.micro + self._accrued(self._seconds(now))

    def due(self, now: datetime) -> int:
        """Return the whole rupees, rounded up, that a charge takes now."""
        return divide_up(max(0, self.uncharged_micro(now)), MICRO)

    def charged(self, now: datetime) -> "Loan":
        """Return the loan with its interest charged up to the last whole second."""
        rupees = self.due(now)
        return replace(
            self,
            since=self.since + timedelta(seconds=self._seconds(now)),
            interest=self.interest + rupees,
            micro=self.uncharged_micro(now) - rupees * MICRO,
        )

    def _seconds(self, now: datetime) -> int:
        return max(0, (now - self.since) // timedelta(seconds=1))

    def _accrued(self, seconds: int) -> int:
        return divide_up(self.owed * self.terms.yearly_rate_bps * seconds * MICRO, BPS * YEAR_S)

    # --- how much it is worth

    def ltv_bps(self, rate: int) -> int | None:
        """Return the LTV in basis points, rounded up; None where nothing is pledged."""
        worth = self.collateral * rate
        return divide_up(self.owed * SATOSHIS_PER_BTC * BPS, worth) if worth else None

    def is_within(self, percent: int, rate: int) -> bool:
        """Return whether the LTV is at most this."""
        return self.owed * _PERCENT <= self.collateral * rate * percent

    def has_reached(self, percent: int, rate: int) -> bool:
        """Return whether the LTV is at least this; a loan without debt never has."""
        return self.owed > 0 and self.owed * _PERCENT >= self.collateral * rate * percent

    def rate_at(self, percent: int) -> int | None:
        """Return the highest rate at which the LTV is at least this; None where no rate decides it."""
        if not self.owed or not self.collateral:
            return None
        return divide_down(self.owed * _PERCENT, self.collateral * percent)

    def watched_rate(self, percent: int) -> int:
        """Return a rate from which on the loan is looked at: not below `rate_at`, for some days to come."""
        ahead = replace(self, interest=self.interest + 2 + self._days_ahead() // MICRO)
        return min(_MAX_RATE, ahead.rate_at(percent) or 0) if self.owed else 0

    def _days_ahead(self) -> int:
        return self._accrued(int(_WATCHED_AHEAD.total_seconds()))

    def room(self, rate: int) -> int:
        """Return the rupees that can still be borrowed."""
        return max(0, divide_down(self.collateral * rate * self.terms.max_ltv_pct, _PERCENT) - self.owed)

    # --- what is done to it

    def with_borrowed(self, inr: int, rate: int) -> "Loan":
        """Return the loan with more borrowed. Raises LtvTooHigh."""
        return replace(self, borrowed=self.borrowed + inr)._checked(rate)

    def with_collateral(self, satoshis: int) -> "Loan":
        """Return the loan with more pledged. Raises InvalidAmount beyond all bitcoin."""
        if self.collateral + satoshis > MAX_AMOUNT:
            raise InvalidAmount("Invalid amount. Too large")
        return replace(self, collateral=self.collateral + satoshis)

    def without_collateral(self, satoshis: int, rate: int | None) -> "Loan":
        """Return the loan with less pledged; only without debt is no rate needed. Raises InvalidAmount or LtvTooHigh."""
        if satoshis > self.collateral:
            raise InvalidAmount(f"Invalid amount. Only {self.collateral} satoshis are pledged")
        less = replace(self, collateral=self.collateral - satoshis)
        return less if not less.owed else less._checked(rate or 0)

    def payment(self, inr: int) -> Payment:
        """Return how so many rupees are used: for interest first, and never more than is owed. Raises InvalidAmount."""
        if not self.owed:
            raise InvalidAmount("Invalid amount. Nothing is owed")
        interest = min(inr, self.interest)
        return Payment(interest, min(inr - interest, self.borrowed))

    def after_payment(self, paid: Payment) -> "Loan":
        """Return the loan after a payment."""
        return replace(self, interest=self.interest - paid.interest, borrowed=self.borrowed - paid.principal)

    def after_sale(self, sale: Sale) -> "Loan":
        """Return the loan after collateral was sold; what that brought is still to be paid in."""
        return replace(self, collateral=self.collateral - sale.satoshis)

    def _checked(self, rate: int) -> "Loan":
        if self.borrowed > MAX_AMOUNT:
            raise InvalidAmount("Invalid amount. Too large")
        if not self.is_within(self.terms.max_ltv_pct, rate):
            raise LtvTooHigh(ltv_bps=self.ltv_bps(rate), max_ltv_pct=self.terms.max_ltv_pct)
        return self

    def find_sale(self, rate: int) -> Sale | None:
        """Return what has to be sold at this rate: just enough to be back at the maximum LTV, or all.

        None below the liquidation threshold, and where the collateral would not bring a rupee.
        """
        if not self.has_reached(self.terms.liquidation_ltv_pct, rate):
            return None
        whole = Sale(self.collateral, divide_down(self.collateral * rate, SATOSHIS_PER_BTC), is_full=True)
        if whole.inr == 0:
            return None
        return self._smallest_sale(rate) or whole

    def _smallest_sale(self, rate: int) -> Sale | None:
        """Return the smallest sale that brings the LTV back; None where only the whole would do."""
        percent = self.terms.max_ltv_pct
        excess = self.owed * _PERCENT - self.collateral * rate * percent
        inr = max(
            1, divide_up(excess, _PERCENT - SATOSHIS_PER_BTC * percent)
        )  # with no rounding: a lower bound
        for _ in range(_MAX_STEPS):
            satoshis = divide_up(inr * SATOSHIS_PER_BTC, rate)
            sale = Sale(satoshis, divide_down(satoshis * rate, SATOSHIS_PER_BTC), is_full=False)
            if satoshis >= self.collateral or sale.inr >= self.owed:
                return None
            if self.after_sale(sale).after_payment(self.payment(sale.inr)).is_within(percent, rate):
                return sale
            inr = sale.inr + 1
        return None


# --- what moves in the books --------------------------------------------------------------------------------------


def pledge_entry(user_id: int, satoshis: int) -> Entry:
    """Return the movement of pledging bitcoin."""
    return move(user_id=user_id, source="available_btc", target=COLLATERAL, amount=satoshis)


def return_entry(user_id: int, satoshis: int) -> Entry:
    """Return the movement of getting it back."""
    return move(user_id=user_id, source=COLLATERAL, target="available_btc", amount=satoshis)


def borrow_entry(user_id: int, inr: int) -> Entry:
    """Return the movement of lending: rupees to the user, who owes them from then on."""
    paid_out = transfer(user_id=user_id, house=HOUSE_LENDING, inr=inr)
    return paid_out + owe(user_id=user_id, account="borrowed_inr", amount=inr)


def interest_entry(user_id: int, inr: int) -> Entry:
    """Return the movement of charging interest."""
    return owe(user_id=user_id, account="interest_accrued", amount=inr)


def payment_entry(user_id: int, paid: Payment) -> Entry:
    """Return the movement of a repayment."""
    return transfer(user_id=user_id, house=HOUSE_LENDING, inr=-paid.inr) + _relief(user_id, paid)


def sale_entry(user_id: int, sale: Sale) -> Entry:
    """Return the movement of selling collateral: what it brings is the user's, and paid in by the next movement."""
    sold = Entry(
        (
            Leg(COLLATERAL, Asset.BTC, -sale.satoshis, user_id),
            Leg(HOUSE_TRADING, Asset.BTC, sale.satoshis),
        )
    )
    return sold + transfer(user_id=user_id, house=HOUSE_TRADING, inr=sale.inr)


def write_off_entry(user_id: int, rest: Payment) -> Entry:
    """Return the movement of a debt that nothing secures any more: the house's loss."""
    lost = Entry((Leg(HOUSE_LENDING, Asset.INR, rest.inr), Leg(HOUSE_LOSSES, Asset.INR, -rest.inr)))
    return lost + _relief(user_id, rest)


def _relief(user_id: int, paid: Payment) -> Entry:
    """Return the movement that lowers what a user owes."""
    legs: list[Leg] = []
    for account, amount in (("interest_accrued", paid.interest), ("borrowed_inr", paid.principal)):
        if amount:
            legs += owe(user_id=user_id, account=account, amount=-amount).legs
    return Entry(tuple(legs))
