"""Units of work on the real databases: what is retried, what is not, and what is never left half done."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.errors import DatabaseUnavailable, OutcomeUnknown, TooBusy
from bittrade.extensions import db
from bittrade.models import Balance, Setting
from dev.services import connect_database
from tests.fixtures import Database, Person, build_app, new_user, together, wait_until


def held(user: Person) -> int:
    with db.engine.connect() as connection:
        return int(connection.scalar(sa.select(Balance.available_inr).where(Balance.user_id == user.id)))


def add(session: Session, user: Person, amount: int = 1) -> None:
    """Read, lock, write: what every posting does."""
    row = session.scalars(sa.select(Balance).where(Balance.user_id == user.id).with_for_update()).one()
    row.available_inr += amount


def test_the_result_of_the_work_comes_back_and_its_writes_are_kept(on_both_databases: Flask) -> None:
    user = new_user(on_both_databases, inr=100)
    with on_both_databases.app_context():
        assert unit_of_work.commit(lambda session: add(session, user) or "done") == "done"
        assert held(user) == 101


def test_an_error_rolls_everything_back_and_is_not_retried(on_both_databases: Flask) -> None:
    user, calls = new_user(on_both_databases, inr=100), []

    def work(session: Session) -> None:
        calls.append(1)
        add(session, user)
        session.flush()
        raise KeyError("a bug")

    with on_both_databases.app_context():
        with pytest.raises(KeyError):
            unit_of_work.commit(work)
        assert (len(calls), held(user)) == (1, 100)


def test_a_broken_rule_of_the_database_is_not_retried(on_both_databases: Flask) -> None:
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        session.execute(sa.insert(Balance.__table__).values(user_id=999_999, **dict.fromkeys(_columns(), 0)))

    with on_both_databases.app_context():
        with pytest.raises(IntegrityError):
            unit_of_work.commit(work)
        assert len(calls) == 1


def _columns() -> list[str]:
    return [column.name for column in Balance.__table__.columns if column.name != "user_id"]


def test_writers_at_once_lose_no_update(on_both_databases: Flask) -> None:
    user = new_user(on_both_databases, inr=100)

    def write(_number: int) -> None:
        with on_both_databases.app_context():
            unit_of_work.commit(lambda session: add(session, user))

    together(12, write)
    with on_both_databases.app_context():
        assert held(user) == 112


# --- MariaDB ------------------------------------------------------------------------------------------------------


def test_a_deadlock_runs_the_whole_work_again(on_mariadb: Flask) -> None:
    users = [new_user(on_mariadb, inr=100) for _ in range(2)]
    both_hold_one = threading.Barrier(2)
    calls: list[int] = []

    def cross(number: int) -> None:
        tries = 0

        def work(session: Session) -> None:
            nonlocal tries
            tries += 1
            calls.append(number)
            add(session, users[number])
            session.flush()
            if tries == 1:
                both_hold_one.wait(timeout=60)
            add(session, users[1 - number])
            session.flush()

        with on_mariadb.app_context():
            unit_of_work.commit(work)

    together(2, cross)
    assert len(calls) >= 3, "there was no deadlock"
    assert [held(user) for user in users] == [102, 102]


@pytest.fixture
def locked_user(on_mariadb: Flask) -> Iterator[tuple[Person, Callable[[], None]]]:
    """Somebody whose balance another connection has locked, and how to let go."""
    user = new_user(on_mariadb, inr=100)
    with db.engine.connect() as connection:
        connection.execute(sa.select(Balance.seq).where(Balance.user_id == user.id).with_for_update())
        yield user, connection.rollback
        connection.rollback()


def impatiently(session: Session) -> None:
    session.execute(sa.text("SET SESSION innodb_lock_wait_timeout=0"))


@pytest.fixture
def _patience_restored(on_mariadb: Flask) -> Iterator[None]:
    yield
    db.engine.dispose()  # the next test's connections are new


@pytest.mark.usefixtures("_patience_restored")
def test_a_lock_time_out_is_tried_four_times_and_then_answered_as_busy(
    locked_user: tuple[Person, Callable[[], None]],
) -> None:
    user, _ = locked_user
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        impatiently(session)
        add(session, user)

    with pytest.raises(DatabaseUnavailable) as refused:
        unit_of_work.commit(work)
    assert refused.value.facts["retry_after_s"] >= 1
    assert len(calls) == 4


@pytest.mark.usefixtures("_patience_restored")
def test_a_lock_that_is_let_go_in_time_costs_only_a_retry(
    locked_user: tuple[Person, Callable[[], None]],
) -> None:
    user, let_go = locked_user
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        impatiently(session)
        if len(calls) == 3:
            let_go()
        add(session, user)

    unit_of_work.commit(work)
    assert (len(calls), held(user)) == (3, 101)


def kill_connection_of(session: Session) -> None:
    number = session.scalar(sa.text("SELECT CONNECTION_ID()"))
    with db.engine.connect() as other:
        other.exec_driver_sql(f"KILL {int(number or 0)}")


def test_a_connection_that_breaks_at_commit_leaves_the_outcome_unknown(on_mariadb: Flask) -> None:
    user, calls = new_user(on_mariadb, inr=100), []

    def work(session: Session) -> None:
        calls.append(1)
        add(session, user)
        session.flush()
        kill_connection_of(session)

    with pytest.raises(OutcomeUnknown, match="same Idempotency-Key") as refused:
        unit_of_work.commit(work)
    assert refused.value.facts["retry_after_s"] >= 1
    assert len(calls) == 1, "what may be durable must not be done again"


def test_a_connection_that_breaks_before_commit_is_the_database_being_away(on_mariadb: Flask) -> None:
    user = new_user(on_mariadb, inr=100)

    def work(session: Session) -> None:
        add(session, user)
        session.flush()
        kill_connection_of(session)
        session.execute(sa.text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        unit_of_work.commit(work)
    assert held(user) == 100


def test_a_pool_whose_connections_were_all_killed_heals_by_itself(
    on_mariadb: Flask, mariadb_url: str
) -> None:
    user = new_user(on_mariadb, inr=100)
    with ExitStack() as stack:
        connections = [stack.enter_context(db.engine.connect()) for _ in range(3)]
        pooled = [connection.scalar(sa.text("SELECT CONNECTION_ID()")) for connection in connections]
    with connect_database(sa.make_url(mariadb_url)) as admin, admin.cursor() as cursor:
        for number in pooled:
            cursor.execute(f"KILL {int(number or 0)}")
    unit_of_work.commit(lambda session: add(session, user))
    assert held(user) == 101


@pytest.mark.parametrize("use", ["reading", "commit"])
def test_a_database_that_refuses_connections_is_away(app: Flask, nobody_listens: int, use: str) -> None:
    away = build_app(
        DATABASE_URL=f"mysql+pymysql://root@127.0.0.1:{nobody_listens}/x", REDIS_URL="redis://127.0.0.1:9"
    )

    def ask() -> None:
        if use == "commit":
            unit_of_work.commit(lambda session: session.execute(sa.text("SELECT 1")))
        else:
            with unit_of_work.reading() as session:
                session.execute(sa.text("SELECT 1"))

    with away.app_context(), pytest.raises(DatabaseUnavailable):
        ask()


# --- SQLite -------------------------------------------------------------------------------------------------------


@pytest.fixture
def other_process(on_sqlite: Flask) -> Iterator[sqlite3.Connection]:
    """A connection of somebody else: an RQ worker, say."""
    connection = sqlite3.connect(db.engine.url.database or "", isolation_level=None, check_same_thread=False)
    yield connection
    connection.close()


def test_sqlite_writers_queue_up_instead_of_failing(on_sqlite: Flask) -> None:
    def write(number: int) -> None:
        with on_sqlite.app_context():
            for step in range(5):
                name = f"key-{number}-{step}"
                unit_of_work.commit(lambda session, name=name: session.add(_setting(name)))

    together(16, write)
    with db.engine.connect() as connection:
        assert len(connection.execute(sa.select(Setting.key).where(Setting.key.like("key-%"))).all()) == 80


def _setting(key: str) -> Setting:
    return Setting(key=key, value="1", updated_at=wire.now())


def test_a_sqlite_file_that_another_process_keeps_locked_is_answered_as_busy(
    on_sqlite: Flask, other_process: sqlite3.Connection
) -> None:
    user = new_user(on_sqlite, inr=100)
    other_process.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable):
        unit_of_work.commit(lambda session: add(session, user))
    with unit_of_work.reading() as session:
        assert session.scalar(sa.text("SELECT 1")) == 1  # readers don't wait
    other_process.execute("ROLLBACK")
    unit_of_work.commit(lambda session: add(session, user))
    assert held(user) == 101


def test_a_short_write_of_another_process_costs_only_a_wait(
    on_sqlite: Flask, other_process: sqlite3.Connection
) -> None:
    user = new_user(on_sqlite, inr=100)
    other_process.execute("BEGIN IMMEDIATE")
    ending = threading.Timer(0.3, other_process.execute, ["ROLLBACK"])
    ending.start()
    unit_of_work.commit(lambda session: add(session, user))
    ending.join()
    assert held(user) == 101


def test_sqlite_keeps_foreign_keys_and_writes_durably(on_sqlite: Flask) -> None:
    with db.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("foreign_keys", "journal_mode", "synchronous")
        }
    assert pragmas == {"foreign_keys": 1, "journal_mode": "wal", "synchronous": 2}


def test_one_users_waiting_work_holds_one_connection_and_not_the_pool(
    mariadb_url: str, databases: Callable[[str], Database]
) -> None:
    app = databases(mariadb_url).app
    most = 0
    lock = threading.Lock()

    def work(session: Session) -> None:
        nonlocal most
        session.execute(sa.text("SELECT SLEEP(0.01)"))
        with lock:
            most = max(most, session.get_bind().pool.checkedout())  # type: ignore[union-attr]

    def one(_number: int) -> None:
        with app.app_context():
            unit_of_work.commit_for(7, work)

    together(12, one)
    assert most == 1
    assert not unit_of_work._lanes


def test_so_many_wait_for_one_user_s_turn_and_no_more(
    on_both_databases: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unit_of_work._MAX_IN_LANE <= 600  # each may wait for three seconds
    monkeypatch.setattr(unit_of_work, "_MAX_IN_LANE", 2)
    monkeypatch.setattr(unit_of_work, "_LANE_WAIT_S", 60)
    with on_both_databases.app_context(), ThreadPoolExecutor(1) as second:
        with unit_of_work.lane(7):
            waiting = second.submit(_take_lane, 7)
            wait_until(lambda: unit_of_work._lanes[7].waiting == 2)
            with pytest.raises(TooBusy):
                _take_lane(7)
            _take_lane(8)
        assert waiting.result(timeout=60) == 7
    assert not unit_of_work._lanes


def _take_lane(user_id: int) -> int:
    with unit_of_work.lane(user_id):
        return user_id


def test_who_waits_too_long_for_their_own_work_is_told_to_come_back(
    on_both_databases: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_of_work, "_LANE_WAIT_S", 0.05)
    with on_both_databases.app_context(), unit_of_work.lane(7):
        with pytest.raises(TooBusy):
            unit_of_work.commit_for(7, lambda session: None)
        assert unit_of_work.commit_for(8, lambda session: "another user's turn is free") is not None
    assert not unit_of_work._lanes
