"""Double entry: every movement is an entry whose legs sum to zero for each asset.

A leg belongs to a user's account or, where `user_id` is None, to the house. An entry that does not balance cannot be
constructed, so it cannot be posted.
"""

from collections import Counter
from dataclasses import dataclass

from bittrade.domain.money import Asset
from bittrade.errors import UnbalancedEntry

# The accounts of a user are the columns of `balances`; borrowed_inr and interest_accrued are debts.
AVAILABLE = {Asset.INR: "available_inr", Asset.BTC: "available_btc"}
BALANCE_ACCOUNTS = {
    "available_inr": Asset.INR,
    "available_btc": Asset.BTC,
    "reserved_inr": Asset.INR,
    "reserved_btc": Asset.BTC,
    "collateral_btc": Asset.BTC,
    "borrowed_inr": Asset.INR,
    "interest_accrued": Asset.INR,
}
HOUSE_TRADING = "house_trading"  # the other side of every trade
HOUSE_CUSTODY = "house_custody"  # the other side of deposits and withdrawals


@dataclass(frozen=True, slots=True)
class Leg:
    """One account's change. Amounts are rupees or satoshis; positive is in favour of the account's owner."""

    account: str
    asset: Asset
    amount: int
    user_id: int | None = None  # None: the house


@dataclass(frozen=True, slots=True)
class Entry:
    legs: tuple[Leg, ...]

    def __post_init__(self) -> None:
        sums: Counter[Asset] = Counter()
        for leg in self.legs:
            if type(leg.amount) is not int:
                raise UnbalancedEntry(f"A leg's amount must be an int, not {type(leg.amount).__name__}")
            sums[leg.asset] += leg.amount
        if not self.legs or any(sums.values()):
            raise UnbalancedEntry(f"An entry must balance per asset, not leave {dict(sums)}")


def transfer(*, user_id: int, house: str, inr: int = 0, btc: int = 0) -> Entry:
    """An entry that moves `inr` rupees and `btc` satoshis from a house account to a user (negative: to the house)."""
    legs: list[Leg] = []
    for asset, amount in ((Asset.INR, inr), (Asset.BTC, btc)):
        if amount:
            legs.append(Leg(AVAILABLE[asset], asset, amount, user_id))
            legs.append(Leg(house, asset, -amount))
    return Entry(tuple(legs))
