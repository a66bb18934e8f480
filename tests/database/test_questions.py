"""Questions: what a Session would have read, in one message, from a server that takes writes."""

import pytest
import sqlalchemy as sa
from flask import Flask
from pymysql.constants import SERVER_STATUS

from bittrade import questions, unit_of_work
from bittrade.errors import DatabaseUnavailable
from bittrade.extensions import db
from bittrade.models import Balance, User
from bittrade.questions import Question
from dev.services import connect_database
from tests.fixtures import build_app, new_user, together, wait_until

QUERY = (
    sa.select(User.id, User.email, User.disabled_at, User.created_at, Balance.seq)
    .join(Balance, Balance.user_id == User.id)
    .where(User.id == sa.bindparam("user_id"))
)


@pytest.mark.parametrize("database", ["on_mariadb", "on_sqlite"])
def test_a_question_reads_what_a_session_reads(database: str, request: pytest.FixtureRequest) -> None:
    user = new_user(request.getfixturevalue(database), inr=100)
    with unit_of_work.reading() as session:
        expected = session.execute(QUERY, {"user_id": user.id}).all()
    rows = Question(QUERY).ask(user_id=user.id)
    assert [tuple(row) for row in rows] == [tuple(row) for row in expected]
    assert (rows[0].seq, rows[0].disabled_at, rows[0].created_at.tzinfo is not None) == (1, None, True)
    assert Question(QUERY).ask(user_id=0) == []


def test_what_a_client_sends_stays_a_value(on_mariadb: Flask) -> None:
    user = new_user(on_mariadb)
    by_email = Question(sa.select(User.id).where(User.email == sa.bindparam("email")))
    for hostile in (
        "' OR '1'='1",
        "x'; DROP TABLE users; -- ",
        "\\'; DELETE FROM users; #",
        "%s %(email)s",
        "\0",
    ):
        assert by_email.ask(email=hostile) == []
    assert [row.id for row in by_email.ask(email=user.email)] == [user.id]


def test_each_question_sees_what_was_committed_before_it(on_mariadb: Flask) -> None:
    user, question = new_user(on_mariadb, inr=1), Question(QUERY)
    for seq in (1, 2, 3):
        assert question.ask(user_id=user.id)[0].seq == seq
        unit_of_work.commit(
            lambda session: session.execute(
                sa.update(Balance).where(Balance.user_id == user.id).values(seq=Balance.seq + 1)
            )
        )


def test_a_connection_that_was_killed_is_replaced_at_once(on_mariadb: Flask, mariadb_url: str) -> None:
    user, question = new_user(on_mariadb), Question(QUERY)
    assert question.ask(user_id=user.id)
    raw = questions._engine().raw_connection()
    number = int(raw.thread_id())  # type: ignore[attr-defined]
    raw.close()
    with connect_database(sa.make_url(mariadb_url)) as admin, admin.cursor() as cursor:
        cursor.execute(f"KILL {number}")
    assert question.ask(user_id=user.id)


def test_its_connections_go_with_the_application_s(on_mariadb: Flask, mariadb_url: str) -> None:
    number = Question(sa.select(sa.func.connection_id().label("number")))
    asked_on = number.ask()[0].number
    db.engine.dispose()
    with connect_database(sa.make_url(mariadb_url)) as admin, admin.cursor() as cursor:

        def is_gone() -> bool:
            cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE id = %s", (asked_on,))
            return cursor.fetchone() == (0,)

        wait_until(is_gone)
    assert number.ask()[0].number != asked_on


def test_nothing_is_left_on_a_connection(on_mariadb: Flask) -> None:
    user, question = new_user(on_mariadb), Question(QUERY)
    broken = Question(
        sa.select(sa.func.no_such_function(User.id).label("x")).where(User.id == sa.bindparam("user_id"))
    )
    for _ in range(3):
        assert question.ask(user_id=user.id)
        with pytest.raises(Exception, match="no_such_function"):
            broken.ask(user_id=user.id)
    raw = questions._engine().raw_connection()
    assert not raw.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS  # type: ignore[attr-defined]
    raw.close()


def test_a_database_that_refuses_connections_is_away(app: Flask, nobody_listens: int) -> None:
    url = f"mysql+pymysql://root@127.0.0.1:{nobody_listens}/x"
    away = build_app(DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:9")
    with away.app_context(), pytest.raises(DatabaseUnavailable):
        Question(QUERY).ask(user_id=1)


def test_more_questions_than_connections_wait_for_their_turn(on_mariadb: Flask) -> None:
    user, question = new_user(on_mariadb), Question(QUERY)

    def ask(_number: int) -> int:
        with on_mariadb.app_context():
            return len(question.ask(user_id=user.id))

    assert together(30, ask) == [1] * 30
