"""No account holds more than its column can."""

import pytest

from bittrade.domain.ledger import BALANCE_ACCOUNTS, HOUSE_CUSTODY, transfer
from bittrade.errors import InvalidAmount
from bittrade.services import ledger


def test_a_balance_has_an_upper_bound() -> None:
    held = {**dict.fromkeys(BALANCE_ACCOUNTS, 0), "available_inr": 2**63 - 2, "seq": 1}
    one_more = transfer(user_id=7, house=HOUSE_CUSTODY, inr=1)
    after = ledger.apply(held, one_more, 7)
    assert after["available_inr"] == 2**63 - 1
    with pytest.raises(InvalidAmount, match="too large"):
        ledger.apply(after, one_more, 7)
