"""Nobody learns from the time that a login takes whether an account exists."""

import statistics
import time
from collections.abc import Callable

import pytest
from flask import Flask

from bittrade.errors import InvalidCredentials
from bittrade.services import auth
from tests.fixtures import new_user

TRIES = 67  # each (201 in all), taken in turns, so that a busy moment falls on all alike
COST = 8


def seconds(email: str) -> float:
    start = time.perf_counter()
    with pytest.raises(InvalidCredentials):
        auth.login(email=email, password="not the right words")
    return time.perf_counter() - start


def typical(times: list[float]) -> float:
    """The mean without the slowest fifth: those are the machine's, not the login's."""
    return statistics.mean(sorted(times)[: len(times) * 4 // 5])


def test_an_unknown_email_a_wrong_password_and_a_disabled_account_take_the_same_time(
    new_app: Callable[..., Flask],
) -> None:
    app = new_app(BCRYPT_COST=COST, LOGIN_FAILURES_BEFORE_LOCK=10_000)
    known, disabled = new_user(app).email, new_user(app).email
    with app.app_context():
        auth.disable_user(disabled)
        taken: dict[str, list[float]] = {known: [], "nobody@example.com": [], disabled: []}
        for email in taken:
            seconds(email)  # the first of each makes its row
        for _ in range(TRIES):
            for email, times in taken.items():
                times.append(seconds(email))
    means = [typical(times) for times in taken.values()]
    assert max(means) / min(means) < 1.10, means
