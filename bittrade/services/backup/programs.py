"""MariaDB's programs and OpenSSL, run with their secrets in files that only we can read: arguments are for everybody to see."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from bittrade.errors import BitTradeError

CHUNK_BYTES = 2**20
# Of the database's parameters those that MariaDB's programs have under a name of their own.
_OPTIONS = {"ssl_ca": "ssl-ca", "ssl_capath": "ssl-capath", "ssl_cert": "ssl-cert", "ssl_key": "ssl-key"}
_CIPHER = ("enc", "-aes-256-ctr", "-pbkdf2", "-iter", "600000", "-md", "sha256", "-salt")


class BackupFailed(BitTradeError):
    """It could not be made, read or brought back; the message says why."""

    code = "backup_failed"


def server_of(address: str) -> URL:
    """Return the database's address. Raises BackupFailed for SQLite, which is copied as the file that it is."""
    url = make_url(address)
    if url.get_backend_name() == "sqlite":
        raise BackupFailed("SQLite is for development: stop the server and copy the file")
    return url


def ask(url: URL, statement: str) -> list[dict[str, Any]]:
    """Return the rows of one statement. Raises SQLAlchemyError."""
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return [dict(row) for row in connection.exec_driver_sql(statement).mappings()]


@contextmanager
def login(url: URL) -> Iterator[str]:
    """The option that tells MariaDB's programs where to go and as whom."""
    values: dict[str, str | int | None] = {
        "host": url.host,
        "port": url.port or 3306,
        "user": url.username,
        "password": url.password,
    }
    for name, given in url.normalized_query.items():
        if name in _OPTIONS:
            values[_OPTIONS[name]] = given[-1]
    if url.query.get("ssl_check_hostname") == "true":
        values["ssl-verify-server-cert"] = "true"
    lines = [f"{name}={_quoted(str(value))}" for name, value in values.items() if value is not None]
    with tempfile.TemporaryDirectory(prefix="bittrade-backup-") as folder:  # only its owner may enter
        path = Path(folder) / "client.cnf"
        path.write_text("\n".join(["[client]", *lines, ""]))
        yield f"--defaults-extra-file={path}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@contextmanager
def running(*command: str, stdin: Any = None, stdout: Any = None) -> Iterator["subprocess.Popen[bytes]"]:
    """A program, waited for at the end. Raises BackupFailed where it is missing or fails; ends it where we do."""
    with tempfile.TemporaryFile() as said:
        environment = os.environ | {"TZ": "UTC"}  # moments for mariadb-binlog
        try:
            program = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=said, env=environment)
        except FileNotFoundError:
            raise BackupFailed(f"{command[0]} is not installed here") from None
        try:
            yield program
        except BrokenPipeError:
            pass  # it ended early: its status and its words say why
        except BaseException:
            program.kill()
            program.wait()
            raise
        finally:
            for pipe in (program.stdin, program.stdout):
                _close(pipe)
        if program.wait():
            said.seek(0)
            words = said.read().decode(errors="replace").strip()[-500:]
            raise BackupFailed(f"{command[0]} ended with status {program.returncode}: {words}")


def _close(pipe: IO[bytes] | None) -> None:
    try:
        if pipe is not None:
            pipe.close()
    except BrokenPipeError:
        pass


def encrypting(passphrase: Path, stdout: Any) -> Any:
    """OpenSSL, which encrypts what it is given."""
    return running("openssl", *_CIPHER, "-pass", f"file:{passphrase}", stdin=subprocess.PIPE, stdout=stdout)


def decrypting(passphrase: Path, stdin: Any) -> Any:
    """OpenSSL, which gives back what was encrypted."""
    command = ("openssl", *_CIPHER, "-d", "-pass", f"file:{passphrase}")
    return running(*command, stdin=stdin, stdout=subprocess.PIPE)
