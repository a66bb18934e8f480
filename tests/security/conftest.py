"""What the tests of the security requirements share: a key for a program, limits that are on, and a real server."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from bittrade.services import api_keys
from tests.e2e.conftest import System, running_system
from tests.fixtures import Person, new_user
from tests.sockets.conftest import Client, connect

__all__ = ["Client", "connect"]  # the sockets' own fixture

BUY = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def protected_routes(app: Flask) -> list[tuple[str, str]]:
    """(method, rule) of every route that needs a token, from the URL map."""
    return sorted(
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if getattr(app.view_functions[rule.endpoint], "access", None) == "protected"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


def fill(rule: str, value: Any = 1) -> str:
    """A path for a rule, with something in each place."""
    return re.sub(r"<[^>]+>", str(value), rule)


@pytest.fixture
def make_key(app: Flask) -> Callable[..., str]:
    """Make an API key: make_key(user, "read", "trade", days=1, addresses=[…])."""

    def make(user: Person, *scopes: str, **more: Any) -> str:
        with app.app_context():
            return str(api_keys.create_key(user.id, name="a program", scopes=scopes, **more)["key"])

    return make


@pytest.fixture
def user(app: Flask) -> Person:
    """Somebody with ₹10,000 and half a million satoshis."""
    return new_user(app, inr=10_000, btc=500_000)


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest, surroundings: Any, redis_url: str) -> Iterator[System]:
    """A real gunicorn, with a source of prices, on a scratch database; bodies have two seconds."""
    new = request.getfixturevalue("new_mariadb" if surroundings.database_version else "new_sqlite")
    # Documents make more requests than people do; the limits have tests of their own.
    variables = {"BODY_TIMEOUT_S": "2", "RATELIMIT_ENABLED": "0", "MAX_PRICE_AGE_S": "3600"}
    with running_system(new(), redis_url, **variables) as system:
        system.start_simulator()
        system.flask("market", "fetch")
        system.start_web()
        yield system
