"""The judge of drill M1 (`make drill-market ARGS="--short --only M1"`): it passes what is honest, and finds each gain."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from drills.market_judge import Account, Case, Change, Doubt, Fill, judge

START = datetime(2026, 11, 27, tzinfo=UTC)
BUYER, SELLER = 7, 8


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def honest() -> Case:
    """A bitcoin is worth $100,000, or ₹8,950,000; at 10 s it becomes $120,000; at 12 s that is known, until 20 s held."""
    buy = Fill(1, BUYER, True, satoshis=1_000_000, inr=91_000, at=after(5))
    sell = Fill(2, SELLER, False, satoshis=1_000_000, inr=105_600, at=after(30))
    return Case(
        inr_per_usd=Decimal("89.5"),
        changes=[
            Change(Decimal(100_000), START, START),
            Change(Decimal(120_000), after(10), after(10), is_sharp=True),
        ],
        asked=[after(1), after(11.9), after(12.1), after(20)],
        prices=[after(1.1), after(20)],
        doubts=[Doubt(after(12), after(20))],
        fills=[buy, sell],
        accounts={
            BUYER: Account((1_000_000, 0), (909_000, 1_000_000)),
            SELLER: Account((0, 5_000_000), (105_600, 4_000_000)),
        },
    )


def add(case: Case, fill: Fill) -> None:
    """A trade that the books are right about."""
    case.fills.append(fill)
    account, sign = case.accounts[fill.user_id], 1 if fill.is_buy else -1
    account.after = (account.after[0] - sign * fill.inr, account.after[1] + sign * fill.satoshis)


def test_the_judge_passes_what_is_honest() -> None:
    case = honest()
    assert judge(case) == []
    gains = case.gains(unknowable=False)
    assert (gains[BUYER], gains[SELLER]) == (-1_500, -1_800)


def test_what_nobody_could_know_is_counted_apart() -> None:
    case = honest()
    add(case, Fill(3, BUYER, True, satoshis=1_000_000, inr=91_000, at=after(11)))
    assert judge(case) == []
    assert case.gains(unknowable=True) == {BUYER: 107_400 - 91_000}


def buys_at_the_old_price(case: Case) -> None:
    add(case, Fill(3, BUYER, True, satoshis=1_000_000, inr=91_000, at=after(25)))


def sells_at_a_lie(case: Case) -> None:
    add(case, Fill(3, SELLER, False, satoshis=1_000_000, inr=89_501, at=after(5)))


def trades_in_doubt(case: Case) -> None:
    add(case, Fill(3, BUYER, True, satoshis=1_000_000, inr=120_000, at=after(15)))


def trades_in_a_doubt_that_never_ends(case: Case) -> None:
    case.doubts.append(Doubt(after(25), None))


def asks_twice_first(case: Case) -> None:
    case.asked.append(after(11.95))


def never_acts(case: Case) -> None:
    case.prices, case.doubts = case.prices[:1], []


def has_a_rupee_more(case: Case) -> None:
    inr, satoshis = case.accounts[BUYER].after
    case.accounts[BUYER].after = (inr + 1, satoshis)


def is_charged_less(case: Case) -> None:
    case.fills[0] = replace(case.fills[0], inr=90_999)


@pytest.mark.parametrize(
    ("doctor", "fault"),
    [
        (buys_at_the_old_price, "user 7 gained 16400 rupees: transaction 3 bought"),
        (sells_at_a_lie, "user 8 gained 1 rupees: transaction 3 sold"),
        (trades_in_doubt, "transaction 3 was made while a price was held"),
        (trades_in_a_doubt_that_never_ends, "transaction 2 was made while a price was held"),
        (asks_twice_first, "asked for 2 times before anything was done"),
        (never_acts, "asked for 3 times before anything was done"),
        (has_a_rupee_more, "user 7 should have 909000 rupees"),
        (is_charged_less, "user 7 should have 909001 rupees"),
    ],
)
def test_the_judge_finds_what_was_doctored(doctor: Callable[[Case], None], fault: str) -> None:
    case = honest()
    doctor(case)
    assert any(fault in said for said in judge(case)), judge(case)
