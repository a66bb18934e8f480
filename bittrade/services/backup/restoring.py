"""Bringing a backup back into an empty database, and everything after it that the binary log holds."""

import gzip
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import current_app

from bittrade import cache, unit_of_work
from bittrade.extensions import db
from bittrade.services import audit
from bittrade.services.backup import manifest
from bittrade.services.backup.manifest import Manifest
from bittrade.services.backup.programs import (
    CHUNK_BYTES,
    BackupFailed,
    ask,
    decrypting,
    login,
    running,
    server_of,
)

_NUMBER = re.compile(r"\.([0-9]+)$")


def restore(
    backup: Path,
    *,
    binlogs: Sequence[Path] = (),
    until: datetime | None = None,
    passphrase: Path | None = None,
) -> Manifest:
    """Restore a backup, then what the binary logs hold of the time after it, up to `until` (UTC) or to their end.

    The database must be empty, and no process of ours may run. Raises BackupFailed, and SQLAlchemyError.
    """
    made = manifest.read(backup)
    made.check(backup, passphrase)
    _check_logs(made, binlogs)
    url = server_of(current_app.config["BACKUP_DATABASE_URL"] or current_app.config["DATABASE_URL"])
    if tables := ask(url, "SHOW TABLES"):
        raise BackupFailed(f"The database {url.database} is not empty: it has {len(tables)} tables")
    with login(url) as where:
        client = ("mariadb", where, "--binary-mode", "--default-character-set=utf8mb4", str(url.database))
        _load(backup, client, passphrase)
        if binlogs:
            _replay(made, binlogs, until, client, str(url.database))
    db.engine.dispose()
    return made


def _check_logs(made: Manifest, binlogs: Sequence[Path]) -> None:
    """Refuse logs that do not go on where the backup ends, one after the other."""
    if not binlogs:
        return
    if made.binlog_file is None:
        raise BackupFailed("The backup is of a server without a binary log: it goes on nowhere")
    if binlogs[0].name != made.binlog_file:
        raise BackupFailed(f"The binary log goes on in {made.binlog_file}: begin with that file")
    numbers = [int(found[1]) if (found := _NUMBER.search(path.name)) else -1 for path in binlogs]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise BackupFailed("A file of the binary log is missing, or they are not in order")


def _load(backup: Path, client: tuple[str, ...], passphrase: Path | None) -> None:
    with ExitStack() as stack:
        source: Any = stack.enter_context(backup.open("rb"))
        if passphrase is not None:
            source = stack.enter_context(decrypting(passphrase, source)).stdout
        unpacked = stack.enter_context(gzip.GzipFile(fileobj=source, mode="rb"))
        loading = stack.enter_context(running(*client, stdin=subprocess.PIPE))
        into: Any = loading.stdin
        shutil.copyfileobj(unpacked, into, CHUNK_BYTES)


def _replay(
    made: Manifest, binlogs: Sequence[Path], until: datetime | None, client: tuple[str, ...], database: str
) -> None:
    command = ["mariadb-binlog", "--no-defaults", f"--start-position={made.binlog_position}"]
    if database != made.database:
        command.append(f"--rewrite-db={made.database}->{database}")
    command.append(f"--database={database}")
    if until is not None:
        command.append(f"--stop-datetime={until.astimezone(UTC):%Y-%m-%d %H:%M:%S}")
    with ExitStack() as stack:
        reading = stack.enter_context(running(*command, *map(str, binlogs), stdout=subprocess.PIPE))
        stack.enter_context(running(*client, stdin=reading.stdout))


def finish(made: Manifest) -> bool:
    """Empty the cache, which may know more than the books do now, and write what was done to the audit log.

    Whether the cache could be emptied. Raises DatabaseUnavailable, and WrongSchema where the backup is an older release's.
    """
    is_empty = cache.forget_everything()
    unit_of_work.commit(
        lambda session: audit.record(session, "backup_restored", backup=made.file, made_at=made.made_at)
    )
    return is_empty
