"""Loans: interest to the micro-rupee, LTV, what a liquidation sells, and that nothing is ever created or lost."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bittrade.domain import loans as rules
from bittrade.domain.ledger import BALANCE_ACCOUNTS, Entry
from bittrade.domain.loans import MICRO, YEAR_S, Loan, Payment, Terms
from bittrade.domain.money import Asset
from bittrade.domain.orders import LimitOrder
from bittrade.domain.pricing import Rates
from bittrade.domain.trading import Action, Order, fill
from bittrade.domain.transaction_types import TYPES
from bittrade.errors import BitTradeError, InvalidAmount, InvalidInput, LtvTooHigh

TERMS = Terms(50, 70, 80, 1200)
START = datetime(2026, 1, 1, tzinfo=UTC)
RATE = 3_960_000
USER = 7


def loan(collateral: int = 10_000_000, borrowed: int = 198_000, **more: int) -> Loan:
    return Loan(TERMS, START, collateral, borrowed, **more)


def after(**time: float) -> datetime:
    return START + timedelta(**time)


# --- interest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "micro", "due"),
    [
        ({"seconds": 0}, 0, 0),
        ({"seconds": 0.999}, 0, 0),
        ({"seconds": 1}, 381, 1),  # 100,000 × 12 % / 31,536,000 s is 380.5 micro-rupees
        ({"days": 1}, 32_876_713, 33),
        ({"days": 365}, 12_000 * MICRO, 12_000),
    ],
)
def test_interest_accrues_by_the_second_and_is_charged_rounded_up(
    time: dict[str, float], micro: int, due: int
) -> None:
    lent = loan(borrowed=100_000)
    assert (lent.uncharged_micro(after(**time)), lent.due(after(**time))) == (micro, due)


def test_what_rounding_took_in_advance_is_credited() -> None:
    lent = loan(borrowed=100_000).charged(after(seconds=1))
    assert (lent.interest, lent.micro) == (1, 381 - MICRO)
    assert lent.due(after(minutes=40)) == 0
    assert lent.due(after(minutes=50)) == 1


def test_a_clock_that_goes_back_charges_nothing() -> None:
    lent = loan().charged(after(days=-3))
    assert (lent.interest, lent.since) == (0, START)


@given(
    st.integers(1, 10**12),
    st.integers(0, 100_000),
    st.lists(st.floats(0, 10**6, allow_nan=False), max_size=8),
)
def test_law_however_often_it_is_charged_it_is_the_interest_and_less_than_a_rupee_more(
    borrowed: int, bps: int, pauses: list[float]
) -> None:
    """Charges while nothing is repaid compound, so each stretch is compared with the exact interest on its debt."""
    lent, now, exact = Loan(Terms(50, 70, 80, bps), START, 0, borrowed), START, Fraction()
    for pause in pauses:
        now += timedelta(seconds=pause)
        seconds = (now - lent.since) // timedelta(seconds=1)
        exact += Fraction(lent.owed * bps * seconds * MICRO, 10_000 * YEAR_S)
        lent = lent.charged(now)
        taken = lent.interest * MICRO + lent.micro  # what is charged, less what is credited
        assert exact <= taken < exact + len(pauses) + 1  # a micro-rupee a charge at most
        assert -MICRO < lent.micro <= 0
        assert timedelta(0) <= now - lent.since < timedelta(seconds=1)


# --- LTV ----------------------------------------------------------------------------------------------------------


def test_ltv_and_the_rates_at_which_something_happens() -> None:
    assert loan().ltv_bps(RATE) == 5000
    assert (loan().rate_at(70), loan().rate_at(80), loan().room(RATE)) == (2_828_571, 2_475_000, 0)
    assert (loan(borrowed=0).rate_at(80), loan(collateral=0).rate_at(80)) == (None, None)
    assert loan(collateral=0).ltv_bps(RATE) is None
    assert loan(borrowed=100_000).room(RATE) == 98_000


@given(st.integers(1, 10**16), st.integers(1, 10**14), st.integers(1, 95))
def test_law_the_rate_at_a_threshold_is_the_highest_that_reaches_it(
    collateral: int, borrowed: int, percent: int
) -> None:
    lent = loan(collateral, borrowed)
    rate = lent.rate_at(percent) or 0
    assert not lent.has_reached(percent, rate + 1)
    assert rate == 0 or lent.has_reached(percent, rate)
    assert lent.watched_rate(percent) >= min(rate, 2**63 - 1)
    for time in ({"days": 1}, {"days": 2}):
        later = lent.charged(after(**time))
        assert lent.watched_rate(percent) >= min(later.rate_at(percent) or 0, 2**63 - 1)


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(1, 10**9))
def test_law_all_that_can_be_borrowed_and_no_rupee_more(collateral: int, room: int, rate: int) -> None:
    lent = loan(collateral, 0)
    assume(lent.room(rate) > 0)
    full = lent.with_borrowed(min(room, lent.room(rate)), rate)
    assert full.is_within(50, rate)
    with pytest.raises(LtvTooHigh):
        full.with_borrowed(full.room(rate) + 1, rate)


def test_collateral_is_given_back_as_far_as_the_debt_allows() -> None:
    lent = loan(borrowed=99_000)
    assert lent.without_collateral(5_000_000, RATE).collateral == 5_000_000
    with pytest.raises(LtvTooHigh):
        lent.without_collateral(5_000_001, RATE)
    with pytest.raises(InvalidAmount):
        loan(borrowed=0).without_collateral(10_000_001, None)
    assert loan(borrowed=0).without_collateral(10_000_000, None).is_over


def test_a_payment_goes_to_the_interest_first_and_never_beyond_what_is_owed() -> None:
    lent = loan(borrowed=1000, interest=30)
    assert lent.payment(20) == Payment(20, 0)
    assert lent.payment(100) == Payment(30, 70)
    assert lent.payment(10**9) == Payment(30, 1000)
    with pytest.raises(InvalidAmount):
        loan(borrowed=0).payment(1)


@pytest.mark.parametrize(
    "terms", [(0, 70, 80, 1), (70, 70, 80, 1), (50, 80, 80, 1), (50, 70, 96, 1), (50, 70, 80, -1)]
)
def test_terms_rise_and_leave_the_house_a_margin(terms: tuple[int, int, int, int]) -> None:
    with pytest.raises(InvalidInput):
        Terms(*terms)


# --- liquidation --------------------------------------------------------------------------------------------------


def test_nothing_is_sold_before_the_threshold() -> None:
    assert loan().find_sale(2_475_001) is None
    assert loan().find_sale(2_475_000) is not None
    assert loan(borrowed=0).find_sale(1) is None


def test_collateral_that_brings_no_rupee_is_not_sold() -> None:
    assert loan(collateral=1, borrowed=5).find_sale(RATE) is None
    assert loan(collateral=0, borrowed=5).find_sale(RATE) is None


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(1, 10**9))
def test_law_a_liquidation_sells_just_enough_or_all(collateral: int, borrowed: int, rate: int) -> None:
    lent = loan(collateral, borrowed)
    sale = lent.find_sale(rate)
    if sale is None:
        assert not lent.has_reached(80, rate) or collateral * rate < 10**8
        return
    assert sale.inr == collateral * rate // 10**8 if sale.is_full else 0 < sale.satoshis < collateral
    assert sale.inr == sale.satoshis * rate // 10**8 > 0
    healed = lent.after_sale(sale).after_payment(lent.payment(sale.inr))
    if sale.is_full:
        return
    assert healed.is_within(50, rate)
    # A rupee's worth less would not have been enough, but for what rounding moves.
    step = -(-(10**8) // rate) + 1
    if sale.satoshis > 2 * step and rate <= 10**8:
        less = rules.Sale(sale.satoshis - 2 * step, (sale.satoshis - 2 * step) * rate // 10**8, is_full=False)
        assert not lent.after_sale(less).after_payment(Payment(0, less.inr)).is_within(50, rate)


# --- everything together ------------------------------------------------------------------------------------------


class House:
    """One user with orders and a loan, and the books behind: what the services do, without a database."""

    def __init__(self) -> None:
        self.books: Counter[tuple[int | None, str]] = Counter()
        self.books[USER, "available_inr"], self.books[USER, "available_btc"] = 1_000_000, 100_000_000
        self.rupees: Counter[str] = Counter()
        self.satoshis: Counter[str] = Counter()
        self.loan: Loan | None = None
        self.orders: list[LimitOrder] = []
        self.rate, self.now = RATE, START

    def post(self, kind: str, entry: Entry) -> None:
        """Post it as the ledger would: of its type, and no account of the user's below zero."""
        assert list(TYPES[kind].faults(entry.legs, USER)) == [], kind
        books = self.books.copy()
        for leg in entry.legs:
            books[leg.user_id, leg.account] += leg.amount
        if any(amount < 0 for (user_id, _), amount in books.items() if user_id == USER):
            raise InvalidAmount()
        self.books = books
        for leg in entry.legs:
            moved = self.rupees if leg.asset is Asset.INR else self.satoshis
            moved[f"{leg.user_id} {leg.account}"] += leg.amount

    def charge(self) -> None:
        assert self.loan is not None
        if due := self.loan.due(self.now):
            self.post("INTEREST_ACCRUAL", rules.interest_entry(USER, due))
        self.loan = self.loan.charged(self.now)

    def step(self, name: str, amount: int) -> None:
        if name == "price":
            self.rate = max(1, self.rate * (1 + amount % 200) // 100)
            self.liquidate()
        elif name == "time":
            self.now += timedelta(seconds=amount)
        elif name in ("order", "fill", "cancel"):
            self._order(name, amount)
        elif self.loan is None:
            made = Loan(TERMS, self.now).with_collateral(amount).with_borrowed(1 + amount // 500, self.rate)
            entry = rules.pledge_entry(USER, amount) + rules.borrow_entry(USER, 1 + amount // 500)
            self.post("LOAN_CREATE", entry)
            self.loan = made
        else:
            self.charge()
            self._of_loan(name, amount)

    def _of_loan(self, name: str, amount: int) -> None:
        assert self.loan is not None
        before = self.loan
        if name == "borrow":
            changed = before.with_borrowed(amount, self.rate)
            self.post("LOAN_BORROW", rules.borrow_entry(USER, amount))
        elif name == "repay":
            paid = before.payment(amount)
            changed = before.after_payment(paid)
            self.post("LOAN_REPAY", rules.payment_entry(USER, paid))
        elif name == "add":
            changed = before.with_collateral(amount)
            self.post("LOAN_ADD_COLLATERAL", rules.pledge_entry(USER, amount))
        else:
            changed = before.without_collateral(amount, self.rate)
            self.post("LOAN_WITHDRAW_COLLATERAL", rules.return_entry(USER, amount))
        self.loan = None if changed.is_over else changed

    def liquidate(self) -> None:
        if self.loan is None or (sale := self.loan.charged(self.now).find_sale(self.rate)) is None:
            return
        self.charge()
        self.post(sale.kind, rules.sale_entry(USER, sale))
        self.loan = self.loan.after_sale(sale)
        paid = self.loan.payment(sale.inr)
        self.post("LOAN_REPAY", rules.payment_entry(USER, paid))
        self.loan = self.loan.after_payment(paid)
        if sale.is_full and self.loan.owed:
            rest = self.loan.payment(self.loan.owed)
            self.post("LOAN_WRITE_OFF", rules.write_off_entry(USER, rest))
            self.loan = self.loan.after_payment(rest)
        if self.loan.is_over:
            self.loan = None

    def _order(self, name: str, amount: int) -> None:
        if name == "order":
            action = Action.BUY if amount % 2 else Action.SELL
            placed = LimitOrder(Order(action, Asset.BTC, amount), self.rate)
            placed.at_limit()
            self.post("ORDER_RESERVE", placed.reserve_entry(USER))
            self.orders.append(placed)
        elif self.orders:
            placed = self.orders[-1]
            if name == "cancel":
                self.post("ORDER_RELEASE", placed.release_entry(USER))
            else:
                filled = fill(placed.order, Rates(placed.limit_price, placed.limit_price))
                self.post(placed.kind, placed.fill_entry(USER, filled))
            self.orders.pop()

    def check(self) -> None:
        # Entries balance for each asset, so all accounts together stay what the user came with.
        assert sum(self.rupees.values()) == 0
        assert sum(self.satoshis.values()) == 0
        held = {account: self.books[USER, account] for account in BALANCE_ACCOUNTS}
        assert min(held.values()) >= 0
        lent = self.loan or Loan(TERMS, START)
        assert (held["collateral_btc"], held["borrowed_inr"], held["interest_accrued"]) == (
            lent.collateral,
            lent.borrowed,
            lent.interest,
        )
        assert self.books[None, "house_loans"] == -lent.owed
        for reserved, asset in (("reserved_inr", Asset.INR), ("reserved_btc", Asset.BTC)):
            assert held[reserved] == sum(o.reserve for o in self.orders if o.reserved_asset is asset)


STEPS = st.tuples(
    st.sampled_from(
        ["price", "time", "order", "fill", "cancel", "create", "borrow", "repay", "add", "withdraw"]
    ),
    st.integers(1, 30_000_000),
)


@given(st.lists(STEPS, max_size=40))
def test_law_no_sequence_of_steps_creates_or_loses_a_unit(steps: list[tuple[str, int]]) -> None:
    house = House()
    for name, amount in steps:
        before = (house.books.copy(), house.loan, list(house.orders))
        try:
            house.step(name, amount)
        except BitTradeError:  # refused: a service rolls back
            house.books, house.loan, house.orders = before
        house.check()
    _close(house)
    held = {account: house.books[USER, account] for account in BALANCE_ACCOUNTS}
    assert {account for account, amount in held.items() if amount} <= {"available_inr", "available_btc"}
    assert house.books[None, "house_loans"] == 0


def _close(house: House) -> None:
    """End everything: orders are cancelled, the debt repaid with money from outside, the collateral taken back."""
    while house.orders:
        house.step("cancel", 1)
    if house.loan is not None:
        house.charge()
    if house.loan is not None and house.loan.owed:
        house.books[USER, "available_inr"] += house.loan.owed
        house.step("repay", house.loan.owed)
    if house.loan is not None:
        house.step("withdraw", house.loan.collateral)
    house.check()


def test_a_debt_that_is_written_off_is_the_house_s_loss() -> None:
    entry = rules.write_off_entry(USER, Payment(interest=5, principal=100))
    legs = Counter(
        {(leg.account, leg.user_id): leg.amount for leg in entry.legs if leg.account != "house_loans"}
    )
    assert dict(legs) == {
        ("house_lending", None): 105,
        ("house_losses", None): -105,
        ("interest_accrued", USER): -5,
        ("borrowed_inr", USER): -100,
    }


def test_the_rates_that_are_watched_hold_for_a_week() -> None:
    """Interest goes on: within these days no threshold is reached above the rate that is watched for it."""
    assert timedelta(days=7) == rules._WATCHED_AHEAD


@given(st.integers(100, 2_000), st.integers(100_000, 10**7), st.integers(80, 99))
def test_law_a_sale_is_the_first_that_brings_the_ltv_back(value: int, rate: int, ltv_pct: int) -> None:
    lent = loan(value * 10**8 // rate + 1, value * ltv_pct // 100 + 1)
    assume(lent.has_reached(80, rate))
    assert lent.find_sale(rate) == first_sale_of_all(lent, rate)


def first_sale_of_all(lent: Loan, rate: int) -> rules.Sale:
    """Try every rupee, from one on."""
    for inr in range(1, lent.owed):
        satoshis = -(-inr * 10**8 // rate)
        sale = rules.Sale(satoshis, satoshis * rate // 10**8, is_full=False)
        if satoshis >= lent.collateral or sale.inr >= lent.owed:
            break
        if lent.after_sale(sale).after_payment(lent.payment(sale.inr)).is_within(50, rate):
            return sale
    return rules.Sale(lent.collateral, lent.collateral * rate // 10**8, is_full=True)
