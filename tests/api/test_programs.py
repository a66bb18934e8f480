"""The routes for programs: the clock, the market, candles of any stretch, the history and the statement by cursor."""

import csv
import io
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import wire
from bittrade.domain.ledger import BALANCE_ACCOUNTS
from bittrade.extensions import db
from bittrade.models import BitcoinData
from bittrade.services import funds, settings, statement
from bittrade.services.funds import Funds
from tests.api.conftest import BUY
from tests.fixtures import Person, new_user, set_price

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
LIMIT = {"side": "buy", "type": "limit", "limit_price": 4_000_000, "amount": "500", "currency": "inr"}


# --- Time and markets ---------------------------------------------------------------------------------------------


def test_the_clock_is_that_of_now_and_says_it_twice(client: FlaskClient) -> None:
    before = wire.now()
    answer = client.get("/api/time")
    body = answer.get_json()
    at = wire.EPOCH + timedelta(milliseconds=body["epoch_ms"])
    assert before - timedelta(milliseconds=1) <= at <= wire.now()
    assert body["timestamp"] == wire.timestamp(at)
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_one_market_says_precision_limits_and_spread(app: Flask, client: FlaskClient) -> None:
    (market,) = client.get("/api/markets").get_json()["markets"]
    rules = client.get("/api/trading-rules").get_json()
    assert (market["symbol"], market["base"], market["quote"]) == ("BTC/INR", "BTC", "INR")
    assert market["precision"] == {"amount": 8, "cost": 0, "price": 0}
    assert market["limits"]["cost"] == {"min": rules["min_order_inr"], "max": rules["max_order_inr"]}
    assert market["limits"]["open_orders"] == rules["max_open_orders"]
    assert (market["spread_pct"], market["active"]) == (rules["spread_pct"], True)
    assert market["order_types"] == ["market", "limit"]


def test_a_halted_market_is_not_active(app: Flask, client: FlaskClient) -> None:
    halt = app.test_cli_runner().invoke(args=["trading", "halt", "--why", "a test"])
    assert halt.exit_code == 0, halt.output
    (market,) = client.get("/api/markets").get_json()["markets"]
    assert market["active"] is False


# --- Candles ------------------------------------------------------------------------------------------------------


def add(*prices: tuple[float, int]) -> None:
    """Record prices in dollars, so many minutes after noon."""
    rows = [
        {"btc_usd_cents": usd * 100, "as_of": at, "created_at": at, "source": "coingecko"}
        for minutes, usd in prices
        for at in [NOON + timedelta(minutes=minutes)]
    ]
    with db.engine.begin() as connection:
        connection.execute(sa.insert(BitcoinData.__table__), rows)


