"""Nothing begins after an acknowledged logout: what gives the right to act is read again behind the lock."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from bittrade.extensions import db
from bittrade.models import ApiKey, AuditEvent, Balance, Transaction, User
from bittrade.services import api_keys, auth, quotes, sessions
from tests.fixtures import PASSWORD, Person, new_user, wait_until
from tests.security.conftest import BUY, bearer

ORDER = {"side": "buy", "type": "limit", "limit_price": 4_000_000, "amount": "1000", "currency": "inr"}
PLAN = {"plan_type": "DCA_BUY", "frequency": "DAILY", "amount_per_execution_inr": 100}
NEW_PASSWORD = "entirely different words"
# The row is held, so who asks for it waits. (What InnoDB itself says of waiting is cached for as long as one looks.)
WAITING = sa.text(
    "SELECT COUNT(*) FROM information_schema.processlist"
    " WHERE db = DATABASE() AND info LIKE '%FOR UPDATE' AND id <> CONNECTION_ID()"
)

# Each ends the right of a token, from another device of its owner.
ENDS: dict[str, Callable[[Person], object]] = {
    "logout": lambda user: auth.logout(auth.authenticate(user.token)),
    "logout-all": lambda user: auth.logout_all(auth.authenticate(user.token)),
    "the end of its session": lambda user: sessions.end_session(
        auth.authenticate(user.token), auth.authenticate(user.token).jti
    ),
    "a change of password": lambda user: auth.change_password(
        auth.authenticate(auth.login(email=user.email, password=PASSWORD)[0]),
        current=PASSWORD,
        new=NEW_PASSWORD,
    ),
    "the account's end": lambda user: auth.disable_user(user.email),
}
# Requests that move money, or would hold a right for later.
REQUESTS = {
    "a trade": ("POST", "/api/trade", BUY),
    "a quote": ("POST", "/api/quote", None),
    "an order": ("POST", "/api/orders", ORDER),
    "a transfer": (
        "POST",
        "/api/send-transaction",
        {"recipientEmail": "nobody@example.com", "amount": 1, "currency": "inr"},
    ),
    "a loan": ("POST", "/api/loans", {"collateral_btc": 1000, "borrow_inr": 1}),
    "a plan": ("POST", "/api/dca-plans", PLAN),
}


@pytest.fixture
def mariadb(app: Flask) -> Flask:
    """An app whose database locks rows: on SQLite there is one writer, and nobody waits inside a transaction."""
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            pytest.skip("needs MariaDB")
    return app


@contextmanager
def locked(app: Flask, row: sa.Select) -> Iterator[Callable[[], None]]:
    """Hold a row; yields how to wait until somebody waits for it."""
    with app.app_context(), db.engine.connect() as holder, db.engine.connect() as watcher:
        holder.execute(row.with_for_update())
        yield lambda: wait_until(lambda: bool(watcher.execute(WAITING).scalar()), timeout_s=20)
        holder.rollback()


def ask(app: Flask, token: str, method: str, path: str, body: object) -> TestResponse:
    return app.test_client().open(path, method=method, json=body, headers=bearer(token))


def after_the_end(app: Flask, row: sa.Select, end: Callable[[], object], request: tuple) -> TestResponse:
    """The answer to a request that came before the end of its right and waited for a lock until after it."""
    with ThreadPoolExecutor(1) as threads:
        with locked(app, row) as wait_until_somebody_waits:
            answer = threads.submit(ask, app, *request)
            wait_until_somebody_waits()
            end()
        return answer.result(timeout=60)


def moved(app: Flask, user: Person) -> int:
    with app.app_context(), db.engine.connect() as connection:
        trades = sa.select(sa.func.count()).where(
            Transaction.user_id == user.id, Transaction.type == "MARKET_BUY"
        )
        return int(connection.scalar(trades) or 0)


@pytest.mark.parametrize("what", REQUESTS)
@pytest.mark.parametrize("how", ENDS)
def test_what_waited_for_the_lock_while_its_token_ended_is_refused(
    mariadb: Flask, price: None, how: str, what: str
) -> None:
    user = new_user(mariadb, inr=10_000)
    balance = sa.select(Balance.user_id).where(Balance.user_id == user.id)
    with mariadb.app_context():
        answer = after_the_end(mariadb, balance, lambda: ENDS[how](user), (user.token, *REQUESTS[what]))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "token_invalid")
    assert moved(mariadb, user) == 0


@pytest.mark.parametrize("how", ["the key's end", "logout-all"])
def test_what_waited_for_the_lock_while_its_key_ended_is_refused(
    mariadb: Flask, price: None, make_key: Callable[..., str], how: str
) -> None:
    user = new_user(mariadb, inr=10_000)
    key = make_key(user, "trade")
    balance = sa.select(Balance.user_id).where(Balance.user_id == user.id)

    def end() -> None:
        if how == "logout-all":
            auth.logout_all(auth.authenticate(user.token))
        else:
            api_keys.revoke_key(user.id, auth.authenticate(key, needs=auth.KEY_SCOPES).key_id or 0)

    with mariadb.app_context():
        answer = after_the_end(mariadb, balance, end, (key, "POST", "/api/trade", BUY))
    assert answer.status_code == 403
    assert moved(mariadb, user) == 0


def test_a_key_that_was_being_made_during_a_logout_does_not_outlive_it(mariadb: Flask) -> None:
    user = new_user(mariadb)
    request = (user.token, "POST", "/api/keys", {"name": "x", "scopes": ["trade"]})
    account = sa.select(User.id).where(User.id == user.id)
    with mariadb.app_context():
        answer = after_the_end(mariadb, account, lambda: ENDS["logout"](user), request)
        assert answer.status_code == 403
        with db.engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(ApiKey)) == 0


def test_a_password_that_was_being_changed_during_a_logout_stays(mariadb: Flask) -> None:
    user = new_user(mariadb)
    change = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    account = sa.select(User.id).where(User.id == user.id)
    with mariadb.app_context():
        request = (user.token, "POST", "/api/auth/password", change)
        answer = after_the_end(mariadb, account, lambda: ENDS["logout"](user), request)
        assert answer.status_code == 403
        auth.login(email=user.email, password=PASSWORD)


def test_another_token_of_the_same_user_goes_on(mariadb: Flask, price: None) -> None:
    user = new_user(mariadb, inr=10_000)
    with mariadb.app_context():
        other = auth.login(email=user.email, password=PASSWORD)[0]
        balance = sa.select(Balance.user_id).where(Balance.user_id == user.id)
        end = lambda: ENDS["logout"](user)  # noqa: E731 - named as what it is passed for
        answer = after_the_end(mariadb, balance, end, (other, "POST", "/api/trade", BUY))
    assert answer.status_code == 201


def test_a_request_leaves_nobody_behind_who_asks(app: Flask, price: None) -> None:
    """What the same thread does next is not asked by who asked before."""
    user = new_user(app, inr=10_000)
    assert ask(app, user.token, "POST", "/api/quote", None).status_code == 201
    with app.app_context():
        auth.logout(auth.authenticate(user.token))
        quotes.make_quote(user.id)


def test_logout_all_and_the_end_of_a_session_are_in_the_audit_log(app: Flask) -> None:
    user = new_user(app)
    with app.app_context():
        ended = auth.authenticate(auth.login(email=user.email, password=PASSWORD)[0])
        sessions.end_session(auth.authenticate(user.token), ended.jti)
        assert ended.jti not in {row["id"] for row in sessions.list_sessions(auth.authenticate(user.token))}
        auth.logout_all(auth.authenticate(user.token))
        with db.engine.connect() as connection:
            rows = connection.execute(
                sa.select(AuditEvent.action, AuditEvent.user_id, AuditEvent.facts).order_by(AuditEvent.id)
            ).all()
    assert [(row.action, row.user_id) for row in rows[-2:]] == [
        ("session_ended", user.id),
        ("logged_out_everywhere", user.id),
    ]
    assert ended.jti in rows[-2].facts
