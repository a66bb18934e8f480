"""Staff at the operators' API, each request with a client of its own, so that threads may share them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bittrade.domain.roles import Role
from bittrade.services import ledger
from bittrade.services.auth import staff
from tests.fixtures import Person, new_user

WHY = {"reason": "asked by phone"}
LIMIT_INR = 100_000


@dataclass(frozen=True)
class Member:
    """A person at the API."""

    person: Person
    app: Flask

    @property
    def id(self) -> int:
        return self.person.id

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        client: FlaskClient = self.app.test_client()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.open(path, method=method, json=body, headers={**self.person.headers, **headers})

    def admin(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        return self.ask(method, f"/api/admin/{path}", body, **headers)

    def get(self, path: str) -> Any:
        answer = self.admin("GET", path)
        assert answer.status_code == 200, answer.data
        return answer.get_json()

    def own(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.data
        return answer.get_json()

    def cash(self, user: "Member", amount: Any, *, kind: str = "deposit", **headers: str) -> TestResponse:
        return self.admin("POST", f"users/{user.id}/{kind}-cash", {"amount": amount, **WHY}, **headers)

    def decide(self, approval_id: int, *, how: str = "approve") -> TestResponse:
        return self.admin("POST", f"approvals/{approval_id}/{how}", WHY)

    def rupees(self) -> int:
        return int(self.own("/api/balance")["available_inr"])


def give_role(app: Flask, user_id: int, role: Role) -> None:
    with app.app_context():
        staff.set_role(user_id, role, why="a test")


@pytest.fixture
def low_limit(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than ₹100,000 waits for a second admin."""
    monkeypatch.setitem(app.config, "APPROVAL_ABOVE_INR", LIMIT_INR)


@pytest.fixture
def new_member(app: Flask, low_limit: None) -> Callable[..., Member]:
    """Make somebody with a role and money."""

    def make(role: Role = Role.USER, **money: int) -> Member:
        person = new_user(app, **money)
        give_role(app, person.id, role)
        return Member(person, app)

    return make


@pytest.fixture
def admin(new_member: Callable[..., Member]) -> Member:
    return new_member(Role.ADMIN)


@pytest.fixture
def second(new_member: Callable[..., Member]) -> Member:
    return new_member(Role.ADMIN)


@pytest.fixture
def support(new_member: Callable[..., Member]) -> Member:
    return new_member(Role.SUPPORT)


@pytest.fixture
def customer(new_member: Callable[..., Member]) -> Member:
    """Has ₹10,000 and 500,000 satoshis."""
    return new_member(inr=10_000, btc=500_000)


def verify(app: Flask) -> None:
    """The books are right, to the unit, and the audit log knows of every movement."""
    with app.app_context():
        assert ledger.verify().faults == ()
