"""The house: settings, halt and resume, exposure, machinery, the proof of the books, and everybody's rows."""

from typing import Any

import pytest
from flask import Flask
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from rq.worker import SimpleWorker

from bittrade.extensions import own, queue_redis
from bittrade.services import ledger, traffic
from tests.admin.conftest import WHY, Member, verify
from tests.fixtures import set_price

BUY = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}


def put(admin: Member, settings: dict[str, Any], **more: Any) -> Any:
    return admin.admin("PUT", "settings", {"settings": settings, **more})


def test_settings_change_together(admin: Member, customer: Member, price: None) -> None:
    """One after the other the buy rate would be below the sell rate for a while."""
    assert admin.get("settings")["buy_multiplier"]["value"] == 91
    told = put(admin, {"buy_multiplier": 87, "sell_multiplier": 85.5}).get_json()
    assert (told["buy_multiplier"]["value"], told["sell_multiplier"]["value"]) == (87, 85.5)
    assert told["buy_multiplier"]["updated_at"] is not None
    assert customer.own("/api/market-rates")["buy_rate_inr"] == 45_000 * 87
    rows = admin.get("audit?action=setting_changed")["events"]
    assert {row["facts"]["key"]: row["facts"]["why"] for row in rows} == {
        "buy_multiplier": "by the later client",
        "sell_multiplier": "by the later client",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"buy_multiplier": 80},
        {"buy_multiplier": "x"},
        {"buy_multiplier": None},
        {"buy_multiplier": -1, "sell_multiplier": -2},
        {"trading_halted": "x"},
        {"loan_max_ltv_pct": 99},
    ],
)
def test_settings_that_cannot_be_are_refused(admin: Member, settings: dict[str, Any]) -> None:
    before = admin.get("settings")
    assert put(admin, settings, confirmed=True).status_code == 400
    assert admin.get("settings") == before


def test_a_large_step_has_to_be_confirmed(admin: Member) -> None:
    answer = put(admin, {"buy_multiplier": 910})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "not_confirmed")
    assert put(admin, {"buy_multiplier": 910}, confirmed=True).status_code == 200


def test_trading_is_halted_and_resumed_with_a_reason(admin: Member, customer: Member, price: None) -> None:
    assert admin.admin("POST", "trading", {"action": "halt"}).status_code == 400
    told = admin.admin("POST", "trading", {"action": "halt", "reason": "a broken source"}).get_json()
    assert (told["halted"], told["reason"], told["trading"]) == (True, "a broken source", "halted")
    assert customer.ask("POST", "/api/trade", BUY).get_json()["code"] == "trading_halted"
    told = admin.admin("POST", "trading", {"action": "resume", "reason": "mended"}).get_json()
    assert (told["halted"], told["since"], told["trading"]) == (False, None, "open")
    assert customer.ask("POST", "/api/trade", BUY).status_code == 201
    actions = [event["action"] for event in admin.get("audit")["events"]]
    assert {"trading_halted", "trading_resumed"} <= set(actions)


def test_the_exposure_follows_from_the_books(
    app: Flask, admin: Member, customer: Member, price: None
) -> None:
    bought = customer.ask("POST", "/api/trade", BUY).get_json()
    told = admin.get("exposure")
    assert told["trading_position"] == {"inr": 1000, "btc": -bought["btc_amount"]}
    assert told["custody"] == {"inr": 10_000, "btc": 500_000}
    assert told["owed_to_customers"] == {"inr": 9000, "btc": 500_000 + bought["btc_amount"]}
    for asset in ("inr", "btc"):
        owned = told["custody"][asset] + told["trading_position"][asset] * -1
        assert told["owed_to_customers"][asset] == owned
    # Bought at 4,095,000; to buy it back costs 3,960,000: the spread is the gain.
    assert told["unrealised_gain_inr"] == 1000 - round(bought["btc_amount"] * 3_960_000 / 10**8)
    set_price(app, 46_000)
    assert admin.get("exposure")["unrealised_gain_inr"] < told["unrealised_gain_inr"]
    verify(app)


def test_without_a_price_nothing_is_valued(admin: Member) -> None:
    told = admin.get("exposure")
    assert (told["unrealised_gain_inr"], told["buy_rate_inr"]) == (None, None)


def test_totals_are_the_sums_of_the_balances(admin: Member, customer: Member, support: Member) -> None:
    admin.cash(support, 500)
    told = admin.get("total-balance")
    assert (told["total_available_inr"], told["total_available_btc"]) == (10_500, 500_000)
    assert (told["total_reserved_inr"], told["total_reserved_btc"]) == (0, 0)


def test_metrics_count_trades_deposits_and_plans(admin: Member, customer: Member, price: None) -> None:
    customer.ask("POST", "/api/trade", BUY)
    customer.ask("POST", "/api/trade", {**BUY, "action": "sell", "amount": "300"})
    admin.cash(customer, 200, kind="withdraw")
    plan = {"plan_type": "DCA_BUY", "frequency": "HOURLY", "amount_per_execution_inr": 10}
    assert customer.ask("POST", "/api/dca-plans", plan).status_code == 201
    told = admin.get("metrics")
    assert (told["total_trades"], told["total_volume"]) == (2, 1300)
    assert (told["buy_volume"], told["sell_volume"]) == (1000, 300)
    assert (told["total_cash_deposits"], told["total_cash_withdrawals"]) == (10_000, 200)
    assert (told["total_bitcoin_deposits"], told["total_bitcoin_withdrawals"]) == (500_000, 0)
    assert (told["active_dca_plans"], told["avg_daily_dca_amount"]) == (1, 240)
    today = told["days"][-1]
    assert (len(told["days"]), today["trades"], today["buy_volume"]) == (30, 2, 1000)


