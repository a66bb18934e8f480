"""tests/conftest.py keeps its word: real services or embedded ones, said in the last lines, required when asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLOSED = {"DATABASE_URL": "mysql+pymysql://root@127.0.0.1:9/bittrade", "REDIS_URL": "redis://127.0.0.1:9/0"}


def pytest_on_the_probe(**environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/dev/services_probe.py"],
        env=os.environ | {"JWT_SECRET": "of-the-developer", "DB_PASSWORD": "of-the-developer"} | environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_without_services_the_embedded_ones_run_and_the_last_lines_say_so():
    done = pytest_on_the_probe(**CLOSED, BITTRADE_REQUIRE_SERVICES="")
    assert done.returncode == 0, done.stdout
    last = done.stdout.strip().splitlines()[-5:]
    assert "skipped for lack of MariaDB: 1" in last
    assert "skipped for lack of a-program-that-nobody-has: 1" in last
    assert last[-2].startswith("database: SQLite 3.")
    assert "(no MariaDB answers at 127.0.0.1:9); redis: embedded " in last[-2]
    assert last[-1].startswith("4 passed, 2 skipped")


def test_a_required_service_that_is_missing_is_a_failure():
    done = pytest_on_the_probe(**CLOSED, BITTRADE_REQUIRE_SERVICES="1")
    assert done.returncode == 1
    assert (
        "BITTRADE_REQUIRE_SERVICES=1 and MariaDB at 127.0.0.1:9 does not answer" in done.stdout + done.stderr
    )


def test_real_services_are_used_where_they_answer_and_left_as_they_were(surroundings, new_mariadb, redis_url):
    if not surroundings.database_version:
        pytest.skip("needs MariaDB")
    url = surroundings.database_server.set(database="bittrade").render_as_string(hide_password=False)
    done = pytest_on_the_probe(DATABASE_URL=url, REDIS_URL=redis_url, BITTRADE_REQUIRE_SERVICES="")
    assert done.returncode == 0, done.stdout
    last = done.stdout.strip().splitlines()[-2]
    assert last.startswith(f"database: {surroundings.database_version} at ")
    # This run holds the Redis: the other one must not touch it.
    if not surroundings.notes["redis"].startswith("embedded"):
        assert "another run uses the one at " in last
