"""Double entry: every movement is an entry whose legs sum to zero for each asset.

A leg belongs to a user's account or, where `user_id` is None, to the house. An entry that does not balance cannot be
constructed, so it cannot be posted. Which entries a type of transaction allows is said in `transaction_types`.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from bittrade.domain.money import Asset
from bittrade.errors import UnbalancedEntry

# The accounts of a user are the columns of `balances`.
AVAILABLE = {Asset.INR: "available_inr", Asset.BTC: "available_btc"}
RESERVED = {Asset.INR: "reserved_inr", Asset.BTC: "reserved_btc"}
COLLATERAL = "collateral_btc"
DEBT_ACCOUNTS = ("borrowed_inr", "interest_accrued")  # what the user owes
OWNED_ACCOUNTS = ("available_inr", "available_btc", "reserved_inr", "reserved_btc", COLLATERAL)
BALANCE_ACCOUNTS = {
    "available_inr": Asset.INR,
    "available_btc": Asset.BTC,
    "reserved_inr": Asset.INR,
    "reserved_btc": Asset.BTC,
    COLLATERAL: Asset.BTC,
    "borrowed_inr": Asset.INR,
    "interest_accrued": Asset.INR,
}
HOUSE_TRADING = "house_trading"  # the other side of every trade
HOUSE_CUSTODY = "house_custody"  # the other side of deposits and withdrawals
HOUSE_TRANSFERS = "house_transfers"  # between the two halves of a transfer; zero when both are posted
HOUSE_LENDING = "house_lending"  # the rupees that loans pay out and repayments bring back
HOUSE_LOANS = "house_loans"  # the other side of what borrowers owe
HOUSE_LOSSES = "house_losses"  # what a liquidation could not recover
HOUSE_ACCOUNTS = (
    HOUSE_TRADING,
    HOUSE_CUSTODY,
    HOUSE_TRANSFERS,
    HOUSE_LENDING,
    HOUSE_LOANS,
    HOUSE_LOSSES,
)


class Leg(NamedTuple):
    """One account's change. Amounts are rupees or satoshis; a user's leg changes the balance's column by its amount."""

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

    def __add__(self, other: "Entry") -> "Entry":
        """Return both movements as one."""
        return Entry(self.legs + other.legs)

    def reversed(self) -> "Entry":
        """Return the entry that undoes this one."""
        return Entry(tuple(Leg(leg.account, leg.asset, -leg.amount, leg.user_id) for leg in self.legs))

    def change(self, user_id: int, asset: Asset, accounts: Collection[str] = tuple(BALANCE_ACCOUNTS)) -> int:
        """Return by how much these accounts of a user change in all."""
        return sum(
            leg.amount
            for leg in self.legs
            if leg.user_id == user_id and leg.asset is asset and leg.account in accounts
        )

    def amount(self, user_id: int, asset: Asset) -> int:
        """Return what the history says changed hands."""
        return amount_of(self.legs, user_id, asset)


def amount_of(legs: Iterable[Leg], user_id: int, asset: Asset) -> int:
    """Return the change of what the user owns, without its sign.

    Where that stays the same (a reserve, interest): how much went from one account to another.
    """
    owned = gained = lost = 0
    for leg in legs:
        if leg.user_id == user_id and leg.asset is asset:
            if leg.account in OWNED_ACCOUNTS:
                owned += leg.amount
            if leg.amount > 0:
                gained += leg.amount
            else:
                lost -= leg.amount
    return abs(owned) or max(gained, lost)


def transfer(*, user_id: int, house: str, inr: int = 0, btc: int = 0) -> Entry:
    """Move `inr` rupees and `btc` satoshis from a house account to a user (negative: to the house)."""
    legs: list[Leg] = []
    for asset, amount in ((Asset.INR, inr), (Asset.BTC, btc)):
        if amount:
            legs.append(Leg(AVAILABLE[asset], asset, amount, user_id))
            legs.append(Leg(house, asset, -amount))
    return Entry(tuple(legs))


def move(*, user_id: int, source: str, target: str, amount: int) -> Entry:
    """Move an amount between two accounts of one user; what they own stays the same."""
    asset = BALANCE_ACCOUNTS[source]
    if amount <= 0 or BALANCE_ACCOUNTS[target] is not asset:
        raise UnbalancedEntry(f"{amount} can't be moved from {source} to {target}")
    return Entry((Leg(source, asset, -amount, user_id), Leg(target, asset, amount, user_id)))


def reserve(*, user_id: int, asset: Asset, amount: int) -> Entry:
    """Set an amount aside for an order."""
    return move(user_id=user_id, source=AVAILABLE[asset], target=RESERVED[asset], amount=amount)


def release(*, user_id: int, asset: Asset, amount: int) -> Entry:
    """Give back what was set aside."""
    return move(user_id=user_id, source=RESERVED[asset], target=AVAILABLE[asset], amount=amount)


def spend_reserved(*, user_id: int, house: str, asset: Asset, amount: int) -> Entry:
    """Pay the house with what was set aside."""
    return Entry((Leg(RESERVED[asset], asset, -amount, user_id), Leg(house, asset, amount)))


def owe(*, user_id: int, account: str, amount: int) -> Entry:
    """Raise what a user owes (negative: lower it) in one of the debt accounts; the house's claim is the other side."""
    asset = BALANCE_ACCOUNTS[account]
    return Entry((Leg(account, asset, amount, user_id), Leg(HOUSE_LOANS, asset, -amount)))
