"""How MariaDB finds what a hot route asks for: by an index, in its order; never by reading a table, never by sorting."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from bittrade import messages, questions, wire
from bittrade.domain.pricing import Rates
from bittrade.extensions import db
from bittrade.questions import Question
from bittrade.services.orders import matching
from tests.fixtures import Person, add_prices, new_user, set_price

# A handful of rows, read whole on purpose; a user's open orders, a hundred at most, sorted on purpose.
BOUNDED = {"settings", "orders"}
PEOPLE, TRADES = 8, 20
ORDER = {"action": "buy", "type": "market", "amount": "100", "currency": "inr"}
ROUTES = (
    "/api/market-rates",
    "/api/bitcoin/current",
    "/api/bitcoin/sentiment",
    "/api/bitcoin/history",
    "/api/trading-rules",
    "/api/auth/verify",
    "/api/balance",
    "/api/transactions?limit=50",
    "/api/transactions?limit=50&page=2",
    "/api/transactions?limit=5&before_id=100000",
    "/api/transactions?order=asc&limit=5&after_id=3",
    "/api/ledger?limit=5",
    "/api/ledger?limit=5&order=asc",
    "/api/markets",
    "/api/events?after_seq=3",
)


@pytest.fixture
def person(on_mariadb: Flask) -> Person:
    """Somebody with a history, among others with theirs."""
    set_price(on_mariadb)
    people = [new_user(on_mariadb, inr=10_000) for _ in range(PEOPLE)]
    client = on_mariadb.test_client()
    for person in people:
        for _ in range(TRADES):
            assert trade(client, person).status_code == 201
    with db.engine.connect() as connection:
        connection.exec_driver_sql(
            "ANALYZE TABLE users, balances, sessions, transactions, ledger_legs, bitcoin_data"
        ).all()
    return people[PEOPLE // 2]


def trade(client: Any, person: Person) -> Any:
    headers = {**person.headers, "Idempotency-Key": str(uuid.uuid4())}
    return client.post("/api/trade", json=ORDER, headers=headers)


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Everything that is asked of the database meanwhile: by Sessions, as Questions, in messages of several."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, text: str, parameters: Any, *_others: Any) -> None:
        asked.append((text, parameters))

    listened = (db.engine, questions._engine())
    for engine in listened:
        event.listen(engine, "before_cursor_execute", note)
    ask = Question.ask

    def noting(question: Question, **values: Any) -> Any:
        asked.append((question.text(), values))
        return ask(question, **values)

    send = messages.Transaction._send

    def noting_each(transaction: Any, texts: Any, answers: Any) -> Any:
        asked.extend((text, None) for text in texts if "@@global" not in text)
        return send(transaction, texts, answers)

    Question.ask = noting  # type: ignore[method-assign]
    messages.Transaction._send = noting_each  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        Question.ask = ask  # type: ignore[method-assign]
        messages.Transaction._send = send  # type: ignore[method-assign]
        for engine in listened:
            event.remove(engine, "before_cursor_execute", note)


def complaints(text: str, parameters: Any) -> list[str]:
    """What is wrong with the way in which MariaDB would do this."""
    if not text.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
        return []
    with db.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN {text}", parameters).mappings().all()
    return [
        f"{step['table']}: {step['type']} over {step['rows']} rows, {step['Extra']}: {text}"
        for step in plan
        if step["table"] not in BOUNDED
        and (
            step["type"] in ("ALL", "index")
            or any(word in (step["Extra"] or "") for word in ("filesort", "temporary"))
        )
        and not (
            step["type"] == "index" and "LIMIT" in text.upper()
        )  # the newest by an index, and then it ends
    ]


@pytest.mark.timeout(180)
def test_hot_routes_find_everything_by_an_index(on_mariadb: Flask, person: Person) -> None:
    client = on_mariadb.test_client()
    with statements() as asked:
        for path in ROUTES:
            assert client.get(path, headers=person.headers).status_code in (200, 404), path
        assert trade(client, person).status_code == 201
    assert len(asked) > 10
    distinct = dict(asked)
    found = [line for text, parameters in distinct.items() for line in complaints(text, parameters)]
    assert found == [], "\n".join(found)


@pytest.mark.timeout(180)
def test_matching_reads_one_range_of_an_index_a_side(on_mariadb: Flask, person: Person) -> None:
    client = on_mariadb.test_client()
    for number in range(60):
        body = {
            "side": "buy",
            "type": "limit",
            "limit_price": 4_000_000 - number,
            "amount": 10,
            "currency": "inr",
        }
        assert client.post("/api/orders", json=body, headers=person.headers).status_code == 201
    with on_mariadb.app_context():
        with db.engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE TABLE orders, users").all()
        for query in matching.reached(Rates(buy_inr=3_999_998, sell_inr=3_900_000)):
            text = query.limit(100).compile(db.engine, compile_kwargs={"literal_binds": True})
            with db.engine.connect() as connection:
                first, then = connection.exec_driver_sql(f"EXPLAIN {text}").mappings().all()
            assert (first["table"], first["type"], first["key"]) == ("orders", "range", "ix_orders_matching")
            assert (then["table"], then["type"], then["key"]) == ("users", "eq_ref", "PRIMARY")
            assert "temporary" not in first["Extra"]
            assert int(first["rows"]) <= 3  # those that are reached, of sixty


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id FROM transactions WHERE client_order_id = 'x'",
        "SELECT id FROM transactions WHERE user_id = 1 ORDER BY inr_amount",
    ],
)
def test_what_reads_a_table_or_sorts_is_noticed(on_mariadb: Flask, person: Person, text: str) -> None:
    assert complaints(text, ()) != []


@pytest.mark.timeout(180)
def test_a_page_in_the_middle_of_a_long_statement_reads_a_page(on_mariadb: Flask, person: Person) -> None:
    client = on_mariadb.test_client()
    for order in ("desc", "asc"):
        first = client.get(f"/api/ledger?limit=5&order={order}", headers=person.headers).get_json()
        with statements() as asked:
            path = f"/api/ledger?limit=5&order={order}&cursor={first['next_cursor']}"
            assert client.get(path, headers=person.headers).status_code == 200
        found = [line for text, parameters in asked for line in complaints(text, parameters)]
        assert found == [], "\n".join(found)
        assert any("FORCE INDEX" in text and "LIMIT" in text for text, _ in asked)


@pytest.mark.timeout(180)
def test_candles_of_a_window_read_its_range_of_an_index(on_mariadb: Flask) -> None:
    add_prices(on_mariadb, *range(40_000, 41_000))
    since = wire.timestamp(wire.now() - timedelta(seconds=59))
    with on_mariadb.app_context(), statements() as asked:
        path = f"/api/bitcoin/candles?interval=1m&limit=1&since={since}"
        assert on_mariadb.test_client().get(path).status_code == 200
    (text, parameters) = next(pair for pair in asked if "GROUP BY" in pair[0])
    with db.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE TABLE bitcoin_data").all()
        plan = connection.exec_driver_sql(f"EXPLAIN {text}", parameters).mappings().all()
    grouped = next(step for step in plan if step["select_type"] == "DERIVED")
    assert (grouped["type"], grouped["key"]) == ("range", "ix_bitcoin_data_as_of"), grouped
    assert int(grouped["rows"]) < 200
