"""What stands beside a backup: what it is, where the binary log goes on, and what shows that it is whole.

An encrypted backup's manifest is sealed with the passphrase, over the file's digest and everything else in it: nobody
without the passphrase can exchange either.
"""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bittrade.services.backup.programs import BackupFailed

_SALT = b"bittrade backup seal"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup. `binlog_file` is None where the server keeps no binary log."""

    file: str
    made_at: str
    release: str
    revision: str
    database: str
    bytes: int
    sha256: str
    binlog_file: str | None
    binlog_position: int | None
    seal: str | None = None

    def sealed(self, passphrase: Path) -> "Manifest":
        """Return it with a seal."""
        return replace(self, seal=self._seal(passphrase))

    def _seal(self, passphrase: Path) -> str:
        # OpenSSL's `-pass file:` takes the first line.
        secret = passphrase.read_bytes().split(b"\n")[0]
        key = hashlib.scrypt(secret, salt=_SALT, n=2**15, r=8, p=1, maxmem=2**26)
        body = json.dumps(asdict(replace(self, seal=None)), sort_keys=True)
        return hmac.new(key, body.encode(), "sha256").hexdigest()

    def check(self, backup: Path, passphrase: Path | None) -> None:
        """Raise BackupFailed unless the backup is the one that was made, and the passphrase the one that it was made with."""
        if self.seal is not None and passphrase is None:
            raise BackupFailed("The backup is encrypted: give the passphrase's file")
        if passphrase is not None and not hmac.compare_digest(self.seal or "", self._seal(passphrase)):
            raise BackupFailed("The passphrase is another one, or somebody has changed the backup's manifest")
        if digest_of(backup) != self.sha256:
            raise BackupFailed(f"{backup} is not what was written: it is damaged, or another file")


def digest_of(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_beside(backup: Path) -> Path:
    """Return where a backup's manifest is."""
    return backup.with_name(f"{backup.name}.json")


def read(backup: Path) -> Manifest:
    """Return the manifest of a backup. Raises BackupFailed where there is none."""
    try:
        return Manifest(**json.loads(path_beside(backup).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BackupFailed(f"{path_beside(backup)} can't be read: {error}") from error


def write(backup: Path, manifest: Manifest) -> None:
    """Put a manifest beside its backup."""
    path_beside(backup).write_text(json.dumps(asdict(manifest), indent=1) + "\n")
