"""What expired is purged, in batches; what may still be needed is not."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import wire
from bittrade.extensions import db
from bittrade.models import BitcoinPriceEvent, IdempotencyKey, LoginFailure, LoginSession, Quote
from bittrade.services import maintenance
from tests.fixtures import Person, new_user

NOTHING = {
    "quotes": 0,
    "idempotency_keys": 0,
    "login_failures": 0,
    "sessions": 0,
    "bitcoin_price_events": 0,
}


def ago(**past: float) -> Any:
    return wire.now() - timedelta(**past)


def insert(model: Any, *rows: dict[str, Any]) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.insert(model.__table__), list(rows))


def quote(user_id: int, number: int, expires_at: Any) -> dict[str, Any]:
    return {
        "id": f"{number:032x}",
        "user_id": user_id,
        "price": "{}",
        "created_at": expires_at,
        "expires_at": expires_at,
    }


def key(user_id: int, name: str, at: Any) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "route": "trade",
        "key": name,
        "fingerprint": "",
        "answer": "{}",
        "created_at": at,
    }


def test_what_expired_goes_and_what_did_not_stays(on_both_databases: Flask) -> None:
    person = new_user(on_both_databases)
    with on_both_databases.app_context():
        insert(Quote, quote(person.id, 1, ago(hours=25)), quote(person.id, 2, ago(hours=23)))
        insert(IdempotencyKey, key(person.id, "old", ago(hours=49)), key(person.id, "young", ago(hours=47)))
        failure = {"bucket": "strangers", "failures": 3, "locked_until": None}
        insert(
            LoginFailure,
            {"email_normalized": "old@x.test", "last_failed_at": ago(hours=25), **failure},
            {"email_normalized": "young@x.test", "last_failed_at": ago(hours=23), **failure},
            {"email_normalized": "locked@x.test", "last_failed_at": ago(hours=25), **failure,
             "locked_until": ago(hours=-1)},
        )  # fmt: skip
        session = {"user_id": person.id, "issued_at": ago(days=9), "revoked_at": None}
        insert(
            LoginSession,
            {"jti": "old", "expires_at": ago(days=8), **session},
            {"jti": "young", "expires_at": ago(days=6), **session},
        )
        event = {"provider": "x", "outcome": "refused", "reason": ""}
        insert(BitcoinPriceEvent, {"at": ago(days=91), **event}, {"at": ago(days=89), **event})
        assert maintenance.purge() == dict.fromkeys(NOTHING, 1)
        assert maintenance.purge() == NOTHING


def test_more_rows_than_a_batch_go_in_several(
    app: Flask, make_user: Callable[..., Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "BATCH_ROWS", 10)
    person = make_user()
    with app.app_context():
        insert(IdempotencyKey, *(key(person.id, f"k{number}", ago(days=3)) for number in range(25)))
        assert maintenance.purge()["idempotency_keys"] == 25


def test_a_table_that_is_large_costs_no_other_its_turn(
    app: Flask, make_user: Callable[..., Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "BATCH_ROWS", 1)
    person = make_user()
    with app.app_context():
        insert(Quote, *(quote(person.id, number, ago(hours=25)) for number in range(1, 500)))
        insert(IdempotencyKey, key(person.id, "k", ago(days=3)))
        tables = maintenance._purges(wire.now())
        monkeypatch.setattr(maintenance, "_purges", lambda _now: tables[:2])
        gone = maintenance.purge(run_s=0.2)
        assert gone["idempotency_keys"] == 1
        assert gone["quotes"] > 0


def test_a_run_ends_in_time_and_the_next_one_goes_on(app: Flask, make_user: Callable[..., Person]) -> None:
    person = make_user()
    with app.app_context():
        insert(IdempotencyKey, key(person.id, "k", ago(days=3)))
        assert maintenance.purge(run_s=0)["idempotency_keys"] == 0
        assert maintenance.purge()["idempotency_keys"] == 1
