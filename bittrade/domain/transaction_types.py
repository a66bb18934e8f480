"""The one table of transaction types: what each does to what its user owns, and which accounts it may touch.

The posting, the proof, the API's schemas and the database's CHECK all read it. A new type is one entry of `_TABLE` and a
migration that renews the CHECK (CONTRIBUTING.md, "Add a transaction type").
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bittrade.domain.ledger import (
    AVAILABLE,
    COLLATERAL,
    DEBT_ACCOUNTS,
    HOUSE_CUSTODY,
    HOUSE_LENDING,
    HOUSE_LOANS,
    HOUSE_LOSSES,
    HOUSE_TRADING,
    HOUSE_TRANSFERS,
    OWNED_ACCOUNTS,
    Leg,
)
from bittrade.domain.money import Asset

RISES, FALLS, STAYS = 1, -1, 0
_AVAILABLE = frozenset(AVAILABLE.values())
_BETWEEN = frozenset({HOUSE_TRANSFERS})
REVERSAL = "REVERSAL"
OPENING, IMPORTED = "OPENING", "IMPORTED"
ORDER_RESERVE, ORDER_RELEASE = HOLDS = ("ORDER_RESERVE", "ORDER_RELEASE")
TRANSFER_OUT, TRANSFER_IN = TRANSFERS = ("TRANSFER_OUT", "TRANSFER_IN")
LOAN_CREATE = "LOAN_CREATE"
# What names the loan that it concerns; the one that creates a loan has the loan's own number.
OF_A_LOAN = (
    *("LOAN_BORROW", "LOAN_REPAY", "LOAN_ADD_COLLATERAL", "LOAN_WITHDRAW_COLLATERAL", "INTEREST_ACCRUAL"),
    *("PARTIAL_LIQUIDATION", "FULL_LIQUIDATION", "LOAN_WRITE_OFF"),
)


@dataclass(frozen=True, slots=True)
class TransactionType:
    """The sign rules of a type.

    `inr` and `btc` say how what the user owns changes: a reserve leaves it as it is, a withdrawal does not. `accounts`
    says in which direction each of the user's accounts may move, `house` which house accounts take the other side.
    A reversal has no `accounts`: it is held to the entry that it reverses.
    """

    name: str
    inr: int = STAYS
    btc: int = STAYS
    accounts: dict[str, int] | None = None
    house: frozenset[str] = field(default_factory=frozenset)
    has_receipt: bool = False
    audited_as: str | None = None  # the action under which the audit log knows it, where staff makes it

    @property
    def is_reversible(self) -> bool:
        """Return whether its opposite alone leaves the books right: it moves no more than what its user has free.

        What an order or a loan holds follows its row, and half a transfer follows the other half.
        """
        return (
            bool(self.accounts) and _AVAILABLE.issuperset(self.accounts or ()) and not self.house & _BETWEEN
        )

    def faults(self, legs: Iterable[Leg], user_id: int) -> Iterator[str]:
        """Say how the legs of a transaction of this user depart from its type, if they do."""
        owned = {Asset.INR: 0, Asset.BTC: 0}
        for leg in legs:
            if leg.user_id not in (None, user_id):
                yield f"it moves {leg.account} of user {leg.user_id}"
            elif self.accounts is None:
                continue
            elif leg.user_id is None:
                if leg.account not in self.house:
                    yield f"{self.name} does not move {leg.account}"
            elif leg.account not in self.accounts or leg.amount * self.accounts[leg.account] < 0:
                yield f"{self.name} does not change {leg.account} by {leg.amount}"
            elif leg.account in OWNED_ACCOUNTS:
                owned[leg.asset] += leg.amount
        if self.accounts is not None:
            for asset, sign in ((Asset.INR, self.inr), (Asset.BTC, self.btc)):
                if owned[asset] * sign < 0 or (sign == STAYS and owned[asset]):
                    yield f"{self.name} does not change what its user owns by {owned[asset]} {asset}"


_BUY = {"available_inr": FALLS, "available_btc": RISES}
_SELL = {"available_inr": RISES, "available_btc": FALLS}
_RESERVE = {"available_inr": FALLS, "reserved_inr": RISES, "available_btc": FALLS, "reserved_btc": RISES}
_FILLED_BUY = {"reserved_inr": FALLS, "available_inr": RISES, "available_btc": RISES}
_FILLED_SELL = {"reserved_btc": FALLS, "available_btc": RISES, "available_inr": RISES}
_PLEDGE = {"available_btc": FALLS, COLLATERAL: RISES}
_LENT = {"available_inr": RISES, "borrowed_inr": RISES}
_RELIEF = dict.fromkeys(DEBT_ACCOUNTS, FALLS)
_SOLD = {COLLATERAL: FALLS, "available_inr": RISES}
_LENDING = frozenset({HOUSE_LENDING, HOUSE_LOANS})
_TRADING, _CUSTODY = frozenset({HOUSE_TRADING}), frozenset({HOUSE_CUSTODY})

_TABLE = (
    # Market orders.
    TransactionType("MARKET_BUY", FALLS, RISES, _BUY, _TRADING, has_receipt=True),
    TransactionType("MARKET_SELL", RISES, FALLS, _SELL, _TRADING, has_receipt=True),
    # Limit orders: what they reserve, give back, and come to. A fill returns what it did not spend.
    TransactionType(ORDER_RESERVE, accounts=_RESERVE),
    TransactionType(ORDER_RELEASE, accounts={account: -sign for account, sign in _RESERVE.items()}),
    TransactionType("LIMIT_BUY", FALLS, RISES, _FILLED_BUY, _TRADING, has_receipt=True),
    TransactionType("LIMIT_SELL", RISES, FALLS, _FILLED_SELL, _TRADING, has_receipt=True),
    # The runs of recurring plans.
    TransactionType("DCA_BUY", FALLS, RISES, _BUY, _TRADING, has_receipt=True),
    TransactionType("DCA_SELL", RISES, FALLS, _SELL, _TRADING, has_receipt=True),
    # Money from outside and back.
    TransactionType(
        "DEPOSIT_INR", inr=RISES, accounts={"available_inr": RISES}, house=_CUSTODY, audited_as="deposit"
    ),
    TransactionType(
        "DEPOSIT_BTC", btc=RISES, accounts={"available_btc": RISES}, house=_CUSTODY, audited_as="deposit"
    ),
    TransactionType(
        "WITHDRAW_INR", inr=FALLS, accounts={"available_inr": FALLS}, house=_CUSTODY, audited_as="withdrawal"
    ),
    TransactionType(
        "WITHDRAW_BTC", btc=FALLS, accounts={"available_btc": FALLS}, house=_CUSTODY, audited_as="withdrawal"
    ),
    # From one user to another: one row each, which name each other.
    TransactionType(TRANSFER_OUT, FALLS, FALLS, dict.fromkeys(_AVAILABLE, FALLS), _BETWEEN),
    TransactionType(TRANSFER_IN, RISES, RISES, dict.fromkeys(_AVAILABLE, RISES), _BETWEEN),
    # Loans: collateral stays its user's, what is owed is no holding. A liquidation sells, and what it brings is repaid.
    TransactionType(LOAN_CREATE, inr=RISES, accounts={**_PLEDGE, **_LENT}, house=_LENDING),
    TransactionType("LOAN_BORROW", inr=RISES, accounts=_LENT, house=_LENDING),
    TransactionType("LOAN_REPAY", inr=FALLS, accounts={"available_inr": FALLS, **_RELIEF}, house=_LENDING),
    TransactionType("LOAN_ADD_COLLATERAL", accounts=_PLEDGE),
    TransactionType(
        "LOAN_WITHDRAW_COLLATERAL", accounts={account: -sign for account, sign in _PLEDGE.items()}
    ),
    TransactionType("INTEREST_ACCRUAL", accounts={"interest_accrued": RISES}, house=frozenset({HOUSE_LOANS})),
    TransactionType("PARTIAL_LIQUIDATION", RISES, FALLS, _SOLD, _TRADING, has_receipt=True),
    TransactionType("FULL_LIQUIDATION", RISES, FALLS, _SOLD, _TRADING, has_receipt=True),
    TransactionType("LOAN_WRITE_OFF", accounts=_RELIEF, house=_LENDING | {HOUSE_LOSSES}),
    # From another system: the loans that accounts open with, and past transactions of kinds that are unknown here.
    TransactionType(
        OPENING,
        btc=RISES,
        accounts=dict.fromkeys((COLLATERAL, *DEBT_ACCOUNTS), RISES),
        house=frozenset({HOUSE_CUSTODY, HOUSE_LOANS}),
    ),
    TransactionType(IMPORTED, accounts={}),
    # Corrections.
    TransactionType(REVERSAL, audited_as="transaction_reversed"),
)
TYPES: dict[str, TransactionType] = {kind.name: kind for kind in _TABLE}
TYPE_NAMES: tuple[str, ...] = tuple(TYPES)


def signs_of(name: str, reverses: str | None = None) -> tuple[int, int]:
    """Return how what the user owns changes, in rupees and in satoshis; `reverses` is the type that a reversal undoes."""
    if name == REVERSAL and reverses is not None:
        return -TYPES[reverses].inr, -TYPES[reverses].btc
    return TYPES[name].inr, TYPES[name].btc
