"""Nothing of staff's begins after a demotion was acknowledged: the right is read again behind the lock."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade.domain.roles import Role
from bittrade.extensions import db
from bittrade.models import Balance, Setting, Transaction, User
from tests.admin.conftest import LIMIT_INR, WHY, Member, give_role, verify
from tests.security.test_rights import after_the_end, mariadb

__all__ = ["mariadb"]  # the fixture: an app whose database locks rows

ACTS: dict[str, tuple[str, str, dict[str, Any], Callable[[int], sa.Select]]] = {
    "a deposit": ("POST", "users/{}/deposit-cash", {"amount": 1, **WHY}, lambda number: balance(number)),
    "a reversal": ("POST", "transactions/{transaction}/reverse", WHY, lambda number: balance(number)),
    "a disabling": ("DELETE", "users/{}?reason=fraud", {}, lambda number: account(number)),
    "a password": (
        "PUT",
        "users/{}/password",
        {"password": "four green parrots whistle", **WHY},
        lambda number: account(number),
    ),
    "an approval": ("POST", "approvals/{approval}/approve", WHY, lambda number: balance(number)),
    "a halt": ("POST", "trading", {"action": "halt", **WHY}, lambda _: sa.select(Setting.key)),
    "a spread": (
        "PUT",
        "settings",
        {"settings": {"buy_multiplier": 92}, "confirmed": True, **WHY},
        lambda _: sa.select(Setting.key),
    ),
}


def balance(user_id: int) -> sa.Select:
    return sa.select(Balance.user_id).where(Balance.user_id == user_id)


def account(user_id: int) -> sa.Select:
    return sa.select(User.id).where(User.id == user_id)


@pytest.mark.parametrize("what", ACTS)
def test_what_waited_for_the_lock_while_its_admin_was_demoted_is_refused(
    mariadb: Flask, admin: Member, second: Member, customer: Member, what: str
) -> None:
    approval = second.cash(customer, LIMIT_INR + 1).get_json()["approval_id"]
    transaction = second.cash(customer, 5).get_json()["transaction_id"]
    second.admin("PUT", "settings", {"settings": {"sell_multiplier": 87}, "confirmed": True})
    before = rows(mariadb)
    method, path, body, row = ACTS[what]
    filled = path.format(customer.id, transaction=transaction, approval=approval)
    request = (admin.person.token, method, f"/api/admin/{filled}", body)
    with mariadb.app_context():
        answer = after_the_end(
            mariadb, row(customer.id), lambda: give_role(mariadb, admin.id, Role.SUPPORT), request
        )
    assert (answer.status_code, answer.get_json()["code"]) == (403, "token_invalid")
    assert rows(mariadb) == before
    assert customer.ask("GET", "/api/balance").status_code == 200
    told = second.get("trading"), second.get("settings")["buy_multiplier"]["value"]
    assert (told[0]["halted"], told[1]) == (False, 91)
    verify(mariadb)


def rows(app: Flask) -> int:
    with app.app_context(), db.engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(Transaction)) or 0)
