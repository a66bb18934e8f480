"""The web server's settings: gevent patches here and nowhere else, and gunicorn knows every name."""

import ast
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from dev.services import free_port

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "gunicorn.conf.py"


def answering(expression: str) -> str:
    """An application that answers only what a test asks."""
    return f"""
import threading
from gevent import monkey

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [({expression}).encode()]
"""


# Is the process patched, and were the locks made after that?
PATCHED = "f'{monkey.is_module_patched(\"ssl\")} {type(threading.RLock()).__module__}'"
TRANSPORTS = "','.join(__import__('config').load().SOCKET_TRANSPORTS)"


def gunicorn(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", str(SETTINGS), *arguments],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def settings_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)\s+= (.*)$", text, re.MULTILINE))


@pytest.fixture
def application(tmp_path, monkeypatch):
    (tmp_path / "dummy.py").write_text(answering(PATCHED))
    monkeypatch.chdir(tmp_path)
    return "dummy:app"


@pytest.fixture
def transports_application(application, tmp_path):
    (tmp_path / "dummy.py").write_text(answering(TRANSPORTS))
    return application


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
    assert imported - sys.stdlib_module_names == {
        "dotenv",
        "gevent",
        "gunicorn.glogging",
        "pythonjsonlogger.json",
    }


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
        "worker_class": "llhttp_worker.LlhttpWorker",
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


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_needs_no_brackets(application, host):
    assert settings_of(gunicorn("--print-config", application, HOST=host).stdout)["bind"] == "['[::1]:3001']"
    with serving(application, HOST=host) as (_, url, _):
        assert ask(url.replace("127.0.0.1", "[::1]")) == "True threading"


@pytest.mark.parametrize("level", ["INFO", "ERROR"])
@pytest.mark.parametrize(("named", "mode"), [("testing", "testing"), ("", "development")])
def test_the_master_s_first_line_names_its_mode(application, named, mode, level):
    with serving(application, BITTRADE_ENV=named, NODE_ENV="", LOG_LEVEL=level) as (_, _, log):
        assert log.read_text().splitlines()[0].endswith(f"[INFO] BitTrade starts, mode {mode}")


@pytest.mark.parametrize(
    "command", [("-m", "flask", "--app", "wsgi", "user", "list"), ("worker.py", "ledger")]
)
def test_every_program_s_first_line_names_its_mode(command, tmp_path):
    """There is no database behind this address: what comes later does not matter here."""
    address = f"sqlite:///{tmp_path}/none.db"
    environ = os.environ | {"LOG_LEVEL": "ERROR", "BITTRADE_ENV": "testing", "DATABASE_URL": address}
    program = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert program.returncode
    assert program.stderr.splitlines()[0].endswith("INFO bittrade BitTrade starts, mode testing")


def is_listening(host: str, port: int) -> bool:
    try:
        socket.create_connection((host.strip("[]"), port)).close()
    except OSError:
        return False
    return True


@contextmanager
def serving(*arguments: str, **environ: str) -> Iterator[tuple["subprocess.Popen[str]", str, Path]]:
    """A started gunicorn, its address and the file with what it says; ended at the end."""
    port = free_port()
    log = Path("gunicorn.log").absolute()
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-W", "always", "-m", "gunicorn", "-c", str(SETTINGS), *arguments],
            env=os.environ
            | {
                "HOST": "127.0.0.1",
                "PORT": str(port),
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            | environ,
            stderr=output,
            text=True,
        )
    try:
        wait_until(lambda: server.poll() is not None or is_listening(environ.get("HOST", "127.0.0.1"), port))
        assert server.poll() is None, log.read_text()
        yield server, f"http://127.0.0.1:{port}/", log
    finally:
        server.terminate()
        server.wait(60)


def ask(url: str) -> str:
    """What it answers, over a connection of its own: it may be any worker."""
    return requests.get(url, headers={"Connection": "close"}, timeout=60).text


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to be within a minute"
        time.sleep(0.05)


def test_a_worker_is_patched_and_no_library_came_too_early(application):
    with serving(application) as (_, url, log):
        assert ask(url) == "True threading"
    assert "MonkeyPatchWarning" not in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "environ", "transports"),
    [
        ([], {}, "polling,websocket"),
        (["-w", "2"], {}, "websocket"),
        ([], {"GUNICORN_CMD_ARGS": "-w 2"}, "websocket"),
        ([], {"WEB_CONCURRENCY": "2"}, "websocket"),
        (["-w", "1"], {"WEB_CONCURRENCY": "2"}, "polling,websocket"),
        (["-w", "2"], {"SOCKET_TRANSPORTS": "polling,websocket"}, "polling,websocket"),
    ],
)
def test_several_workers_take_websocket_alone_however_they_were_asked_for(
    transports_application, arguments, environ, transports
):
    with serving(*arguments, transports_application, **environ) as (_, url, _):
        assert {ask(url) for _ in range(5)} == {transports}


def test_the_one_worker_that_took_polling_is_replaced_when_it_gets_company(transports_application):
    with serving(transports_application) as (server, url, log):
        assert ask(url) == "polling,websocket"
        server.send_signal(signal.SIGTTIN)
        wait_until(lambda: log.read_text().count("Booting worker") == 3)
        assert {ask(url) for _ in range(20)} == {"websocket"}


def test_a_reload_brings_new_code_also_of_what_the_master_looked_at(application, tmp_path):
    fields = "'is_sqlite': False, 'check_redis_servers': print"
    fake = (
        "VERSION = {}\nenvironment_name = str\n\ndef load(**_):\n    return type('Config', (), {{"
        + fields
        + "}})\n"
    )
    (tmp_path / "config.py").write_text(fake.format(1))
    (tmp_path / "dummy.py").write_text(answering("str(__import__('config').VERSION)"))
    with serving(application) as (server, url, _):
        assert ask(url) == "1"
        (tmp_path / "config.py").write_text(fake.format(2))
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: ask(url) == "2")


def test_sqlite_with_several_workers_is_warned_of_and_too_many_are_refused(application):
    sqlite = {"DATABASE_URL": "sqlite:///x.db"}
    with serving("-w", "2", application, **sqlite) as (_, _, log):
        assert "SQLite has one writer" in log.read_text()
    with serving(application, **sqlite) as (_, _, log):
        assert "SQLite" not in log.read_text()
    refused = gunicorn("-w", "257", application, PYTHONPATH=str(ROOT))
    assert refused.returncode == 1
    assert "WEB_CONCURRENCY" in refused.stderr
