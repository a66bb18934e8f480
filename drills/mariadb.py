"""A MariaDB of our own: installed into a temporary folder, on loopback, to be killed and stopped at will."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from dev.services import LOOPBACK, free_port

DATABASE = USER = "drill"
INSTALL_TIMEOUT_S = 60
START_TIMEOUT_S = 30
PROGRAMS = ("mariadb-install-db", "mariadbd")


class ServiceMissing(RuntimeError):
    """A program that the drills need is not on this machine."""


class ServiceFailed(RuntimeError):
    """A program was found, and did not do what was asked; the message holds the end of its log."""


def find_missing_programs() -> list[str]:
    """Those of MariaDB's programs that are not on the PATH."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class PrivateMariaDB:
    """One server process at a time on one data folder; durable at every commit, as in production."""

    def __init__(
        self, folder: Path, *, password: str = "", root_password: str = "", **settings: object
    ) -> None:
        """`settings` are further ones of the server's, with underscores for dashes."""
        if missing := find_missing_programs():
            raise ServiceMissing(f"MariaDB is not installed here: {', '.join(missing)} not on the PATH")
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "mariadb.log"
        # A socket's path may have at most 107 bytes: the folder is short, being a temporary one.
        self._socket = folder / "mariadb.sock"
        self._port = free_port()
        self._password = password or secrets.token_hex(16)
        self._root_password = root_password or secrets.token_hex(16)
        self._settings = {name.replace("_", "-"): value for name, value in settings.items()}
        self._account = _unprivileged_account()
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """For SQLAlchemy and BitTrade's DATABASE_URL."""
        return self.url_through(self._port)

    def url_through(self, port: int) -> str:
        """The same database, by way of a port that leads to it."""
        return f"mysql+pymysql://{USER}:{self._password}@{LOOPBACK}:{port}/{DATABASE}?charset=utf8mb4"

    def install(self) -> None:
        """Make the data folder, start the server, make the drills' database and its user."""
        self._make_data()
        self.start()
        self._make_database()

    def _make_data(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._account:
            shutil.chown(self._folder, self._account)
        command = ["mariadb-install-db", "--no-defaults", f"--datadir={self._data}", *self._as_account()]
        command += [f"--tmpdir={self._folder}"]
        command += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
        if done.returncode:
            raise ServiceFailed(f"mariadb-install-db failed:\n{(done.stdout + done.stderr)[-1000:]}")

    def _make_database(self) -> None:
        root = pymysql.connect(unix_socket=str(self._socket), user="root")
        with root, root.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
            cursor.execute(f"CREATE USER {USER}@'{LOOPBACK}' IDENTIFIED BY %s", [self._password])
            cursor.execute(f"GRANT ALL ON {DATABASE}.* TO {USER}@'{LOOPBACK}'")
            cursor.execute("ALTER USER root@localhost IDENTIFIED BY %s", [self._root_password])

    def start(self) -> float:
        """Start the server on what is in its folder, and wait until it answers: seconds that took."""
        began = time.monotonic()
        with open(self._log, "ab") as log:
            self._server = subprocess.Popen(
                [str(shutil.which("mariadbd")), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self.is_answering():
            if self._server.poll() is not None or time.monotonic() - began > START_TIMEOUT_S:
                raise ServiceFailed(
                    f"mariadbd did not start:\n{self._log.read_text(errors='replace')[-1500:]}"
                )
            time.sleep(0.02)
        return time.monotonic() - began

    def is_answering(self) -> bool:
        """Whether it greets a client; whether it lets one in is another matter."""
        try:
            with pymysql.connect(
                unix_socket=str(self._socket), user="nobody", connect_timeout=1, read_timeout=1
            ):
                return True
        except pymysql.MySQLError as error:
            return error.args[0] in (1045, 1698)  # access denied
        except OSError:
            return False

    def administer(self, *statements: str) -> list[dict[str, Any]]:
        """Run statements as root; the rows of the last."""
        with self.connect_as_root() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def connect_as_root(self) -> "pymysql.connections.Connection[DictCursor]":
        """A connection of the administrator's, by the socket."""
        login = {"unix_socket": str(self._socket), "user": "root", "password": self._root_password}
        return pymysql.connect(**login, autocommit=True, cursorclass=DictCursor)

    def count_connections(self) -> int:
        """How many clients it has."""
        login = {"host": LOOPBACK, "port": self._port, "user": USER, "password": self._password}
        with pymysql.connect(**login) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Threads_connected'")
            row = cursor.fetchone()
        return int(row[1]) if row else 0

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._process().kill()
        self._process().wait()

    def stop(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._process().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, in whatever state it is: nothing in its folder is wanted again."""
        if self._server is not None and self._server.poll() is None:
            self.kill()

    def _process(self) -> subprocess.Popen[bytes]:
        if self._server is None:
            raise ServiceFailed("mariadbd was never started")
        return self._server

    def _as_account(self) -> list[str]:
        return [f"--user={self._account}"] if self._account else []

    def _options(self) -> list[str]:
        settings = {
            "datadir": self._data,
            "socket": self._socket,
            "port": self._port,
            "bind-address": LOOPBACK,
            # At its start a server deletes the temporary tables it finds: another server's, in a shared folder.
            "tmpdir": self._folder,
            "pid-file": self._folder / "mariadb.pid",
            "innodb-flush-log-at-trx-commit": 1,
            "innodb-buffer-pool-size": "128M",
            "innodb-log-file-size": "64M",
            "max-connections": 100,
            **self._settings,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        options += [] if "log-bin" in settings else ["--skip-log-bin"]
        return ["--no-defaults", *options, "--skip-name-resolve", *self._as_account()]


def _unprivileged_account() -> str | None:
    """mariadbd refuses to run as root unless it is told whom to become."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("mysql").pw_name
    except KeyError:
        return "root"
