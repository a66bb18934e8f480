"""Backup, destroy, restore: the books are right, and a retry of the last acknowledged order is told what it was."""

import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from bittrade import cache
from bittrade.extensions import db
from bittrade.services import backup, ledger
from bittrade.services.backup import manifest
from bittrade.services.backup.programs import BackupFailed
from drills.mariadb import DATABASE, PrivateMariaDB
from tests.fixtures import Person, new_user, set_price

pytestmark = [
    pytest.mark.needs(program)
    for program in ("mariadbd", "mariadb-install-db", "mariadb-dump", "mariadb", "mariadb-binlog", "openssl")
]
# What whoever makes and restores backups may do (docs/deployment.md).
GRANTS = (
    "GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT, RELOAD, BINLOG MONITOR, BINLOG REPLAY ON *.* TO {user}",
    f"GRANT ALL ON {DATABASE}.* TO {{user}}",
)


@dataclass
class Installation:
    """A server and an app on it, which makes backups as a user of its own."""

    server: PrivateMariaDB
    app: Flask

    def trade(self, person: Person, key: str) -> tuple[int, dict[str, Any], bool]:
        order = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}
        headers = {**person.headers, "Idempotency-Key": key}
        with self.app.test_client().post("/api/trade", json=order, headers=headers) as answer:
            return answer.status_code, answer.get_json(), "Idempotent-Replayed" in answer.headers

    def run(self, *arguments: str) -> tuple[int, str]:
        done = self.app.test_cli_runner().invoke(args=arguments)
        return done.exit_code, done.output


@pytest.fixture(scope="module")
def source(new_server: Callable[..., PrivateMariaDB]) -> PrivateMariaDB:
    return new_server(log_bin="bin", binlog_format="ROW", server_id=1)


def backup_url(server: PrivateMariaDB) -> str:
    """Make a user for backups; their address."""
    name, password = f"backup{secrets.token_hex(4)}", f'q"\\#{secrets.token_hex(8)}'
    server.administer(
        f"CREATE USER {name}@127.0.0.1 IDENTIFIED BY '{password.replace(chr(92), chr(92) * 2)}'",
        *(grant.format(user=f"{name}@127.0.0.1") for grant in GRANTS),
    )
    quoted = password.replace('"', "%22").replace("\\", "%5C").replace("#", "%23")
    return f"mysql+pymysql://{name}:{quoted}@127.0.0.1:{server.port}/{DATABASE}?charset=utf8mb4"


def installation_on(server: PrivateMariaDB, new_app: Callable[..., Flask], *, secret: str) -> Installation:
    made = new_app(DATABASE_URL=server.url, BACKUP_DATABASE_URL=backup_url(server), JWT_SECRET=secret)
    return Installation(server, made)


@pytest.fixture
def secret() -> str:
    return secrets.token_hex(32)


@pytest.fixture
def here(
    source: PrivateMariaDB, app_on: Callable[[str], Flask], new_app: Callable[..., Flask], secret: str
) -> Installation:
    app_on(source.url)
    made = installation_on(source, new_app, secret=secret)
    set_price(made.app)
    return made


@pytest.fixture
def elsewhere(
    new_server: Callable[..., PrivateMariaDB], new_app: Callable[..., Flask], secret: str
) -> Iterator[Installation]:
    """An empty server, with our secret."""
    made = installation_on(new_server(), new_app, secret=secret)
    yield made
    made.server.close()


def copy_binlogs(server: PrivateMariaDB, folder: Path) -> list[Path]:
    """What an operator ships elsewhere all the time: the binary log's files, in order."""
    rows = server.administer("FLUSH BINARY LOGS", "SHOW BINARY LOGS")
    base = Path(server.administer("SELECT @@log_bin_basename AS it")[0]["it"])
    return [Path(shutil.copy(base.with_name(row["Log_name"]), folder)) for row in rows[:-1]]


