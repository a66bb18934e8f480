"""The cache: what is ours comes back, what is not is a miss, and a Redis that is away is one too."""

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from bittrade import cache
from tests.fixtures import key_of

FOREIGN = [
    b"not json",
    b"[]",
    b"null",
    b'"x"',
    b"{}",
    b'{"btc_usd_price": 45000}',
    b'{"bittrade_format": 0}',
    b"\xff",
]


@pytest.mark.parametrize("raw", FOREIGN)
def test_what_another_program_wrote_under_our_key_is_a_miss(
    app: Flask, client: FlaskClient, price: None, redis_url: str, raw: bytes
) -> None:
    with redis.Redis.from_url(redis_url) as server:
        server.set(key_of(app, cache.LATEST_PRICE), raw)
        answer = client.get("/api/bitcoin/current")
        assert (answer.status_code, answer.get_json()["cached"]) == (200, False)
        assert client.get("/api/market-rates").get_json()["cached"] is True  # it was put right


def test_what_is_put_comes_back_until_its_time_is_over(app: Flask, redis_url: str) -> None:
    with app.app_context(), redis.Redis.from_url(redis_url) as server:
        cache.put("a", {"b": [1, None, "ü"]}, 60)
        assert cache.get("a") == {"b": [1, None, "ü"]}
        assert 0 < server.ttl(key_of(app, "a")) <= 60


def test_a_users_value_counts_only_at_its_own_seq(app: Flask) -> None:
    with app.app_context():
        cache.put_for("a", 7, ["x"], 60)
        assert cache.get_for("a", 7) == ["x"]
        assert cache.get_for("a", 6) is None
        assert cache.get_for("a", 8) is None
