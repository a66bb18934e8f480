"""A user's cached view: quick, and never older than a trade that the server has acknowledged."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bittrade import cache
from bittrade.extensions import db
from bittrade.services import events, funds
from bittrade.services.funds import Funds
from dev.services import PrivateRedis
from tests.fixtures import Person, key_of, new_user, set_price, together

BUY = {"action": "buy", "type": "market", "amount": "10", "currency": "inr"}


def trade(client: FlaskClient, user: Person) -> int:
    """A trade's sequence number, once it was acknowledged."""
    answer = client.post("/api/trade", json=BUY, headers=user.headers)
    assert answer.status_code == 201, answer.get_json()
    return int(answer.get_json()["seq"])


def balance_seq(client: FlaskClient, user: Person) -> int:
    return int(client.get("/api/balance", headers=user.headers).get_json()["seq"])


def history_seq(client: FlaskClient, user: Person) -> int:
    return max(
        row["seq"] for row in client.get("/api/transactions", headers=user.headers).get_json()["transactions"]
    )


READS = {"balance": balance_seq, "transactions": history_seq}


def test_the_caches_last_for_their_stated_times(app: Flask, client: FlaskClient, redis_url: str) -> None:
    user = new_user(app, inr=100)
    client.get("/api/balance", headers=user.headers)
    client.get("/api/transactions", headers=user.headers)
    client.get("/api/portfolio", headers=user.headers)
    with redis.Redis.from_url(redis_url) as held:
        assert 3540 < held.ttl(key_of(app, f"user_portfolio_{user.id}")) <= 3600
        assert 540 < held.ttl(key_of(app, f"user_balance_{user.id}")) <= 600
        assert 3540 < held.ttl(key_of(app, f"user_transactions_{user.id}")) <= 3600


def test_a_second_look_at_the_history_comes_from_the_cache_and_is_the_same(
    app: Flask, client: FlaskClient
) -> None:
    user = new_user(app, inr=100)
    first, second = (client.get("/api/transactions", headers=user.headers).get_json() for _ in range(2))
    assert [row.pop("cached") for row in first["transactions"]] == [False]
    assert [row.pop("cached") for row in second["transactions"]] == [True]
    assert first == second


def test_a_cached_page_serves_smaller_limits_with_an_exact_has_more(app: Flask, client: FlaskClient) -> None:
    user = new_user(app)
    with app.app_context():
        for amount in range(1, 6):
            funds.deposit(user.id, Funds(amount, 0))
    for limit, has_more in ((50, False), (2, True), (4, True), (5, False), (6, False)):
        page = client.get(f"/api/transactions?limit={limit}", headers=user.headers).get_json()
        assert [row["inr_amount"] for row in page["transactions"]] == [5, 4, 3, 2, 1][:limit]
        assert page["hasMore"] is has_more


@pytest.mark.parametrize("rows", [50, 51, 52])
def test_the_last_page_that_the_cache_could_hold_has_an_exact_has_more(
    app: Flask, client: FlaskClient, rows: int
) -> None:
    """The cache keeps one row more than a page has by default; a page of one more has to ask the database."""
    user = new_user(app)
    with app.app_context():
        for amount in range(1, rows + 1):
            funds.deposit(user.id, Funds(amount, 0))
    for _ in range(2):
        for limit in (49, 50, 51, 52):
            page = client.get(f"/api/transactions?limit={limit}", headers=user.headers).get_json()
            assert len(page["transactions"]) == min(limit, rows)
            assert page["hasMore"] is (rows > limit)


def test_what_redis_holds_of_an_earlier_moment_is_not_served(
    app: Flask, client: FlaskClient, redis_url: str
) -> None:
    user = new_user(app, inr=100)
    for read in READS.values():
        read(client, user)
    with redis.Redis.from_url(redis_url) as held:
        old = {key: held.get(key) for key in held.keys(key_of(app, "user_*"))}
        assert len(old) == 2
        with app.app_context():
            funds.deposit(user.id, Funds(50, 0))
        for key, value in old.items():
            held.set(key, value)  # a slow writer of before the deposit comes last
    assert client.get("/api/balance", headers=user.headers).get_json()["available_inr"] == 150
    assert history_seq(client, user) == 2


@pytest.mark.parametrize(
    "garbage", [b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"seq": 1}', b'{"value": 1}', b"7", b'"x"']
)
def test_garbage_in_the_cache_is_a_miss(
    app: Flask, client: FlaskClient, redis_url: str, garbage: bytes
) -> None:
    user = new_user(app, inr=100)
    with redis.Redis.from_url(redis_url) as held:
        for name in ("balance", "transactions"):
            held.set(key_of(app, f"user_{name}_{user.id}"), garbage)
    assert client.get("/api/balance", headers=user.headers).get_json()["available_inr"] == 100
    assert history_seq(client, user) == 1


def test_a_key_of_another_type_in_the_cache_is_a_miss(
    app: Flask, client: FlaskClient, redis_url: str
) -> None:
    user = new_user(app, inr=100)
    with redis.Redis.from_url(redis_url) as held:
        held.delete(key_of(app, f"user_balance_{user.id}"))
        held.lpush(key_of(app, f"user_balance_{user.id}"), "a list")
    assert client.get("/api/balance", headers=user.headers).get_json()["available_inr"] == 100


