"""deploy/systemd: systemd itself reads the units, finds every program and setting in them, and rates what they may do."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import flask_migrate
import pytest

import config
from bittrade import create_app, extensions
from dev.services import PrivateRedis
from tests.fixtures import MIGRATIONS, ROOT

HOME = "/opt/bittrade"
EXPOSURE = 20  # in tenths, as systemd-analyze takes it; a service without any protection has 96


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units as they would be installed, with a server below `tmp_path`."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("gunicorn", "python"):
        (programs / name).symlink_to(shutil.which("true") or "/bin/true")
    for unit in (ROOT / "deploy" / "systemd").iterdir():
        installed = tmp_path / unit.name.replace("web@", "web@3011").replace("worker@", "worker@1")
        installed.write_text(unit.read_text().replace(HOME, str(tmp_path)))
    return sorted(tmp_path.glob("bittrade*"))


def analyze(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_every_unit(units: list[Path]) -> None:
    assert [unit.suffix for unit in units] == [".service", ".service", ".service", ".target"]
    assert "Unknown" not in analyze("verify", "--man=no", *units)


@pytest.mark.needs("systemd-analyze")
def test_no_service_may_do_more_than_it_needs(units: list[Path]) -> None:
    for unit in units[:3]:
        assert "OK" in analyze("security", "--offline=true", f"--threshold={EXPOSURE}", unit)


def test_every_web_process_believes_its_proxy_and_nobody_else_reaches_it() -> None:
    text = (ROOT / "deploy" / "systemd" / "bittrade-web@.service").read_text()
    assert "HOST=127.0.0.1 " in text
    assert "TRUSTED_PROXY_HOPS=1" in text


def test_a_started_worker_says_so(
    new_sqlite: Callable[[], str], private_redis: PrivateRedis, tmp_path: Path
) -> None:
    database = new_sqlite()
    with create_app(config.load(DATABASE_URL=database)).app_context():
        flask_migrate.upgrade(directory=MIGRATIONS)
        extensions.db.engine.dispose()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(120)
        surroundings = {"DATABASE_URL": database, "REDIS_URL": private_redis.url}
        worker = subprocess.Popen(
            [sys.executable, "worker.py", "scheduler"],
            cwd=ROOT,
            env=os.environ | surroundings | {"NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        try:
            assert systemd.recv(100) == b"READY=1"
        finally:
            worker.kill()
            worker.wait()
