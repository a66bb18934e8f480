"""`make run`: the whole of BitTrade on this machine, for a developer.

Starts the web server, the RQ worker and the scheduler, on the services that the environment (or .env) names; what it
does not name is embedded: SQLite under instance/, a Redis of its own, and, where CoinGecko can't be reached, the price
simulator. Knows the application only from outside, by the same commands that an operator types. Never for production.
"""

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing import active_children
from pathlib import Path
from types import FrameType

import psutil
import pymysql
import requests
from dotenv import dotenv_values
from honcho.manager import Manager
from sqlalchemy.engine import make_url

from dev.services import (
    RedisServerFailed,
    RedisServerMissing,
    connect_database,
    database_server_url,
    embedded_redis,
    find_redis_version,
    free_port,
    place,
    redis_server_url,
)

ROOT = Path(__file__).resolve().parent.parent
INSTANCE = ROOT / "instance"

DEMO_EMAIL = "demo@bittrade.test"
DEMO_NAME = "Demo"
DEMO_PASSWORD = "paper-rupees-only-42"  # noqa: S105 - printed on purpose; make run refuses production
DEMO_RUPEES = 1_000_000
DEMO_SATOSHIS = 5_000_000

COINGECKO_URL = "https://api.coingecko.com/api/v3"
PROBE_TIMEOUT_S = (2, 3)
READY_TIMEOUT_S = 90
COMMAND_TIMEOUT_S = 60
LEFTOVER_TIMEOUT_S = 3

# Every process of one run carries this variable with the run's own value, so that none is ever left or mistaken.
MARK = "BITTRADE_RUN"


class CannotRun(Exception):
    """Something that the developer has to put right first; the message is the one line that says what."""


def say(text: str = "") -> None:
    print(text, flush=True)


# --- Settings -----------------------------------------------------------------------------------------------------


def read_settings(environ: Mapping[str, str], dotenv: Path) -> dict[str, str]:
    """The environment over .env, without what is empty, as config.py reads them."""
    below = {name: value for name, value in dotenv_values(dotenv).items() if value}
    return below | {name: value for name, value in environ.items() if value}


def refuse_production(settings: Mapping[str, str]) -> None:
    name = "BITTRADE_ENV" if settings.get("BITTRADE_ENV") else "NODE_ENV"
    if settings.get(name) == "production":
        raise CannotRun(
            f"{name} is production, and make run is for development: it has a demo user with a printed password. "
            "Start gunicorn, worker.py and worker.py scheduler as the README says."
        )


def web_address(settings: Mapping[str, str]) -> tuple[str, int]:
    port = settings.get("PORT", "3001")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise CannotRun(f"PORT is {port!r}; it must be a number from 1 to 65535")
    return settings.get("HOST", "127.0.0.1"), int(port)


