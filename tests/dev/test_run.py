"""`make run`, with a stand-in for the application: what it starts, says, remembers, and that it leaves nothing behind.

The stand-in is a folder with the same doors (wsgi.py, worker.py, the operators' commands), so that these tests hold
dev/run.py alone to its word; the real application is run end to end in tests/e2e.
"""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from dev import run, services

ROOT = Path(__file__).resolve().parents[2]
READY = "Ctrl-C ends all of it."
END_TIMEOUT_S = 30

WSGI = """
import json, os, pathlib
from flask import Flask, request
import click

app = Flask(__name__)
kept = pathlib.Path(__file__).parent / "kept"
kept.mkdir(exist_ok=True)

def log(text):
    with open(kept / "log", "a") as file:
        file.write(text + "\\n")

@app.cli.group("db")
def db(): pass

@db.command("upgrade")
def upgrade():
    log("upgrade")

@app.cli.group("user")
def user(): pass

@user.command("create")
@click.argument("email")
@click.option("--name")
def create(email, name):
    if (kept / "user").exists():
        raise click.ClickException("User with this email already exists")
    (kept / "user").write_text(os.environ["BITTRADE_NEW_PASSWORD"])
    log("create")
    if os.environ.get("CUT_OFF"):
        os.kill(os.getppid(), 15)

@user.command("role")
@click.argument("email")
@click.argument("role")
@click.option("--why")
def give_role(email, role, why):
    log("role")

@app.cli.group("balance")
def balance(): pass

@balance.command("deposit")
@click.argument("email")
@click.option("--inr", type=int)
@click.option("--btc", type=int)
def deposit(email, inr, btc):
    log("deposit")

@app.get("/api/market-rates")
def rates():
    return {"btc_usd_price": 45000, "buy_rate_inr": 4095000, "sell_rate_inr": 3960000}

@app.post("/api/auth/login")
def login():
    sent = request.get_json()
    return {"message": "Login successful", "token": "a.b-c." + sent["password"], "user": {"id": 1}}

@app.post("/api/trade")
def trade():
    return {"authorization": request.headers["Authorization"], "order": request.get_json()}, 201
"""

# Stubborn, and out of its parent's group, as an RQ job is.
WORKER = """
import os, signal, sys, time
if os.environ.get("STUBBORN") and sys.argv[1:] == [] and os.fork() == 0:
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
print("working with", os.environ["REDIS_URL"], flush=True)
time.sleep(600)
"""

LAUNCH = """
import pathlib, sys
from dev import run
run.ROOT = pathlib.Path(sys.argv[1])
run.INSTANCE = run.ROOT / "instance"
sys.exit(run.main())
"""


class Launched:
    """One `make run` on the stand-in, read line by line."""

    def __init__(self, root: Path, **environ: str) -> None:
        self.port = services.free_port()
        self.lines: list[str] = []
        settings = {
            "PORT": str(self.port),
            "PYTHONPATH": str(ROOT),
            "COINGECKO_API_URL": f"http://127.0.0.1:{services.free_port()}/api/v3",
            "REDIS_URL": "",
            "DATABASE_URL": "",
            "BITTRADE_ENV": "development",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(root)],
            env=os.environ | settings | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a terminal's foreground group, which Ctrl-C reaches as a whole
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, wanted: str, timeout_s: float = 40) -> None:
        deadline = time.monotonic() + timeout_s
        while wanted not in self.text:
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None, self.text
            time.sleep(0.05)

    def marked(self) -> list[psutil.Process]:
        """Every process of this run: they all know its port."""
        found = []
        for process in psutil.process_iter():
            try:
                environ = process.environ()
            except (psutil.Error, OSError):
                continue
            if environ.get("PORT") == str(self.port) and environ.get(run.MARK):
                found.append(process)
        return found

    def interrupt(self) -> int:
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(END_TIMEOUT_S)
        self._reader.join(5)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._reader.join(5)
        self.process.stdout.close()


@pytest.fixture
def stand_in(tmp_path):
    (tmp_path / "wsgi.py").write_text(WSGI)
    (tmp_path / "worker.py").write_text(WORKER)
    shutil.copy(ROOT / "gunicorn.conf.py", tmp_path)
    return tmp_path


@pytest.fixture
def launch(stand_in):
    with ExitStack() as stack:

        def start(**environ: str) -> Launched:
            launched = Launched(stand_in, **environ)
            stack.callback(launched.close)
            return launched

        yield start


def log_of(root: Path) -> list[str]:
    return (root / "kept" / "log").read_text().split()


def embedded_redis_of(text: str) -> str:
    return re.search(r"working with (redis://127\.0\.0\.1:\d+/0)", text).group(1)


