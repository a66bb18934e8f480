"""Nobody learns from the time that a login takes whether an account exists: each does the same slow work.

How long that takes is measured by no test: another process of the machine would decide.
"""

from collections.abc import Callable

import bcrypt
import pytest
from flask import Flask

from bittrade.errors import InvalidCredentials
from bittrade.services import auth
from tests.fixtures import new_user

COST = 5


def test_an_unknown_email_a_wrong_password_and_a_disabled_account_take_the_same_time(
    new_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = new_app(BCRYPT_COST=COST, LOGIN_FAILURES_BEFORE_LOCK=10_000)
    known, disabled = new_user(app).email, new_user(app).email
    costs: list[int] = []
    check, make = bcrypt.checkpw, bcrypt.hashpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        costs.append(int(hashed.split(b"$")[2]))
        return check(password, hashed)

    def hashpw(password: bytes, salt: bytes) -> bytes:
        costs.append(int(salt.split(b"$")[2]))
        return make(password, salt)

    with app.app_context():
        auth.disable_user(disabled)
        work: dict[str, list[int]] = {}
        for email in (known, "nobody@example.com", disabled) * 2:  # the first round makes what is made once
            with monkeypatch.context() as watched:
                watched.setattr(bcrypt, "checkpw", checkpw)
                watched.setattr(bcrypt, "hashpw", hashpw)
                with pytest.raises(InvalidCredentials):
                    auth.login(email=email, password="not the right words")
            work[email] = costs.copy()
            costs.clear()
    assert list(work.values()) == [[COST]] * 3