def require_free(host: str, port: int) -> None:
    """Say in one line that the port is taken, instead of letting gunicorn try it five times."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            raise CannotRun(
                f"Port {port} on {host} is not to be had ({error.strerror}). Another one: PORT={port + 1} make run"
            ) from error


def jwt_secret(folder: Path) -> str:
    """This checkout's own secret: made once, kept where only its owner reads it."""
    path = folder / "jwt-secret"
    folder.mkdir(exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if secret := path.read_text().strip():
            return secret
        path.unlink()  # the run that made it was cut off before it wrote
        return jwt_secret(folder)
    with open(descriptor, "w") as file:
        file.write(secret := secrets.token_hex(32))
    return secret


# --- Services -----------------------------------------------------------------------------------------------------


def choose_redis(settings: dict[str, str], stack: ExitStack) -> str:
    """Set REDIS_URL to an embedded Redis unless one is named; return what to show."""
    if settings.get("REDIS_URL") or settings.get("REDIS_HOST"):
        url = redis_server_url(settings)
        if not (version := find_redis_version(url)):
            raise CannotRun(f"No Redis answers at {place(url)}, which REDIS_URL or REDIS_HOST names")
        return f"Redis {version} at {place(url)}"
    try:
        embedded = stack.enter_context(embedded_redis())
    except (RedisServerMissing, RedisServerFailed) as error:
        raise CannotRun(str(error)) from error
    settings["REDIS_URL"] = embedded.url
    return f"Redis {embedded.version}, embedded, at {place(embedded.url)} (forgets everything at the end)"


def check_database(settings: Mapping[str, str]) -> str:
    """Return what to show; say in one line why the named database won't do."""
    url = settings.get("DATABASE_URL", "")
    if not url and not settings.get("DB_HOST"):
        return "SQLite under instance/"
    if url and not url.startswith(("mysql", "mariadb")):
        return make_url(url).render_as_string(hide_password=True)
    try:
        server = database_server_url(settings)
    except ValueError as error:
        raise CannotRun(str(error)) from error
    name = (make_url(url).database if url else settings.get("DB_NAME")) or "bittrade"
    try:
        connect_database(server, database=name).close()
    except (pymysql.MySQLError, OSError) as error:
        raise CannotRun(f"Database {name} at {place(server)}: {error}") from error
    return f"database {name} at {place(server)}"


def is_reachable(coingecko_url: str) -> bool:
    """Ask CoinGecko's own `ping`, once. A refusal because of too many requests is an answer too."""
    try:
        answer = requests.get(
            f"{coingecko_url.rstrip('/')}/ping", timeout=PROBE_TIMEOUT_S, allow_redirects=False
        )
    except requests.RequestException:
        return False
    return answer.status_code in (200, 429)


def choose_market(settings: dict[str, str]) -> int | None:
    """Leave the settings alone where CoinGecko answers; else point them at a simulator and return its port."""
    url = settings.get("COINGECKO_API_URL", COINGECKO_URL)
    if is_reachable(url):
        return None
    refuse_production(settings)
    port = free_port()
    settings["COINGECKO_API_URL"] = f"http://127.0.0.1:{port}/api/v3"
    settings["FEAR_GREED_API_URL"] = f"http://127.0.0.1:{port}/fng"
    # All or none: a price may not come from the simulator now and from an exchange the next time.
    settings["COINBASE_API_URL"] = f"http://127.0.0.1:{port}/coinbase"
    settings["KRAKEN_API_URL"] = f"http://127.0.0.1:{port}/0/public"
    say("!" * 100)
    say(f"!  {url} cannot be reached from here.")
    say("!  The prices of this run are MADE UP by a simulator (python -m dev.simulator).")
    say("!" * 100)
    return port


# --- Data ---------------------------------------------------------------------------------------------------------


def flask(settings: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Type one of the operators' commands."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
        env=dict(settings),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


def must(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        command = shlex.join(done.args[2:])
        raise CannotRun(f"`{command}` failed:\n{done.stdout.strip()}")


def create_demo_user(settings: Mapping[str, str]) -> None:
    """Make the demo user, give it a balance and the role admin, once: a second run finds it and pays nothing."""
    unpaid = INSTANCE / "demo-user-unpaid"  # stays behind when a run is cut off between the two commands
    was_cut_off = unpaid.exists()
    unpaid.touch()
    with_password = {**settings, "BITTRADE_NEW_PASSWORD": DEMO_PASSWORD}
    created = flask(with_password, "user", "create", DEMO_EMAIL, "--name", DEMO_NAME)
    if created.returncode and "already exists" not in created.stdout:
        must(created)
    if created.returncode == 0 or was_cut_off:
        must(flask(settings, "user", "role", DEMO_EMAIL, "admin", "--why", "a demonstration"))
        amounts = ["--inr", str(DEMO_RUPEES), "--btc", str(DEMO_SATOSHIS)]
        must(flask(settings, "balance", "deposit", DEMO_EMAIL, *amounts))
    unpaid.unlink()


# --- Processes ----------------------------------------------------------------------------------------------------


def commands(simulator_port: int | None) -> dict[str, list[str]]:
    """What runs, by name. `exec` is added later: no shell may stand between honcho and a process."""
    python = sys.executable
    started = {
        "web": [python, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"],
        "worker": [python, "worker.py"],
        "scheduler": [python, "worker.py", "scheduler"],
    }
    if simulator_port is not None:
        started = {"simulator": [python, "-m", "dev.simulator", "--port", str(simulator_port)], **started}
    return started


def end_marked(mark: str, *, grace_s: float = LEFTOVER_TIMEOUT_S) -> None:
    """End every process that carries this run's mark, also one that left its parent's group."""
    everyone = psutil.process_iter()
    ours = [process for process in everyone if process.pid != os.getpid() and _carries(process, mark)]
    for process in ours if grace_s else []:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(ours, grace_s)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, LEFTOVER_TIMEOUT_S)


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        pass  # it ended by itself


class Processes(Manager):
    """Honcho's manager, which ends what has left its process group as well.

    An RQ worker gives each job a group of its own. Killing the worker leaves the job, which holds the pipe that honcho
    reads to the end.
    """

    def __init__(self, settings: Mapping[str, str], started: Mapping[str, list[str]]) -> None:
        super().__init__()
        self.mark = settings[MARK]
        for name, command in started.items():
            self.add_process(name, f"exec {shlex.join(command)}", env=dict(settings), cwd=str(ROOT))

    def kill(self) -> None:
        super().kill()
        end_marked(self.mark, grace_s=0)

    def end_leftovers(self) -> None:
        """Leave nothing, whatever happened: first the helpers that could still start something."""
        for helper in active_children():
            helper.kill()
            helper.join(LEFTOVER_TIMEOUT_S)
        end_marked(self.mark)


# --- The screen ---------------------------------------------------------------------------------------------------


def announce(base: str, ended: threading.Event, facts: list[str]) -> None:
    """Wait until there is a price, then show the developer what there is to do."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    # The first second belongs to honcho, which forks: not a moment for a second thread to hold locks.
    while not ended.wait(1.0):
        price = find_price(base)
        if price is not None:
            return say(screen(base, price, facts))
        if time.monotonic() > deadline:
            return say(
                f"\n{base}/api/market-rates has no price after {READY_TIMEOUT_S} s: see the lines above.\n"
            )


def find_price(base: str) -> object | None:
    try:
        answer = requests.get(f"{base}/api/market-rates", timeout=2)
        return answer.json() if answer.status_code == 200 else None
    except (requests.RequestException, ValueError):
        return None


def trade_command(base: str) -> str:
    """One line for any POSIX shell: logs in, then buys for a thousand rupees."""
    json = "-H 'Content-Type: application/json'"
    login = (
        f"curl -s {base}/api/auth/login {json} "
        f"""-d '{{"email":"{DEMO_EMAIL}","password":"{DEMO_PASSWORD}"}}' """
        r"""| sed 's/.*"token": *"\([^"]*\)".*/\1/'"""
    )
    order = """'{"action":"buy","type":"market","amount":"1000","currency":"inr"}'"""
    return f'curl -s {base}/api/trade {json} -H "Authorization: Bearer $({login})" -d {order}'


def page_line(base: str) -> str:
    if (ROOT / "web" / "dist" / "index.html").exists():
        return f"{base}/"
    return "was not built: install node and npm, then `make web`"


def screen(base: str, price: object, facts: list[str]) -> str:
    rates = price if isinstance(price, dict) else {}
    usd, buy, sell = (rates.get(name) for name in ("btc_usd_price", "buy_rate_inr", "sell_rate_inr"))
    lines = [
        "",
        "=" * 100,
        f"BitTrade runs at {base}",
        "",
        f"  the page      {page_line(base)}",
        f"  for operators {base}/admin",
        f"  bitcoin now   {usd} USD, buy at ₹{buy}, sell at ₹{sell}",
        f"  rates         {base}/api/market-rates",
        f"  health        {base}/api/health",
        f"  API           {base}/api/docs",
        f"  events        {base}/api/docs/events",
        *(f"  {fact}" for fact in facts),
        f"  demo user     {DEMO_EMAIL}  password  {DEMO_PASSWORD}",
        "",
        "  Log in and buy for ₹1,000:",
        "",
        trade_command(base),
        "",
        "Ctrl-C ends all of it.",
        "=" * 100,
        "",
    ]
    return "\n".join(lines)


# --- All of it ----------------------------------------------------------------------------------------------------


def run(environ: Mapping[str, str]) -> int:
    settings = read_settings(environ, ROOT / ".env")
    refuse_production(settings)
    host, port = web_address(settings)
    require_free(host, port)
    INSTANCE.mkdir(exist_ok=True)
    settings.setdefault("JWT_SECRET", jwt_secret(INSTANCE))
    settings |= {MARK: uuid.uuid4().hex, "PYTHONUNBUFFERED": "1"}
    with ExitStack() as stack:
        facts = [
            f"data          {check_database(settings)}",
            f"queue, cache  {choose_redis(settings, stack)}",
        ]
        simulator_port = choose_market(settings)
        facts.append(f"prices        {'simulator, MADE UP' if simulator_port else 'CoinGecko'}")
        say("Preparing the database and the demo user ...")
        must(flask(settings, "db", "upgrade"))
        create_demo_user(settings)
        manager = Processes(settings, commands(simulator_port))
        # On the way out the leftovers end before Redis, which they may still be talking to.
        stack.callback(manager.end_leftovers)
        with announcing(f"http://{shown(host)}:{port}", facts):
            manager.loop()
    # Ctrl-C is how a run is meant to end.
    return 0 if manager.returncode == 128 + signal.SIGINT else int(manager.returncode or 0)


def shown(host: str) -> str:
    """An address that a browser on this machine can open."""
    if host in ("0.0.0.0", "::", "[::]"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


@contextmanager
def announcing(base: str, facts: list[str]) -> Iterator[None]:
    ended = threading.Event()
    threading.Thread(target=announce, args=(base, ended, facts), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _leave(number: int, _frame: FrameType | None) -> None:
    """Unwind, so that everything that was started is ended; an impatient second signal must not cut that short."""
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _pass_on_as_term(_number: int, _frame: FrameType | None) -> None:
    """A closed terminal ends the run; honcho itself only listens to SIGINT and SIGTERM."""
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _pass_on_as_term)
    try:
        return run(os.environ)
    except CannotRun as error:
        print(f"make run: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
