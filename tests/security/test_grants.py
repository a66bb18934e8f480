"""deploy/grants.sql on a real MariaDB: two users, of whom the application's can add to the books and not change them."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import flask_migrate
import pymysql
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.engine import make_url

from bittrade.extensions import db
from bittrade.services import (
    api_keys,
    audit,
    auth,
    corrections,
    funds,
    halt,
    ledger,
    maintenance,
    quotes,
    sessions,
    settings,
)
from bittrade.services.funds import Funds
from dev.services import connect_database
from tests.fixtures import MIGRATIONS, PASSWORD, ROOT, build_app, set_price
from tests.security.conftest import BUY, bearer

GRANTS = ROOT / "deploy" / "grants.sql"
APPEND_ONLY = ("transactions", "ledger_legs", "audit_events")
DENIED = 1142


@dataclass(frozen=True)
class Users:
    """The two users that grants.sql made, as URLs."""

    migrate: str
    app: str


def statements(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


@pytest.fixture(scope="module")
def users(surroundings: Any, new_mariadb: Callable[[], str]) -> Iterator[Users]:
    """A scratch database that the migrating user filled; both users go at the end."""
    if not surroundings.database_version:
        pytest.skip("needs MariaDB")
    database = make_url(new_mariadb())
    mark = secrets.token_hex(4)
    names = {"bittrade_migrate": f"bt_migrate_{mark}", "bittrade_app": f"bt_app_{mark}"}
    passwords = {"change-me-migrate": secrets.token_hex(16), "change-me-app": secrets.token_hex(16)}
    text = GRANTS.read_text().replace("`bittrade`", f"`{database.database}`")
    for old, new in {**names, **passwords}.items():
        text = text.replace(old, new)
    first = [statement for statement in statements(text) if f"'{names['bittrade_migrate']}'" in statement]
    migrate = database.set(username=names["bittrade_migrate"], password=passwords["change-me-migrate"])
    app = database.set(username=names["bittrade_app"], password=passwords["change-me-app"])
    made = Users(*(url.render_as_string(hide_password=False) for url in (migrate, app)))
    with closing(connect_database(surroundings.database_server)) as root, root.cursor() as cursor:
        try:
            for statement in first:
                cursor.execute(statement)
            _upgrade(made.migrate)
            for statement in statements(text):
                cursor.execute(statement)
            yield made
        finally:
            for name in names.values():
                cursor.execute(f"DROP USER IF EXISTS '{name}'@'%'")


def _upgrade(url: str) -> None:
    app = build_app(DATABASE_URL=url)
    with app.app_context():
        flask_migrate.upgrade(directory=MIGRATIONS)
        db.engine.dispose()


@pytest.fixture
def least(app: Flask, users: Users, new_app: Callable[..., Flask]) -> Flask:
    """The application, as the user that may do least."""
    return new_app(DATABASE_URL=users.app)


def test_every_table_is_named_in_the_grants(app: Flask) -> None:
    granted = {
        part.split("`")[3]
        for part in GRANTS.read_text().split("ON ")[1:]
        if part.count("`") >= 4 and "`.`" in part
    }
    assert granted == {*db.metadata.tables, "alembic_version"}


def test_the_application_does_all_its_work_with_these_rights(least: Flask) -> None:
    set_price(least)
    client = least.test_client()
    body = {"email": f"{secrets.token_hex(4)}@example.com", "password": PASSWORD, "name": "X"}
    registered = client.post("/api/auth/register", json=body).get_json()
    token, user_id = registered["token"], registered["user"]["id"]
    client.post("/api/auth/login", json={**body, "password": "not the right words"})
    assert client.post("/api/auth/login", json=body).status_code == 200
    with least.app_context():
        funds.deposit(user_id, Funds(10_000, 10_000))
        key = api_keys.create_key(user_id, name="x", scopes=["trade"])["key"]
        quote = quotes.make_quote(user_id).document()["quote_id"]
    headers = {**bearer(key), "Idempotency-Key": secrets.token_hex(8)}
    traded = client.post("/api/trade", json={**BUY, "quote_id": quote}, headers=headers)
    assert traded.status_code == 201, traded.text
    assert client.post("/api/trade", json={**BUY, "amount": "99999999"}, headers=headers).status_code == 409
    for path in (
        "/api/balance",
        "/api/transactions",
        "/api/transactions.csv",
        "/api/portfolio",
        "/api/account/activity",
    ):
        assert client.get(path, headers=bearer(token)).status_code == 200
    assert (
        client.patch(
            "/api/auth/profile", json={"currentPassword": PASSWORD, "name": "Y"}, headers=bearer(token)
        ).status_code
        == 200
    )
    with least.app_context():
        settings.set_setting("buy_multiplier", "92")
        settings.set_setting("buy_multiplier", "91")
        corrections.reverse_transaction(traded.get_json()["id"], why="a test")
        halt.halt_trading("a test")
        halt.resume_trading("over")
        maintenance.purge()
        assert ledger.verify().faults == ()
        sessions.list_sessions(auth.authenticate(token))
        audit.tail(limit=10)
    assert client.post("/api/auth/logout-all", headers=bearer(token)).status_code == 200
    told = least.test_cli_runner().invoke(args=["doctor"]).output
    assert "database user" not in told
    assert "revision" not in told


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE TABLE {}"])
def test_what_happened_can_be_neither_changed_nor_removed(users: Users, table: str, statement: str) -> None:
    _denied(users.app, statement.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE users",
        "ALTER TABLE balances DROP CONSTRAINT available_inr_not_negative",
        "ALTER TABLE users ADD COLUMN x INT",
        "CREATE TABLE x (x INT)",
        "CREATE INDEX x ON users (name)",
        "DELETE FROM users",
        "DELETE FROM balances",
        "UPDATE alembic_version SET version_num = 'x'",
        "UPDATE bitcoin_data SET btc_usd_cents = 1",
        "SELECT * FROM mysql.user",
        "CREATE TRIGGER x BEFORE INSERT ON users FOR EACH ROW SET @x = 1",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
    ],
)
def test_the_application_s_user_can_do_nothing_else(users: Users, statement: str) -> None:
    _denied(users.app, statement)


def test_neither_user_can_give_rights_or_see_other_databases(users: Users) -> None:
    for url in (users.app, users.migrate):
        with closing(_connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW DATABASES")
            seen = {row[0] for row in cursor.fetchall()}
            assert seen == {make_url(url).database, "information_schema"}
            with pytest.raises(pymysql.MySQLError):
                cursor.execute(f"GRANT SELECT ON `{make_url(url).database}`.* TO CURRENT_USER()")


def test_the_migrating_user_can_go_all_the_way_up(users: Users) -> None:
    _upgrade(users.migrate)  # it is at the head already: nothing to do, and the lock and the look are allowed
    engine = sa.create_engine(users.migrate)
    assert set(db.metadata.tables) <= set(sa.inspect(engine).get_table_names())
    engine.dispose()


def _denied(url: str, statement: str) -> None:
    with closing(_connect(url)) as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as refused:
            cursor.execute(statement)
        assert refused.value.args[0] in (DENIED, 1044, 1045, 1227), refused.value


def _connect(url: str) -> "pymysql.Connection[Any]":
    parts = make_url(url)
    return pymysql.connect(
        host=parts.host or "",
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.database,
        connect_timeout=5,
    )
