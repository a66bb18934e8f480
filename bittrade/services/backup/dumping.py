"""Making a backup: one consistent moment of the whole database, while everybody goes on trading."""

import gzip
import os
import re
import subprocess
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Any

from flask import current_app

from bittrade import wire
from bittrade.services.backup import manifest
from bittrade.services.backup.manifest import Manifest
from bittrade.services.backup.programs import (
    CHUNK_BYTES,
    BackupFailed,
    ask,
    encrypting,
    login,
    running,
    server_of,
)
from bittrade.version import VERSION

# Both stand in the dump: the place in the binary log as a comment in its head, and that it is whole in its last line.
_PLACE = re.compile(rb"MASTER_LOG_FILE='([^']+)', MASTER_LOG_POS=(\d+)")
_END = b"-- Dump completed"
_HEAD_BYTES, _TAIL_BYTES = 2**16, 200
_OPTIONS = ("--single-transaction", "--quick", "--hex-blob", "--routines", "--triggers", "--skip-lock-tables")


def back_up(folder: Path, *, passphrase: Path | None = None) -> tuple[Path, Manifest]:
    """Write a backup into a folder; return its file and its manifest. Encrypted where there is a passphrase's file.

    Raises BackupFailed and SQLAlchemyError; what is half written is then taken away.
    """
    url = server_of(_address())
    has_log = ask(url, "SELECT @@log_bin AS it")[0]["it"] == 1
    revision = ask(url, "SELECT version_num FROM alembic_version")[0]["version_num"]
    now = wire.timestamp(wire.now())
    ending = "sql.gz" if passphrase is None else "sql.gz.enc"
    path = folder / f"bittrade-{re.sub(r'[-:]|[.][0-9]+', '', now)}.{ending}"
    half = path.with_name(f"{path.name}.half")
    try:
        with login(url) as where:
            place = ("--master-data=2",) if has_log else ()
            command = ("mariadb-dump", where, *_OPTIONS, *place, str(url.database))
            head, tail = _write(command, half, passphrase)
        if _END not in tail:
            raise BackupFailed("The dump has no end: it is not whole")
        found = _PLACE.search(head)
        if has_log and found is None:
            raise BackupFailed("The dump does not say where the binary log goes on")
        made = Manifest(
            file=path.name,
            made_at=now,
            release=VERSION,
            revision=revision,
            database=str(url.database),
            bytes=half.stat().st_size,
            sha256=manifest.digest_of(half),
            binlog_file=found[1].decode() if found else None,
            binlog_position=int(found[2]) if found else None,
        )
        made = made if passphrase is None else made.sealed(passphrase)
        manifest.write(path, made)
        half.rename(path)
    finally:
        half.unlink(missing_ok=True)
    return path, made


def _address() -> str:
    address: str = current_app.config["BACKUP_DATABASE_URL"] or current_app.config["DATABASE_URL"]
    return address


def _write(command: tuple[str, ...], path: Path, passphrase: Path | None) -> tuple[bytes, bytes]:
    """Write what a command says into a file, for our eyes alone and to the disk; its first and its last bytes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with ExitStack() as stack:
        file = stack.enter_context(os.fdopen(descriptor, "wb"))
        stack.callback(_to_disk, file)
        target: Any = file
        if passphrase is not None:
            target = stack.enter_context(encrypting(passphrase, file)).stdin
        # Without the time of its making: the same dump gives the same file.
        packed = stack.enter_context(
            closing(gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6, mtime=0))
        )
        dump = stack.enter_context(running(*command, stdout=subprocess.PIPE))
        return _copy(dump.stdout, packed)


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _copy(source: Any, target: Any) -> tuple[bytes, bytes]:
    head = tail = b""
    while piece := source.read(CHUNK_BYTES):
        head = head if len(head) >= _HEAD_BYTES else head + piece[:_HEAD_BYTES]
        tail = (tail + piece)[-_TAIL_BYTES:]
        target.write(piece)
    return head, tail