def test_two_users_never_see_each_other_s_cached_view(app: Flask, client: FlaskClient) -> None:
    one, other = new_user(app, inr=111), new_user(app, inr=222)
    for _ in range(2):
        for user, held in ((one, 111), (other, 222)):
            assert client.get("/api/balance", headers=user.headers).get_json()["available_inr"] == held
            rows = client.get("/api/transactions", headers=user.headers).get_json()["transactions"]
            assert [row["inr_amount"] for row in rows] == [held]


# --- Read your writes ---------------------------------------------------------------------------------------------

TRADERS, READERS, TRADES = 10, 50, 5


class Race:
    """Traders of two users, and readers who check that nothing they see is older than what was acknowledged before."""

    def __init__(self, app: Flask, *, trades: int = TRADES, traders: int = TRADERS) -> None:
        self.app, self.trades, self.traders = app, trades, traders
        self.users = [new_user(app, inr=1_000_000) for _ in range(2)]
        self.acknowledged = {user.id: 1 for user in self.users}
        self.reads = 0
        self._lock = threading.Lock()
        self._trading = traders

    def run(self, number: int) -> None:
        client, user = self.app.test_client(), self.users[number % 2]
        if number < self.traders:
            self._trade(client, user)
        else:
            self._read(client, user, list(READS.values())[number // 2 % 2])

    def _trade(self, client: FlaskClient, user: Person) -> None:
        try:
            for _ in range(self.trades):
                seq = trade(client, user)
                with self._lock:
                    self.acknowledged[user.id] = max(seq, self.acknowledged[user.id])
        finally:
            with self._lock:
                self._trading -= 1

    def _read(self, client: FlaskClient, user: Person, read: Callable[[FlaskClient, Person], int]) -> None:
        last = 0
        while True:
            is_last_look = self._trading == 0
            acknowledged = self.acknowledged[user.id]
            seen = read(client, user)
            assert seen >= acknowledged, "a read showed less than a trade that was acknowledged before it"
            assert seen >= last, "a client saw its own history go back"
            last = seen
            with self._lock:
                self.reads += 1
            if is_last_look:
                return


def test_fifty_readers_racing_ten_traders_never_see_less_than_was_acknowledged(
    new_app: Callable[..., Flask],
) -> None:
    app = new_app(DB_POOL_SIZE=70)
    set_price(app)
    race = Race(app)
    together(TRADERS + READERS, race.run)
    assert race.reads >= READERS
    assert set(race.acknowledged.values()) == {1 + TRADES * TRADERS // 2}


def test_readers_never_see_less_while_redis_goes_away_and_comes_back(
    new_app: Callable[..., Flask], private_redis: PrivateRedis
) -> None:
    app = new_app(DB_POOL_SIZE=30, REDIS_URL=private_redis.url)
    set_price(app)
    race = Race(app, traders=4, trades=6)
    done = threading.Event()

    def hang_and_resume() -> None:
        while not done.wait(0.05):
            private_redis.hang()
            done.wait(0.2)
            private_redis.resume()

    breaking = threading.Thread(target=hang_and_resume)
    breaking.start()
    try:
        together(16, race.run)
    finally:
        done.set()
        breaking.join()
    assert set(race.acknowledged.values()) == {1 + 6 * 4 // 2}


@pytest.mark.parametrize("fault", ["hang", "kill"])
def test_a_read_after_a_trade_is_right_though_redis_failed_in_between(
    fault: str, new_app: Callable[..., Flask], private_redis: PrivateRedis
) -> None:
    app = new_app(REDIS_URL=private_redis.url)
    set_price(app)
    client, user = app.test_client(), new_user(app, inr=1000)
    for read in READS.values():
        assert read(client, user) == 1  # both caches hold it now
    getattr(private_redis, fault)()
    seq = trade(client, user)
    assert seq == 2
    for read in READS.values():
        assert read(client, user) == 2
    if fault == "hang":
        private_redis.resume()
        cache._breaker = cache._Breaker()
        for read in READS.values():
            assert read(client, user) == 2


@pytest.mark.parametrize("query", ["", "?limit=15", "?page=1&limit=200", "?type=MARKET_BUY"])
def test_an_empty_history_asks_only_whose_it_is(app: Flask, client: FlaskClient, query: str) -> None:
    user = new_user(app)
    with app.app_context(), statements(db.engine) as asked:
        answer = client.get(f"/api/transactions{query}", headers=user.headers)
    assert (answer.json["transactions"], answer.json["hasMore"]) == ([], False)
    assert not [statement for statement in asked if "FROM transactions" in statement]
    assert len(asked) <= 1


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[str]]:
    """What the database is asked."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def test_two_hundred_missed_transactions_are_told_and_one_more_is_not(app: Flask) -> None:
    user = new_user(app, inr=1)
    with app.app_context():
        for _ in range(199):
            funds.deposit(user.id, Funds(1, 0))
        missed = events.list_missed(user.id, after=0)
        assert (missed.complete, len(missed.transactions)) == (True, 200)
        funds.deposit(user.id, Funds(1, 0))
        assert not events.list_missed(user.id, after=0).complete
        assert events.list_missed(user.id, after=1).complete
