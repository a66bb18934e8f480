"""A process whose tables are of another version refuses to serve, and says why."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import unit_of_work
from bittrade.errors import WrongSchema
from bittrade.extensions import db
from dev.services import free_port
from tests.fixtures import ROOT, build_app


@pytest.fixture(params=["none", "older", "newer"])
def wrong(request: pytest.FixtureRequest, new_sqlite: Callable[[], str], redis_url: str) -> tuple[str, str]:
    """A database of another version, and how its revision is called."""
    url = new_sqlite()
    if request.param == "none":
        return url, "None"
    revision = "0003" if request.param == "older" else "9999"
    with sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{revision}')")  # noqa: S608
    return url, revision


def test_every_request_is_refused_until_the_tables_are_right(
    wrong: tuple[str, str], new_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    url, revision = wrong
    app = new_app(DATABASE_URL=url)
    for path in ("/api/bitcoin/history", "/api/health"):
        answer = app.test_client().get(path)
        assert (answer.status_code, answer.get_json()["code"]) == (503, "database_unavailable")
        assert "revision" not in answer.text
    assert f"The tables are of revision {revision}" in caplog.text
    assert "db upgrade" in caplog.text


@pytest.mark.parametrize("program", ["gunicorn", "worker", "command"])
def test_no_program_starts_on_them(
    wrong: tuple[str, str], redis_url: str, program: str, tmp_path: Path
) -> None:
    url, revision = wrong
    command = {
        "gunicorn": ["-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "wsgi:app"],
        "worker": [str(ROOT / "worker.py")],
        "command": ["-m", "flask", "--app", "wsgi", "user", "list"],
    }[program]
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"DATABASE_URL": url, "REDIS_URL": redis_url, "PORT": str(free_port())},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == (1 if program == "command" else 3)
    assert f"The tables are of revision {revision}" in done.stderr
    assert "db upgrade" in done.stderr


def test_tables_that_were_right_once_are_not_looked_at_again(new_app: Callable[..., Flask]) -> None:
    app = new_app()
    with app.app_context():
        assert unit_of_work.check_schema() is None
        statements: list[str] = []
        sa.event.listen(db.engine, "before_cursor_execute", lambda _c, _u, text, *_: statements.append(text))
        assert unit_of_work.check_schema() is None
    assert not any("alembic_version" in text for text in statements)


def test_a_database_that_is_away_at_the_start_is_looked_at_when_it_comes(
    nobody_listens: int, new_sqlite: Callable[[], str]
) -> None:
    away = build_app(
        DATABASE_URL=f"mysql+pymysql://root@127.0.0.1:{nobody_listens}/x", REDIS_URL="redis://127.0.0.1:9"
    )
    with away.app_context():
        assert unit_of_work.check_schema() is None
    there = build_app(DATABASE_URL=new_sqlite(), REDIS_URL="redis://127.0.0.1:9")
    with there.app_context(), pytest.raises(WrongSchema), unit_of_work.reading():
        pass
