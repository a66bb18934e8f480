"""Where the command line keeps its token: one file that nobody else can read."""

import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from bittrade_client.errors import BitTradeError


class NotKeptSafely(BitTradeError):
    """Others may read the file: nobody knows who has the token by now."""


@dataclass(frozen=True, slots=True)
class Login:
    url: str
    token: str
    email: str


def path() -> Path:
    """Return the file: BITTRADE_LOGIN, or bittrade/login.json in the folder for settings."""
    named = os.environ.get("BITTRADE_LOGIN")
    folder = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(named) if named else Path(folder) / "bittrade" / "login.json"


def save(login: Login) -> Path:
    """Keep a login in place of the one before, at once or not at all."""
    place = path()
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(login), file)
    beside.replace(place)
    return place


def load() -> Login | None:
    """Return the login that is kept, if there is one. Raises NotKeptSafely where others may read it."""
    place = path()
    try:
        mode = place.stat().st_mode
        said = json.loads(place.read_text())
        login = Login(said["url"], said["token"], said["email"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BitTradeError(f"{place} can't be read: log in again") from error
    if stat.S_IMODE(mode) & 0o077:
        raise NotKeptSafely(
            f"{place} may be read by others: end that session, chmod 600 the file and log in again"
        )
    return login


def forget() -> None:
    """Remove it."""
    path().unlink(missing_ok=True)
