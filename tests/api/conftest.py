"""What API tests share: the bodies they send."""

from collections.abc import Callable

import pytest

from tests.fixtures import Person

BUY = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}


@pytest.fixture
def user(make_user: Callable[..., Person]) -> Person:
    """Somebody with ₹10,000 and half a million satoshis."""
    return make_user(inr=10_000, btc=500_000)
