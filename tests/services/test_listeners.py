"""Events are made for who listens: by the mark that sockets keep, and for everybody where nobody can tell."""

import pytest
from flask import Flask

from bittrade import cache
from bittrade.extensions import cache_redis, own, socketio
from bittrade.services import user_data
from tests.fixtures import Person, new_user


@pytest.fixture
def published(inside: Flask, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The events that go out."""
    names: list[str] = []
    monkeypatch.setattr(socketio, "emit", lambda name, *_args, **_kwargs: names.append(name))
    return names


@pytest.fixture
def user(inside: Flask) -> Person:
    return new_user(inside, inr=5000)


def publish(user: Person) -> None:
    held = user_data.get_balance(user.id, 0)
    user_data.publish(user.id, {name: value for name, value in held.items() if name != "cached"})


def test_nothing_is_made_for_nobody_and_the_cache_is_filled_all_the_same(
    user: Person, published: list[str]
) -> None:
    cache_redis().delete(own(cache.user_balance_key(user.id)))
    publish(user)
    assert published == []
    assert cache.get_for(cache.user_balance_key(user.id), 1) is not None


def test_who_listens_is_told(user: Person, published: list[str]) -> None:
    user_data.note_listeners([user.id])
    publish(user)
    assert published == ["user_balance_update", "user_transaction_update"]
    assert 0 < cache_redis().ttl(own(cache.user_listens_key(user.id))) <= cache.USER_LISTENS_TTL_S


def test_while_redis_is_away_everybody_is_told(
    user: Person, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache._breaker, "call", lambda _command: None)
    publish(user)
    assert published == ["user_balance_update", "user_transaction_update"]
