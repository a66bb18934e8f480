"""The migrations and the models agree, on MariaDB and on SQLite, and an upgrade survives being cut off."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask

from bittrade.database.migrating import TABLE
from bittrade.extensions import db
from bittrade.services import settings
from tests.fixtures import MIGRATIONS, ROOT, new_user, set_price
from tests.migrations.conftest import upgrade, using

TABLES = {
    *(
        "users",
        "balances",
        "transactions",
        "ledger_legs",
        "idempotency_keys",
        "settings",
        "sessions",
        "login_failures",
    ),
    *("bitcoin_data", "bitcoin_sentiment", "bitcoin_chart_data", "audit_events"),
}


@pytest.fixture(scope="module")
def migrated_url(new_database: Callable[[], str], redis_url: str) -> str:
    url = new_database()
    with using(url, redis_url):
        upgrade()
    return url


@pytest.fixture
def migrated(migrated_url: str, redis_url: str) -> Iterator[Flask]:
    """An app on a migrated database, for tests that leave the tables as they are."""
    with using(migrated_url, redis_url) as app:
        yield app


def tables() -> set[str]:
    return set(sa.inspect(db.engine).get_table_names()) - {"alembic_version", TABLE}


def differences() -> list:
    with db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "include_name": lambda name, _kind, _parents: name != TABLE,
            },
        )
        return compare_metadata(context, db.metadata)


def constraints() -> dict[str, set[str]]:
    """Names of what the database itself enforces, for each table."""
    inspector = sa.inspect(db.engine)
    return {
        table: {
            str(found["name"])
            for kind in (
                inspector.get_check_constraints,
                inspector.get_unique_constraints,
                inspector.get_foreign_keys,
                inspector.get_indexes,
            )
            for found in kind(table)
        }
        for table in tables()
    }


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory(MIGRATIONS).get_heads()) == 1


@pytest.mark.usefixtures("migrated")
def test_an_upgrade_makes_every_table() -> None:
    assert tables() == set(db.metadata.tables)
    assert tables() >= TABLES


@pytest.mark.usefixtures("migrated")
def test_the_models_and_the_migrations_agree() -> None:
    assert differences() == []


def test_the_database_has_the_models_constraints_and_indexes(
    migrated: Flask, new_database: Callable[[], str], redis_url: str
) -> None:
    """Alembic's comparison does not look at CHECKs, so this does."""
    by_migrations = constraints()
    with using(new_database(), redis_url):
        db.metadata.create_all(db.engine)
        assert by_migrations == constraints()


def test_down_and_up_again(empty: Flask) -> None:
    upgrade()
    flask_migrate.downgrade(directory=MIGRATIONS, revision="base")
    assert tables() == set()
    upgrade()
    assert tables() == set(db.metadata.tables)
    assert differences() == []


def test_a_migrated_database_is_ready_for_trade(migrated: Flask) -> None:
    set_price(migrated)
    user = new_user(migrated, inr=1000)
    order = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}
    assert migrated.test_client().post("/api/trade", json=order, headers=user.headers).status_code == 201


def test_an_upgrade_that_was_done_can_be_run_again(migrated: Flask) -> None:
    user = new_user(migrated, inr=7)
    settings.set_setting("buy_multiplier", "95")
    upgrade()
    assert settings.list_settings()["buy_multiplier"] == "95"
    assert migrated.test_client().get("/api/balance", headers=user.headers).get_json()["available_inr"] == 7


def test_an_upgrade_that_died_half_way_can_be_run_again(empty: Flask) -> None:
    """MariaDB commits after each table: what was made stays, and the version was never written."""
    upgrade()
    for lost in (1, 5, len(tables()) - 1):
        for table in list(reversed(db.metadata.sorted_tables))[:lost]:
            table.drop(db.engine)
        with db.engine.begin() as connection:
            connection.exec_driver_sql(
                "DELETE FROM alembic_version" if lost == 1 else "DROP TABLE alembic_version"
            )
        upgrade()
        assert tables() == set(db.metadata.tables)
        assert differences() == []


def test_an_upgrade_that_died_between_a_table_and_its_index_makes_the_index(empty: Flask) -> None:
    upgrade()
    with db.engine.begin() as connection:
        name, table = "ix_bitcoin_data_created_at", "bitcoin_data"
        on = f" ON {table}" if connection.dialect.name != "sqlite" else ""
        connection.exec_driver_sql(f"DROP INDEX {name}{on}")
        connection.exec_driver_sql("DROP TABLE alembic_version")
    upgrade()
    assert differences() == []


def test_two_upgrades_at_once_are_one_after_the_other(empty: Flask) -> None:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("is of MariaDB's: SQLite's own lock refuses the second")
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    environment = os.environ | {"DATABASE_URL": db.engine.url.render_as_string(hide_password=False)}
    both = [
        subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert differences() == []


def test_money_columns_are_64_bit_integers(migrated: Flask) -> None:
    columns = {
        (table, column["name"]): str(column["type"]).upper()
        for table in tables()
        for column in sa.inspect(db.engine).get_columns(table)
    }
    for (table, name), kind in columns.items():
        assert "FLOAT" not in kind, (table, name)
        assert "DOUBLE" not in kind, (table, name)
        if name.endswith(("_inr", "_btc", "_amount", "_cents")):
            assert kind.startswith("BIGINT"), (table, name)


def test_mariadb_s_tables_are_utf8mb4_and_transactional_and_times_have_microseconds(migrated: Flask) -> None:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("is of MariaDB's")
    with db.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT table_name, engine, table_collation FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name <> 'alembic_version'"
        ).all()
        fractions = connection.exec_driver_sql(
            "SELECT DISTINCT datetime_precision FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND data_type = 'datetime'"
        ).all()
    assert {(row[1], row[2]) for row in rows} == {("InnoDB", "utf8mb4_bin")}
    assert fractions == [(6,)]
