"""A database that became read-only while it stays up, as after a switch-over: nothing is served from it."""

from collections.abc import Callable

import pytest
from flask import Flask

from bittrade.services import health, ledger
from bittrade.services.trade import together
from drills.mariadb import PrivateMariaDB
from drills.pair import ReplicatedPair
from tests.fixtures import new_user, set_price, wait_until

pytestmark = [pytest.mark.needs("mariadbd"), pytest.mark.needs("mariadb-install-db")]
ORDER = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}


def forget_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_memory", health._Memory())


def test_after_a_switch_over_the_next_trade_goes_to_the_new_primary(
    pair: ReplicatedPair, app_on: Callable[[str], Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_on(pair.url)
    set_price(app)
    user, client = new_user(app, inr=10_000), app.test_client()
    assert client.post("/api/trade", json=ORDER, headers=user.headers).status_code == 201

    pair.demote()
    forget_health(monkeypatch)
    for path in ("/api/balance", "/api/transactions", "/api/health"):
        assert client.get(path, headers=user.headers).status_code == 503, path
    refused = client.post("/api/trade", json=ORDER, headers=user.headers)
    assert (refused.status_code, refused.get_json()["code"]) == (503, "database_unavailable")

    pair.promote()
    assert client.post("/api/trade", json=ORDER, headers=user.headers).status_code == 201
    held = client.get("/api/balance", headers=user.headers).get_json()
    assert (held["available_inr"], held["seq"]) == (8_000, 3)
    forget_health(monkeypatch)
    assert client.get("/api/health").status_code == 200


@pytest.mark.parametrize("goes", ["together", "alone"])
def test_a_trade_that_meets_the_switch_half_way_is_refused_whole(
    server: PrivateMariaDB, app_on: Callable[[str], Flask], monkeypatch: pytest.MonkeyPatch, goes: str
) -> None:
    app = app_on(server.url)
    set_price(app)
    user, client = new_user(app, inr=10_000), app.test_client()
    if goes == "alone":
        monkeypatch.setattr(together, "place", lambda _wanted: None)
    name = "post" if goes == "alone" else "insert_together"
    post = getattr(ledger, name)

    def post_after_the_switch(*args: object, **kwargs: object) -> object:
        server.administer("SET GLOBAL read_only = 1")
        return post(*args, **kwargs)

    monkeypatch.setattr(ledger, name, post_after_the_switch)
    try:
        assert client.post("/api/trade", json=ORDER, headers=user.headers).status_code == 503
    finally:
        server.administer("SET GLOBAL read_only = 0")
    monkeypatch.undo()
    held = client.get("/api/balance", headers=user.headers).get_json()
    assert (held["available_inr"], held["seq"]) == (10_000, 1)


def test_a_login_that_may_write_in_spite_of_read_only_does_not(
    server: PrivateMariaDB, app_on: Callable[[str], Flask]
) -> None:
    app = app_on(server.url)
    user, client = new_user(app, inr=10_000), app.test_client()
    server.administer("GRANT READ_ONLY ADMIN ON *.* TO drill@'127.0.0.1'", "SET GLOBAL read_only = 1")
    try:
        assert client.get("/api/balance", headers=user.headers).status_code == 503
    finally:
        server.administer("SET GLOBAL read_only = 0", "REVOKE READ_ONLY ADMIN ON *.* FROM drill@'127.0.0.1'")
    wait_until(lambda: client.get("/api/balance", headers=user.headers).status_code == 200)


@pytest.mark.parametrize("fault", ["shutdown", "kill"])
def test_a_server_that_comes_back_is_used_at_once(
    server: PrivateMariaDB, app_on: Callable[[str], Flask], fault: str
) -> None:
    app = app_on(server.url)
    user, client = new_user(app, inr=10_000), app.test_client()
    if fault == "kill":
        server.kill()
    else:
        server.administer("SHUTDOWN")
        wait_until(lambda: not server.is_answering(), timeout_s=30)
    assert client.get("/api/balance", headers=user.headers).status_code == 503
    server.start()
    assert client.get("/api/balance", headers=user.headers).status_code == 200
