"""The web server's settings: gevent patches here and nowhere else, and gunicorn knows every name."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from dev.services import free_port

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "gunicorn.conf.py"

# Answers only what a test asks: is the process patched, and were the locks made after that?
APPLICATION = """
import threading
from gevent import monkey

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{monkey.is_module_patched('ssl')} {type(threading.RLock()).__module__}".encode()]
"""


def gunicorn(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", str(SETTINGS), *arguments],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def settings_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)\s+= (.*)$", text, re.MULTILINE))


@pytest.fixture
def application(tmp_path, monkeypatch):
    (tmp_path / "dummy.py").write_text(APPLICATION)
    monkeypatch.chdir(tmp_path)
    return "dummy:app"


def test_patching_comes_before_everything_else():
    first, second, *_ = SETTINGS.read_text().splitlines()
    assert first == "from gevent import monkey"
    assert second.startswith("monkey.patch_all()")


def test_the_settings_import_nothing_of_ours():
    tree = ast.parse(SETTINGS.read_text())
    imported = {
        name
        for node in tree.body  # a hook may: it runs in a worker, after gevent's patches
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported == {"dotenv", "gevent", "os"}


def test_nothing_else_patches():
    sources = [*ROOT.glob("*.py"), *ROOT.glob("bittrade/**/*.py"), *ROOT.glob("migrations/**/*.py")]
    patching = [
        path.name
        for path in sources
        if any(
            isinstance(node, ast.Attribute) and node.attr.startswith("patch_")
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert patching == ["gunicorn.conf.py"]


def test_gunicorn_knows_every_setting_and_they_are_the_measured_ones(application):
    done = gunicorn("--print-config", application)
    assert done.returncode == 0, done.stderr
    shown = settings_of(done.stdout)
    expected = {
        "bind": "['127.0.0.1:3001']",
        "workers": "1",
        "worker_class": "gevent",
        "worker_connections": "3000",
        "timeout": "30",
        "graceful_timeout": "13",
        "keepalive": "5",
        "max_requests": "0",
        "http_parser": "python",
        "control_socket_disable": "True",
        "preload_app": "False",
        "forwarded_allow_ips": "['127.0.0.1']",
    }
    assert {name: shown[name] for name in expected} == expected


def test_the_environment_sets_address_and_processes(application):
    shown = settings_of(
        gunicorn("--print-config", application, HOST="0.0.0.0", PORT="8080", WEB_CONCURRENCY="4").stdout
    )
    assert (shown["bind"], shown["workers"]) == ("['0.0.0.0:8080']", "4")


def test_a_worker_is_patched_and_no_library_came_too_early(application):
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-W", "always", "-m", "gunicorn", "-c", str(SETTINGS), application],
        env=os.environ | {"HOST": "127.0.0.1", "PORT": str(port), "PYTHONPATH": str(SETTINGS.parent)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = []
        while not lines or "Booting worker" not in lines[-1]:
            lines.append(server.stderr.readline())
            assert lines[-1], f"gunicorn ended: {lines}"
        assert requests.get(f"http://127.0.0.1:{port}/", timeout=10).text == "True threading"
    finally:
        server.terminate()
        _, rest = server.communicate(timeout=30)
    assert "MonkeyPatchWarning" not in "".join(lines) + rest