def candles(client: FlaskClient, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/bitcoin/candles", query_string={"interval": "1m", **query})
    assert answer.status_code == 200, answer.get_json()
    found: list[dict[str, Any]] = answer.get_json()["candles"]
    return found


def minutes_of(found: list[dict[str, Any]]) -> list[int]:
    return [(datetime.fromisoformat(candle["timestamp"]) - NOON) // timedelta(minutes=1) for candle in found]


def at(minutes: float) -> str:
    return wire.timestamp(NOON + timedelta(minutes=minutes))


def test_since_brings_the_first_candles_from_then_on(on_both_databases: Flask) -> None:
    client = on_both_databases.test_client()
    with on_both_databases.app_context():
        add((0, 100), (1, 110), (1.5, 90), (3, 120), (9, 130))
    found = candles(client, since=at(1), limit=3)
    assert minutes_of(found) == [1, 2, 3]
    assert [candle["close"] for candle in found] == [90, None, 120]
    assert (found[0]["open"], found[0]["high"], found[0]["low"], found[0]["samples"]) == (110, 110, 90, 2)
    assert all(candle["complete"] for candle in found)
    assert minutes_of(candles(client, since=at(0.5), limit=2)) == [1, 2]  # begins at or after


def test_until_brings_the_last_candles_before_then(on_both_databases: Flask) -> None:
    client = on_both_databases.test_client()
    with on_both_databases.app_context():
        add((0, 100), (4, 120), (9, 130))
    assert minutes_of(candles(client, until=at(5), limit=2)) == [3, 4]
    assert minutes_of(candles(client, until=at(4.5), limit=2)) == [3, 4]
    assert minutes_of(candles(client, until=at(5), limit=500)) == [0, 1, 2, 3, 4]
    assert minutes_of(candles(client, since=at(1), until=at(3), limit=500)) == [1, 2]
    assert minutes_of(candles(client, since=at(3), until=at(1))) == []


def test_a_since_of_before_the_first_price_begins_with_it(client: FlaskClient, app: Flask) -> None:
    with app.app_context():
        add((7, 100), (9, 130))
    assert minutes_of(candles(client, since="1970-01-01T00:00:00Z", limit=2)) == [7, 8]
    assert candles(client, until=at(-5)) == []


@pytest.mark.parametrize("bound", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_ends_of_time_are_no_error(client: FlaskClient, app: Flask, bound: str) -> None:
    with app.app_context():
        add((0, 100))
    for query in ({"since": bound}, {"until": bound}, {"since": bound, "until": bound}):
        candles(client, **query, limit=5)


def test_walking_on_by_since_sees_each_price_once(client: FlaskClient, app: Flask) -> None:
    with app.app_context():
        add(*((minute / 2, 100 + minute) for minute in range(40)))
    since, seen = at(0), 0
    for _ in range(10):
        page = candles(client, since=since, until=at(25), limit=7)
        if not page:
            break
        seen += sum(candle["samples"] for candle in page)
        later = datetime.fromisoformat(page[-1]["timestamp"]) + timedelta(minutes=1)
        since = wire.timestamp(later)
    assert seen == 40


@pytest.mark.parametrize(("interval", "minutes"), [("15m", 15), ("4h", 240)])
def test_the_intervals_that_programs_want(
    client: FlaskClient, app: Flask, interval: str, minutes: int
) -> None:
    with app.app_context():
        add((0, 100), (minutes - 0.5, 101), (minutes, 102))
    found = candles(client, interval=interval, since=at(0), limit=2)
    assert [(candle["open"], candle["close"], candle["samples"]) for candle in found] == [
        (100, 101, 2),
        (102, 102, 1),
    ]


def test_in_rupees_a_candle_is_what_a_buyer_would_pay(client: FlaskClient, app: Flask) -> None:
    with app.app_context():
        add((0, 100), (0.5, 200))
        buy = settings.multipliers(settings.with_defaults([])).buy
    answer = client.get(
        "/api/bitcoin/candles", query_string={"interval": "1m", "currency": "inr", "since": at(0), "limit": 1}
    ).get_json()
    assert answer["currency"] == "inr"
    (candle,) = answer["candles"]
    assert (candle["open"], candle["close"]) == (100 * buy // 10_000, 200 * buy // 10_000)
    (dollars,) = candles(client, since=at(0), limit=1)  # the two are not mixed up in the cache
    assert (dollars["open"], dollars["close"]) == (100, 200)


@pytest.mark.parametrize(
    "query", ["since=yesterday", "since=2025-03-01T12:00:00", "until=0", "currency=eur", "interval=3m"]
)
def test_a_stretch_that_makes_no_sense_is_refused(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/api/bitcoin/candles?{query}")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_input")


# --- History, oldest first ----------------------------------------------------------------------------------------


def pages(client: FlaskClient, user: Person, **query: Any) -> Iterator[dict[str, Any]]:
    after: int | None = None
    for _ in range(50):
        cursor = {} if after is None else {"after_id": after}
        answer = client.get(
            "/api/transactions", query_string={"order": "asc", **query, **cursor}, headers=user.headers
        )
        assert answer.status_code == 200, answer.get_json()
        body = answer.get_json()
        yield body
        after = body["next_after_id"]
        if not body["hasMore"]:
            return


def test_ascending_pages_hold_everything_settled_once_in_order(on_both_databases: Flask) -> None:
    client, user = on_both_databases.test_client(), new_user(on_both_databases)
    other = new_user(on_both_databases, inr=7)
    with on_both_databases.app_context():
        for rupees in range(1, 8):
            funds.deposit(user.id, Funds(rupees, 0))
            funds.deposit(other.id, Funds(100, 0))
    rows = [row for page in pages(client, user, limit=3) for row in page["transactions"]]
    assert [row["inr_amount"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    descending = client.get("/api/transactions", headers=user.headers).get_json()["transactions"]
    assert [{**row, "cached": None} for row in rows] == [
        {**row, "cached": None} for row in reversed(descending)
    ]


def test_what_comes_later_follows_the_last_cursor(client: FlaskClient, app: Flask, user: Person) -> None:
    *_, last = pages(client, user)
    again = client.get(
        f"/api/transactions?order=asc&after_id={last['next_after_id']}", headers=user.headers
    ).get_json()
    assert (again["transactions"], again["hasMore"]) == ([], False)
    assert again["next_after_id"] == last["next_after_id"]
    with app.app_context():
        funds.deposit(user.id, Funds(77, 0))
    (row,) = client.get(
        f"/api/transactions?order=asc&after_id={again['next_after_id']}", headers=user.headers
    ).get_json()["transactions"]
    assert row["inr_amount"] == 77


@pytest.mark.usefixtures("price")
def test_an_open_order_is_not_in_it_and_filters_hold(client: FlaskClient, user: Person) -> None:
    assert client.post("/api/orders", json=LIMIT, headers=user.headers).status_code == 201
    assert client.post("/api/trade", json=BUY, headers=user.headers).status_code == 201
    types = [row["type"] for page in pages(client, user) for row in page["transactions"]]
    assert types == ["DEPOSIT_INR", "DEPOSIT_BTC", "MARKET_BUY"]
    bought = [row["type"] for page in pages(client, user, type="MARKET_BUY") for row in page["transactions"]]
    assert bought == ["MARKET_BUY"]


def test_nobody_begins_at_another_s_row(client: FlaskClient, user: Person, app: Flask) -> None:
    other = new_user(app, inr=7)
    theirs = client.get("/api/transactions", headers=other.headers).get_json()["transactions"][0]["id"]
    answer = client.get(f"/api/transactions?order=asc&after_id={theirs}", headers=user.headers).get_json()
    assert answer["transactions"] == []  # all of this user's rows are older


@pytest.mark.parametrize(
    "query", ["after_id=1", "order=asc&before_id=5", "order=asc&page=2", "order=up", "order=asc&after_id=x"]
)
def test_cursors_of_the_wrong_order_are_refused(client: FlaskClient, user: Person, query: str) -> None:
    answer = client.get(f"/api/transactions?{query}", headers=user.headers)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_input")


# --- The statement ------------------------------------------------------------------------------------------------


def entries(client: FlaskClient, user: Person, **query: Any) -> list[dict[str, Any]]:
    """Walk to the end."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for _ in range(100):
        answer = client.get("/api/ledger", query_string={**query, **cursor}, headers=user.headers)
        assert answer.status_code == 200, answer.get_json()
        body = answer.get_json()
        assert len(body["entries"]) <= query.get("limit", statement.DEFAULT_LIMIT)
        found += body["entries"]
        if not body["hasMore"]:
            assert (body["next_cursor"] is not None) == (query.get("order") == "asc")
            return found
        cursor = {"cursor": body["next_cursor"]}
    raise AssertionError("it does not end")


def make_history(app: Flask, client: FlaskClient, user: Person) -> None:
    """A trade, an order that is cancelled and one that waits, a loan: legs of six accounts."""
    set_price(app)
    send: Callable[..., Any] = lambda method, path, body=None: client.open(  # noqa: E731
        path, method=method, json=body, headers=user.headers
    )
    assert send("POST", "/api/trade", BUY).status_code == 201
    order = send("POST", "/api/orders", LIMIT).get_json()
    assert send("DELETE", f"/api/orders/{order['id']}").status_code == 200
    assert send("POST", "/api/orders", LIMIT).status_code == 201
    loan = {"collateral_btc": 100_000, "borrow_inr": 1000}
    assert send("POST", "/api/loans", loan).status_code == 201


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_each_entry_says_what_its_account_holds_after_it(on_both_databases: Flask, limit: int) -> None:
    client, user = on_both_databases.test_client(), new_user(on_both_databases, inr=10_000, btc=500_000)
    new_user(on_both_databases, inr=55)
    make_history(on_both_databases, client, user)
    ascending = entries(client, user, order="asc", limit=limit)
    balances = dict.fromkeys(BALANCE_ACCOUNTS, 0)
    for entry in ascending:
        balances[entry["account"]] += entry["amount"]
        assert entry["balance"] == balances[entry["account"]]
        assert entry["asset"] == BALANCE_ACCOUNTS[entry["account"]].value
    held = client.get("/api/balance", headers=user.headers).get_json()
    assert balances == {account: held[account] for account in BALANCE_ACCOUNTS}
    assert {entry["account"] for entry in ascending} >= {
        "available_inr",
        "available_btc",
        "reserved_inr",
        "collateral_btc",
        "borrowed_inr",
    }
    assert len({entry["id"] for entry in ascending}) == len(ascending)
    assert entries(client, user, order="desc", limit=limit) == ascending[::-1]


def test_an_entry_names_its_transaction(client: FlaskClient, app: Flask, user: Person) -> None:
    make_history(app, client, user)
    history = client.get("/api/transactions?type=MARKET_BUY", headers=user.headers).get_json()["transactions"]
    legs = {
        entry["account"]: entry
        for entry in entries(client, user)
        if entry["transaction_id"] == history[0]["id"]
    }
    assert {account: leg["amount"] for account, leg in legs.items()} == {
        "available_inr": -1000,
        "available_btc": 24_420,
    }
    for leg in legs.values():
        assert (leg["type"], leg["time"]) == ("MARKET_BUY", history[0]["created_at"])


def test_a_page_stays_right_while_more_is_posted(client: FlaskClient, app: Flask, user: Person) -> None:
    make_history(app, client, user)
    whole = entries(client, user)
    first = client.get("/api/ledger?limit=3", headers=user.headers).get_json()
    with app.app_context():
        funds.deposit(user.id, Funds(900, 0))
    rest = client.get(f"/api/ledger?cursor={first['next_cursor']}", headers=user.headers).get_json()
    assert first["entries"] + rest["entries"] == whole


def test_ascending_the_last_cursor_waits_for_what_comes(
    client: FlaskClient, app: Flask, user: Person
) -> None:
    body = client.get("/api/ledger?order=asc", headers=user.headers).get_json()
    with app.app_context():
        funds.deposit(user.id, Funds(900, 0))
    later = client.get(f"/api/ledger?order=asc&cursor={body['next_cursor']}", headers=user.headers).get_json()
    assert [(row["amount"], row["balance"]) for row in later["entries"]] == [(900, 10_900)]


def test_nobody_has_entries_without_history(client: FlaskClient, app: Flask) -> None:
    nobody = new_user(app)
    assert entries(client, nobody) == entries(client, nobody, order="asc") == []


def test_a_cursor_is_its_user_s_and_its_order_s_and_cannot_be_made(
    client: FlaskClient, app: Flask, user: Person
) -> None:
    make_history(app, client, user)
    other = new_user(app, inr=7)
    cursor = client.get("/api/ledger?limit=2", headers=user.headers).get_json()["next_cursor"]
    for who, query in (
        (other, f"cursor={cursor}"),
        (user, f"order=asc&cursor={cursor}"),
        (user, f"cursor={cursor[:-2]}"),
        (user, "cursor=nonsense"),
        (user, "cursor=%00"),
        (user, f"cursor={'x' * 600}"),
    ):
        answer = client.get(f"/api/ledger?{query}", headers=who.headers)
        assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_input")


def test_no_one_between_may_keep_it(client: FlaskClient, user: Person) -> None:
    for path in ("/api/ledger", "/api/ledger.csv"):
        assert client.get(path, headers=user.headers).headers["Cache-Control"] == "no-store"


def test_the_csv_is_the_whole_statement_oldest_first(
    client: FlaskClient, app: Flask, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement, "PIECE", 3)
    make_history(app, client, user)
    answer = client.get("/api/ledger.csv", headers=user.headers)
    assert answer.mimetype == "text/csv"
    *lines, end = answer.get_data(as_text=True).splitlines()
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    listed = entries(client, user, order="asc")
    assert [{name: str(value) for name, value in row.items()} for row in listed] == rows
    assert end == f"# end of export: {len(rows)} entries"
    assert lines[0] == "id,time,type,asset,account,amount,balance,transaction_id"
    assert all(a["time"] <= b["time"] for a, b in itertools.pairwise(rows))
