"""Entries: what does not balance can't be made."""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittrade.domain.ledger import BALANCE_ACCOUNTS, HOUSE_CUSTODY, Entry, Leg, transfer
from bittrade.domain.money import Asset
from bittrade.errors import UnbalancedEntry


def leg(amount: object, asset: Asset = Asset.INR, user_id: int | None = 1) -> Leg:
    return Leg("available_inr", asset, amount, user_id)


@pytest.mark.parametrize(
    "legs",
    [
        (),
        (leg(1),),
        (leg(100), leg(-99)),
        (leg(100, Asset.INR), leg(-100, Asset.BTC)),  # zero in sum, but not for each asset
        (leg(100), leg(-100), leg(1, Asset.BTC)),
    ],
)
def test_an_entry_that_does_not_balance_cannot_be_constructed(legs: tuple[Leg, ...]) -> None:
    with pytest.raises(UnbalancedEntry):
        Entry(legs)


@pytest.mark.parametrize("amount", [1.0, 0.5, Decimal(1), True, "1", None, float("nan")])
def test_a_leg_that_is_not_an_int_cannot_be_entered(amount: object) -> None:
    with pytest.raises(UnbalancedEntry, match="must be an int"):
        Entry((leg(amount), leg(-1)))


def test_an_entry_may_have_several_legs_of_one_asset() -> None:
    assert len(Entry((leg(100), leg(-60), leg(-40))).legs) == 3


def test_an_entry_cannot_be_changed_afterwards() -> None:
    entry = Entry((leg(1), leg(-1)))
    with pytest.raises(AttributeError):
        entry.legs = ()
    with pytest.raises(AttributeError):
        entry.legs[0].amount = 5


@given(
    st.lists(st.integers(-(10**18), 10**18), max_size=8), st.lists(st.integers(-(10**18), 10**18), max_size=8)
)
def test_law_an_entry_exists_exactly_when_each_asset_sums_to_zero(
    rupees: list[int], satoshis: list[int]
) -> None:
    legs = tuple(leg(amount) for amount in rupees) + tuple(leg(amount, Asset.BTC) for amount in satoshis)
    is_fit = bool(legs) and sum(rupees) == 0 and sum(satoshis) == 0
    try:
        Entry(legs)
    except UnbalancedEntry:
        assert not is_fit
    else:
        assert is_fit


@given(st.integers(-(10**16), 10**16), st.integers(-(10**16), 10**16))
def test_law_a_transfer_gives_the_user_exactly_what_the_house_gives(inr: int, btc: int) -> None:
    if inr == btc == 0:
        with pytest.raises(UnbalancedEntry):
            transfer(user_id=1, house=HOUSE_CUSTODY)
        return
    sums: Counter[tuple[int | None, Asset]] = Counter()
    for part in transfer(user_id=1, house=HOUSE_CUSTODY, inr=inr, btc=btc).legs:
        assert part.account in BALANCE_ACCOUNTS or part.account == HOUSE_CUSTODY
        sums[part.user_id, part.asset] += part.amount
    assert (sums[1, Asset.INR], sums[1, Asset.BTC]) == (inr, btc)
    assert (sums[None, Asset.INR], sums[None, Asset.BTC]) == (-inr, -btc)