def test_everybody_s_transactions_have_their_owner(
    admin: Member, customer: Member, support: Member, price: None
) -> None:
    admin.cash(support, 5)
    customer.ask("POST", "/api/trade", BUY)
    rows = admin.get("transactions")["transactions"]
    assert rows[0]["type"] == "MARKET_BUY"
    assert (rows[0]["user_name"], rows[0]["user_email"]) == ("A Person", customer.person.email)
    own = customer.own("/api/transactions")["transactions"][0]
    assert {name: rows[0][name] for name in own} == {**own, "cached": False}
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    found = admin.get(f"transactions?search={support.person.email}")["transactions"]
    assert [row["inr_amount"] for row in found] == [5]
    assert len(admin.get("transactions?type=DEPOSIT_BTC")["transactions"]) == 1
    page = admin.get("transactions?limit=1")
    rest = admin.get(f"transactions?before_id={page['next_before_id']}")["transactions"]
    assert [row["id"] for row in page["transactions"] + rest] == [row["id"] for row in rows]


def test_an_open_order_is_pending_among_them(admin: Member, customer: Member, price: None) -> None:
    limit = {"side": "buy", "type": "limit", "limit_price": 4_000_000, "amount": "1000", "currency": "inr"}
    number = customer.ask("POST", "/api/orders", limit).get_json()["id"]
    (pending,) = admin.get("transactions?status=PENDING")["transactions"]
    assert (pending["id"], pending["status"], pending["type"]) == (number, "PENDING", "LIMIT_BUY")
    assert number not in [row["id"] for row in admin.get("transactions?status=EXECUTED")["transactions"]]


def test_everybody_s_plans_are_counted(admin: Member, customer: Member, price: None) -> None:
    plan = {"plan_type": "DCA_BUY", "frequency": "DAILY", "amount_per_execution_inr": 10}
    numbers = [customer.ask("POST", "/api/dca-plans", plan).get_json()["planId"] for _ in range(2)]
    customer.ask("PATCH", f"/api/dca-plans/{numbers[0]}/status", {"status": "PAUSED"})
    told = admin.get("dca-plans")
    assert [shown["id"] for shown in told["plans"]] == numbers[::-1]
    assert (told["totalCount"], told["activeCount"], told["pausedCount"], told["completedCount"]) == (
        2,
        1,
        1,
        0,
    )
    assert told["plans"][0]["user_email"] == customer.person.email
    assert [shown["id"] for shown in admin.get("dca-plans?status=PAUSED")["plans"]] == numbers[:1]


def nothing() -> None:
    """A job."""


def test_queues_and_workers_are_those_of_the_library(app: Flask, admin: Member) -> None:
    with app.app_context():
        connection: Redis = queue_redis()
        queue = Queue(own("price"), connection=connection, serializer=JSONSerializer)
        queue.enqueue("tests.nowhere.nothing")
        queue.enqueue("tests.nowhere.nothing")
        Queue("somebody-elses", connection=connection).enqueue("x.y")
        worker = SimpleWorker([queue], connection=connection, serializer=JSONSerializer)
        worker.work(burst=True, max_jobs=1, logging_level="CRITICAL")
        worker.register_birth()
    told = admin.get("queues")
    assert told["redis"] == "connected"
    assert told["queues"] == [{"name": "price", "waiting": 1, "running": 0, "failed": 1}]
    (shown,) = told["workers"]
    assert (shown["queues"], shown["pid"], shown["failed"]) == (["price"], worker.pid, 0)


def test_sources_and_sockets_are_shown(app: Flask, admin: Member, price: None) -> None:
    told = admin.get("sources")
    assert (told["feed"], {source["name"] for source in told["sources"]} >= {"coingecko"}) == ("fresh", True)
    with app.app_context():
        traffic.report("host:1", {"sockets": 3, "members": 2})
    (shown,) = admin.get("sockets")["processes"]
    assert (shown["process"], shown["sockets"]) == ("host:1", 3)


def test_the_proof_of_the_books_is_shown(app: Flask, admin: Member) -> None:
    assert admin.get("ledger")["state"] == "none"
    with app.app_context():
        ledger.verify()
    told = admin.get("ledger")
    assert (told["state"], told["proofs"][0]["kind"], told["proofs"][0]["faults"]) == ("right", "whole", 0)


def test_the_audit_log_is_searched_by_who_and_what(admin: Member, second: Member, customer: Member) -> None:
    admin.cash(customer, 1)
    second.cash(customer, 2)
    rows = admin.get(f"audit?actor={second.person.email}&action=deposit")["events"]
    assert [row["facts"]["inr"] for row in rows] == [2]
    page = admin.get("audit?limit=1")
    older = admin.get(f"audit?limit=1&before_id={page['next_before_id']}")
    assert older["events"][0]["id"] < page["events"][0]["id"]
    assert admin.admin("GET", "audit?action=DROP TABLE").status_code == 400


def test_requests_are_limited_for_each_member_of_staff(
    app: Flask, admin: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "RATELIMIT_ENABLED", True)
    monkeypatch.setitem(app.config, "RATELIMIT_ADMIN", "2 per hour")
    statuses = [admin.admin("GET", path).status_code for path in ("users", "audit", "users")]
    assert statuses == [200, 200, 429]


def test_a_reason_is_read_before_anything_is_done(admin: Member) -> None:
    assert admin.admin("POST", "trading", {"action": "halt", "reason": "—"}).status_code == 400
    assert admin.get("trading")["halted"] is False
    assert admin.admin("POST", "trading", {"action": "explode", **WHY}).status_code == 400