def test_destroyed_and_restored_nothing_acknowledged_is_lost(
    here: Installation, elsewhere: Installation, tmp_path: Path
) -> None:
    person = new_user(here.app, inr=100_000)
    assert here.trade(person, "before")[0] == 201
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    status, said = here.run("backup", str(tmp_path), "--passphrase-file", str(passphrase))
    assert status == 0, said
    (made,) = tmp_path.glob("*.sql.gz.enc")
    assert (made.stat().st_mode & 0o777, list(tmp_path.glob("*.half"))) == (0o600, [])
    assert person.email.encode() not in made.read_bytes()

    after = [here.trade(person, f"after-{number}") for number in range(3)]
    assert [answer[0] for answer in after] == [201] * 3
    logs = copy_binlogs(here.server, tmp_path)
    logs = logs[[path.name for path in logs].index(str(manifest.read(made).binlog_file)) :]

    arguments = [argument for path in logs for argument in ("--binlog", str(path))]
    status, said = elsewhere.run("restore", str(made), *arguments, "--passphrase-file", str(passphrase))
    assert (status, said.splitlines()[-1]) == (0, "the books add up"), said
    set_price(elsewhere.app)
    status_code, answer, is_replay = elsewhere.trade(person, "after-2")
    assert (status_code, answer, is_replay) == (201, after[-1][1], True)
    assert elsewhere.trade(person, "new")[1]["seq"] == after[-1][1]["seq"] + 1
    with elsewhere.app.app_context():
        assert ledger.verify().is_right
        assert cache.get("anything") is None


def test_up_to_a_moment(here: Installation, elsewhere: Installation, tmp_path: Path) -> None:
    person = new_user(here.app, inr=100_000)
    with here.app.app_context():
        made, _ = backup.back_up(tmp_path)
    assert here.trade(person, "later")[0] == 201
    logs = copy_binlogs(here.server, tmp_path)
    logs = logs[[path.name for path in logs].index(str(manifest.read(made).binlog_file)) :]
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with elsewhere.app.app_context():
        backup.restore(made, binlogs=logs, until=long_ago)
        db.engine.dispose()
    set_price(elsewhere.app)
    assert elsewhere.trade(person, "later")[2] is False  # it never was


def test_what_is_damaged_or_not_ours_is_refused_before_anything_is_written(
    here: Installation, elsewhere: Installation, tmp_path: Path
) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("one\n")
    wrong.write_text("two\n")
    with here.app.app_context():
        made, _ = backup.back_up(tmp_path, passphrase=right)
        plain, _ = backup.back_up(tmp_path)
        with pytest.raises(BackupFailed, match=r"not empty: it has \d+ tables"):
            backup.restore(plain)
    with elsewhere.app.app_context():
        with pytest.raises(BackupFailed, match="encrypted"):
            backup.restore(made)
        with pytest.raises(BackupFailed, match="passphrase is another one"):
            backup.restore(made, passphrase=wrong)
        log = tmp_path / "bin.999999"
        log.write_bytes(b"")
        with pytest.raises(BackupFailed, match="begin with that file"):
            backup.restore(plain, binlogs=[log])
        beside = manifest.path_beside(made)
        beside.write_text(beside.read_text().replace(f'"database": "{DATABASE}"', '"database": "other"'))
        with pytest.raises(BackupFailed, match="changed the backup's manifest"):
            backup.restore(made, passphrase=right)
        plain.write_bytes(plain.read_bytes()[:-1])
        with pytest.raises(BackupFailed, match="damaged"):
            backup.restore(plain)
    assert elsewhere.server.administer(f"SHOW TABLES FROM {DATABASE}") == []


def test_a_backup_that_fails_leaves_nothing_and_no_password_is_an_argument(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = subprocess.Popen

    def spy(command: Any, **options: Any) -> Any:
        seen.extend(command)
        return real(["false"], **options)

    monkeypatch.setattr("bittrade.services.backup.programs.subprocess.Popen", spy)
    with here.app.app_context(), pytest.raises(BackupFailed, match="mariadb-dump ended with status 1"):
        backup.back_up(tmp_path)
    assert list(tmp_path.iterdir()) == []
    password = re.search(r":([^:@]+)@", here.app.config["BACKUP_DATABASE_URL"])
    assert password is not None
    assert "mariadb-dump" in seen
    assert not [word for word in seen if password[1] in word]


def test_the_cache_forgets_what_is_ours_and_nothing_else(app: Flask, redis_url: str) -> None:
    with app.app_context():
        cache.put("a", {"x": 1}, 60)
        client = cache.cache_redis()
        client.set("another", "1")
        assert cache.forget_everything() is True
        assert cache.get("a") is None
        assert client.get("another") == b"1"
        client.delete("another")
