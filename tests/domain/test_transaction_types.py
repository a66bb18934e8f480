"""The table of transaction types: what an entry may do under each name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittrade.domain import proof
from bittrade.domain.ledger import (
    BALANCE_ACCOUNTS,
    HOUSE_ACCOUNTS,
    HOUSE_CUSTODY,
    HOUSE_TRADING,
    OWNED_ACCOUNTS,
    Entry,
    Leg,
    move,
    owe,
    release,
    reserve,
    spend_reserved,
    transfer,
)
from bittrade.domain.money import Asset
from bittrade.domain.transaction_types import TYPES, TransactionType
from bittrade.errors import UnbalancedEntry

BUY = transfer(user_id=1, house=HOUSE_TRADING, inr=-1000, btc=24420)


def faults(name: str, entry: Entry, user_id: int = 1) -> list[str]:
    return list(TYPES[name].faults(entry.legs, user_id))


@pytest.mark.parametrize("kind", TYPES.values(), ids=lambda kind: kind.name)
def test_each_type_names_accounts_that_exist_and_signs_that_agree(kind: TransactionType) -> None:
    assert len(kind.name) <= 32  # the width of its column
    assert kind.house <= set(HOUSE_ACCOUNTS)
    for asset, sign in ((Asset.INR, kind.inr), (Asset.BTC, kind.btc)):
        touched = [
            account
            for account in kind.accounts or ()
            if account in OWNED_ACCOUNTS and BALANCE_ACCOUNTS[account] is asset
        ]
        assert bool(touched) >= bool(sign), asset
        # What the user owns can move only as the signs of its accounts allow.
        allowed = {(kind.accounts or {})[account] for account in touched}
        assert not sign or sign in allowed or 0 in allowed


def test_trades_have_a_receipt_and_nothing_else_has() -> None:
    assert {name for name, kind in TYPES.items() if kind.has_receipt} == {
        *("MARKET_BUY", "MARKET_SELL", "LIMIT_BUY", "LIMIT_SELL", "DCA_BUY", "DCA_SELL"),
        *("PARTIAL_LIQUIDATION", "FULL_LIQUIDATION"),
    }


def test_what_an_order_a_loan_or_a_transfer_holds_is_not_reversible() -> None:
    assert {name for name, kind in TYPES.items() if kind.is_reversible} == {
        *("MARKET_BUY", "MARKET_SELL", "DCA_BUY", "DCA_SELL"),
        *("DEPOSIT_INR", "DEPOSIT_BTC", "WITHDRAW_INR", "WITHDRAW_BTC"),
    }


def test_an_entry_of_its_type_has_no_fault() -> None:
    assert faults("MARKET_BUY", BUY) == []


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("MARKET_SELL", BUY),
        ("MARKET_BUY", BUY.reversed()),
        ("MARKET_BUY", transfer(user_id=1, house=HOUSE_CUSTODY, inr=-1000, btc=24420)),
        ("MARKET_BUY", reserve(user_id=1, asset=Asset.INR, amount=5)),
        ("MARKET_BUY", BUY + transfer(user_id=2, house=HOUSE_TRADING, inr=5)),
    ],
)
def test_an_entry_of_another_kind_is_a_fault(name: str, entry: Entry) -> None:
    assert faults(name, entry)


def test_a_leg_of_another_user_is_a_fault_also_in_a_reversal() -> None:
    assert faults("REVERSAL", BUY, user_id=2)
    assert faults("REVERSAL", BUY.reversed()) == []


def test_amounts_follow_from_the_entry() -> None:
    assert (BUY.amount(1, Asset.INR), BUY.amount(1, Asset.BTC)) == (1000, 24420)
    assert (BUY.reversed().amount(1, Asset.INR), BUY.amount(2, Asset.INR)) == (1000, 0)


def test_a_reserve_is_no_withdrawal_and_its_release_undoes_it() -> None:
    entry = reserve(user_id=1, asset=Asset.INR, amount=700)
    assert entry.change(1, Asset.INR, OWNED_ACCOUNTS) == 0
    assert (entry.change(1, Asset.INR, ["available_inr"]), entry.change(1, Asset.INR, ["reserved_inr"])) == (
        -700,
        700,
    )
    assert entry.amount(1, Asset.INR) == 700
    assert set(release(user_id=1, asset=Asset.INR, amount=700).legs) == set(entry.reversed().legs)


def test_a_fill_spends_what_was_reserved_and_gives_the_rest_back() -> None:
    """₹700 were set aside; ₹650 are spent."""
    fill = (
        spend_reserved(user_id=1, house=HOUSE_TRADING, asset=Asset.INR, amount=650)
        + release(user_id=1, asset=Asset.INR, amount=50)
        + transfer(user_id=1, house=HOUSE_TRADING, btc=15_873)
    )
    assert fill.change(1, Asset.INR, ["reserved_inr"]) == -700
    assert (fill.amount(1, Asset.INR), fill.amount(1, Asset.BTC)) == (650, 15_873)


def test_what_is_owed_is_not_owned() -> None:
    loan = transfer(user_id=1, house="house_lending", inr=500) + owe(
        user_id=1, account="borrowed_inr", amount=500
    )
    assert loan.amount(1, Asset.INR) == 500
    assert owe(user_id=1, account="interest_accrued", amount=3).amount(1, Asset.INR) == 3
    assert owe(user_id=1, account="borrowed_inr", amount=-4).amount(1, Asset.INR) == 4


@pytest.mark.parametrize(
    ("target", "amount"), [("reserved_btc", 5), ("reserved_inr", 0), ("reserved_inr", -5)]
)
def test_money_moves_forward_and_within_its_asset(target: str, amount: int) -> None:
    with pytest.raises(UnbalancedEntry):
        move(user_id=1, source="available_inr", target=target, amount=amount)


def test_a_type_whose_user_keeps_all_allows_no_loss() -> None:
    kind = TransactionType(
        "X", accounts={"available_inr": -1, "reserved_inr": 1}, house=frozenset({HOUSE_TRADING})
    )
    leak = Entry((Leg("available_inr", Asset.INR, -5, 1), Leg(HOUSE_TRADING, Asset.INR, 5)))
    assert list(kind.faults(leak.legs, 1)) == ["X does not change what its user owns by -5 INR"]


SIGNED = st.integers(-3, 3).filter(bool)


@given(
    st.sampled_from([*TYPES]),
    st.lists(
        st.tuples(
            st.sampled_from(["available_inr", "available_btc", "reserved_inr", HOUSE_TRADING, HOUSE_CUSTODY]),
            st.sampled_from(Asset),
            SIGNED,
            st.sampled_from([None, 1, 2]),
        ),
        max_size=4,
    ),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_law_the_quick_judgement_passes_nothing_that_the_rules_refuse(
    name: str, legs: list[tuple[str, Asset, int, int | None]], inr: int, btc: int
) -> None:
    row = proof.Row(
        1,
        1,
        1,
        name,
        "EXECUTED",
        btc,
        inr,
        "",
        "",
        None,
        None,
        None,
        None,
        tuple(Leg(*leg) for leg in legs),
        "",
    )
    if proof._are_legs_plain(row):
        assert list(proof._faults_of_legs(row)) == []


def test_the_quick_judgement_takes_the_usual_rows() -> None:
    row = proof.Row(
        1, 1, 1, "MARKET_BUY", "EXECUTED", 24420, 1000, "", "", None, None, None, None, BUY.legs, ""
    )
    assert proof._are_legs_plain(row)
    assert not proof._are_legs_plain(row._replace(inr_amount=999))