def test_ctrl_c_ends_everything_and_a_second_run_pays_the_demo_user_nothing(launch, stand_in):
    first = launch(STUBBORN="1")
    first.wait_for(READY)
    assert "cannot be reached" in first.text
    assert "MADE UP" in first.text
    names = {" ".join(process.cmdline()) for process in first.marked()}
    for door in ("gunicorn", "worker.py", "worker.py scheduler", "dev.simulator"):
        assert any(name.endswith(door) or door in name for name in names), door
    redis_url = embedded_redis_of(first.text)
    assert services.find_redis_version(redis_url)

    first.interrupt()
    assert first.marked() == []
    assert services.find_redis_version(redis_url) is None
    assert "Traceback" not in first.text
    with socket.create_server(("127.0.0.1", first.port)):
        pass  # the port is free again
    assert log_of(stand_in) == ["upgrade", "create", "role", "deposit"]

    second = launch()
    second.wait_for(READY)
    second.process.send_signal(signal.SIGTERM)
    second.wait()
    assert second.marked() == []
    assert log_of(stand_in) == ["upgrade", "create", "role", "deposit", "upgrade"]


def test_the_printed_command_logs_in_and_trades(launch):
    launched = launch()
    launched.wait_for(READY)
    command = next(line for line in launched.lines if line.startswith("curl "))
    answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    got = json.loads(answer.stdout)
    assert got["authorization"] == f"Bearer a.b-c.{run.DEMO_PASSWORD}"
    assert got["order"] == {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}


def test_one_process_that_dies_ends_the_run(launch):
    launched = launch()
    launched.wait_for(READY)
    worker = next(process for process in launched.marked() if process.cmdline()[-1:] == ["scheduler"])
    worker.kill()
    assert launched.wait() != 0
    assert launched.marked() == []


def test_a_run_cut_off_before_the_deposit_makes_up_for_it(launch, stand_in):
    launch(CUT_OFF="1").wait()
    assert log_of(stand_in) == ["upgrade", "create"]
    second = launch()
    second.wait_for(READY)
    assert log_of(stand_in) == ["upgrade", "create", "upgrade", "role", "deposit"]
    second.interrupt()
    assert not (stand_in / "instance" / "demo-user-unpaid").exists()


def test_a_taken_port_is_told_in_one_line(launch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        launched = launch(PORT=str(port))
        assert launched.wait() == 2
    assert len(launched.lines) == 1
    assert f"Port {port} on 127.0.0.1 is not to be had" in launched.text


def test_production_is_refused_in_one_line(launch, stand_in):
    launched = launch(BITTRADE_ENV="production")
    assert launched.wait() == 2
    assert len(launched.lines) == 1
    assert "BITTRADE_ENV is production" in launched.text
    assert not (stand_in / "instance").exists()


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"PORT": "99999"}, "PORT is '99999'"),
        ({"REDIS_URL": "redis://127.0.0.1:9/0"}, "No Redis answers at 127.0.0.1:9"),
        ({"DATABASE_URL": "mysql+pymysql://root@127.0.0.1:9/bittrade"}, "Database bittrade at 127.0.0.1:9"),
    ],
)
def test_what_the_variables_name_must_be_there(launch, environ, reason):
    launched = launch(**environ)
    assert launched.wait() == 2
    assert len(launched.lines) == 1
    assert reason in launched.text


def test_the_environment_wins_over_the_file_and_nothing_empty_counts(tmp_path):
    (tmp_path / ".env").write_text("PORT=4000\nHOST=\nDB_HOST=db\n")
    settings = run.read_settings({"PORT": "4001", "REDIS_URL": ""}, tmp_path / ".env")
    assert settings == {"PORT": "4001", "DB_HOST": "db"}


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path):
    secret = run.jwt_secret(tmp_path)
    assert len(secret.encode()) >= 32
    assert run.jwt_secret(tmp_path) == secret
    assert stat.S_IMODE((tmp_path / "jwt-secret").stat().st_mode) == 0o600


def test_a_secret_that_was_never_written_is_made_again(tmp_path):
    (tmp_path / "jwt-secret").touch()
    assert len(run.jwt_secret(tmp_path)) == 64


class _Market(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("status", "simulated"), [(200, False), (429, False), (500, True), (404, True)])
def test_the_simulator_runs_only_where_coingecko_does_not_answer(status, simulated, capsys):
    with HTTPServer(("127.0.0.1", 0), _Market) as server:
        server.status = status
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api/v3"
        settings = {"COINGECKO_API_URL": url}
        port = run.choose_market(settings)
        server.shutdown()
    assert (port is not None) is simulated
    assert (settings["COINGECKO_API_URL"] == url) is not simulated
    assert ("cannot be reached" in capsys.readouterr().out) is simulated
    assert ("simulator" in run.commands(port)) is simulated


def test_production_never_gets_made_up_prices():
    settings = {"COINGECKO_API_URL": "http://127.0.0.1:9/api/v3", "BITTRADE_ENV": "production"}
    with pytest.raises(run.CannotRun, match="production"):
        run.choose_market(settings)
    assert settings["COINGECKO_API_URL"] == "http://127.0.0.1:9/api/v3"


def test_a_browser_is_sent_to_an_address_it_can_open():
    assert run.shown("0.0.0.0") == "127.0.0.1"
    assert run.shown("192.0.2.7") == "192.0.2.7"
    assert run.shown("::1") == run.shown("[::1]") == "[::1]"


def test_a_machine_for_production_by_node_s_variable_is_refused_too():
    with pytest.raises(run.CannotRun, match="NODE_ENV is production"):
        run.refuse_production({"NODE_ENV": "production"})
    run.refuse_production({"NODE_ENV": "production", "BITTRADE_ENV": "development"})
