"""A replica for reads: asked for what may be old or whose age is known, and left alone when it lags or fails."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from bittrade import replica
from bittrade.services import doctor
from drills.mariadb import DATABASE, USER
from drills.pair import LOOPBACK, ReplicatedPair
from tests.fixtures import new_user, set_price, wait_until

pytestmark = [pytest.mark.needs("mariadbd"), pytest.mark.needs("mariadb-install-db")]
ORDER = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}


@pytest.fixture
def app(pair: ReplicatedPair, app_on: Callable[[str], Flask], monkeypatch: pytest.MonkeyPatch) -> Flask:
    """An application whose looks at the replica are never old."""
    monkeypatch.setattr(replica, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(replica, "REST_S", 0)
    pair.primary.administer(f"GRANT SLAVE MONITOR ON *.* TO {USER}@'{LOOPBACK}'")
    made = app_on(pair.url)
    made.config["DATABASE_REPLICA_URL"] = pair.replica.url
    pair.replica.administer("START SLAVE")
    wait_until(lambda: is_in_step(pair), timeout_s=60)
    return made


def is_in_step(pair: ReplicatedPair) -> bool:
    ours = pair.primary.administer("SELECT @@global.gtid_binlog_pos AS p")[0]["p"]
    return bool(pair.replica.administer("SELECT @@global.gtid_slave_pos AS p")[0]["p"] == ours)


def leave_a_trace(pair: ReplicatedPair) -> None:
    """Make what the replica says differ from what the primary says."""
    pair.replica.administer(
        f"USE {DATABASE}",
        "UPDATE bitcoin_data SET source = 'replica'",
        "UPDATE transactions SET client_order_id = CONCAT('replica-', id)",
        "UPDATE audit_events SET address = '192.0.2.1'",
    )


def ask(app: Flask, path: str, headers: dict[str, str] | None = None) -> Any:
    answer = app.test_client().get(path, headers=headers)
    assert answer.status_code == 200, answer.data
    return answer.get_json() if answer.is_json else answer.get_data(as_text=True)


def faults(app: Flask) -> list[str]:
    with app.app_context():
        return [finding.fault for finding in doctor.examine() if "replica" in finding.fault]


def test_what_may_be_old_is_read_there_and_what_decides_is_not(pair: ReplicatedPair, app: Flask) -> None:
    set_price(app)
    user = new_user(app, inr=10_000)
    assert app.test_client().post("/api/trade", json=ORDER, headers=user.headers).status_code == 201
    wait_until(lambda: is_in_step(pair), timeout_s=60)
    leave_a_trace(pair)

    assert ask(app, "/api/bitcoin/history")[0]["source"] == "replica"
    rows = ask(app, "/api/transactions?type=MARKET_BUY", user.headers)["transactions"]
    assert rows[0]["client_order_id"].startswith("replica-")
    assert ask(app, "/api/account/activity", user.headers)["events"][0]["address"] == "192.0.2.1"
    assert "replica-" in ask(app, "/api/transactions.csv", user.headers)
    assert ask(app, "/api/portfolio", user.headers)["seq"] == 2
    assert ask(app, "/api/bitcoin/candles?interval=1h")["candles"]
    assert faults(app) == []

    assert ask(app, "/api/bitcoin/current")["source"] != "replica"
    one = ask(app, f"/api/transactions/{rows[0]['id']}", user.headers)
    assert one["client_order_id"] is None


def test_one_that_stands_still_serves_nothing_older_than_an_acknowledged_trade(
    pair: ReplicatedPair, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_price(app)
    user = new_user(app, inr=10_000)
    wait_until(lambda: is_in_step(pair), timeout_s=60)
    leave_a_trace(pair)
    monkeypatch.setattr(replica.Replica, "find_fault", lambda _self: None)  # nobody has noticed yet
    pair.replica.administer("STOP SLAVE")
    assert app.test_client().post("/api/trade", json=ORDER, headers=user.headers).status_code == 201
    assert len(ask(app, "/api/transactions?type=MARKET_BUY", user.headers)["transactions"]) == 1
    assert ask(app, "/api/portfolio", user.headers)["seq"] == 2
    assert "MARKET_BUY" in ask(app, "/api/transactions.csv", user.headers)
    assert ask(app, "/api/transactions", user.headers)["transactions"][0]["type"] == "MARKET_BUY"


def test_one_that_follows_no_more_is_left_alone_and_told_until_it_follows_again(
    pair: ReplicatedPair, app: Flask
) -> None:
    set_price(app)
    wait_until(lambda: is_in_step(pair), timeout_s=60)
    leave_a_trace(pair)
    pair.replica.administer("STOP SLAVE")
    assert ask(app, "/api/bitcoin/history")[0]["source"] != "replica"
    assert "stopped following" in faults(app)[0]
    pair.replica.administer("START SLAVE")
    wait_until(lambda: ask(app, "/api/bitcoin/history")[0]["source"] == "replica", timeout_s=60)
    assert faults(app) == []


def test_one_that_dies_or_hangs_costs_nobody_an_answer(pair: ReplicatedPair, app: Flask) -> None:
    set_price(app)
    user = new_user(app, inr=10_000)
    wait_until(lambda: is_in_step(pair), timeout_s=60)
    leave_a_trace(pair)
    ask(app, "/api/bitcoin/history")
    for stop, resume in ((pair.replica.kill, pair.replica.start), (pair.replica.stop, pair.replica.resume)):
        stop()
        try:
            assert ask(app, "/api/bitcoin/history")[0]["source"] != "replica"
            assert ask(app, "/api/transactions?page=2", user.headers)["transactions"] == []
            assert "it failed" in faults(app)[0]
        finally:
            resume()
        wait_until(lambda: ask(app, "/api/bitcoin/history")[0]["source"] == "replica", timeout_s=60)


def test_one_that_is_none_and_one_that_may_not_be_asked_are_told(pair: ReplicatedPair, app: Flask) -> None:
    app.config["DATABASE_REPLICA_URL"] = pair.primary.url
    assert "follows nobody" in faults(app)[0]
    app.config["DATABASE_REPLICA_URL"] = pair.replica.url.replace(USER, "nobody", 1)
    assert "Access denied" in faults(app)[0]
