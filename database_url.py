"""Reads a database's address as hosters and other programs write it, and refuses what can't work, with the mend.

`mysql://`, `mariadb://` and any driver's name are PyMySQL's; `ssl-mode` and its relatives become what PyMySQL and
SQLAlchemy know. What BitTrade decides itself (pools, time limits, time zone, character set) may stand there and counts for
nothing. An unknown parameter is refused: the driver would fail on it at every connection.
"""

import json
import ssl
from collections.abc import Callable

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVER = "mysql+pymysql"
_FAMILIES = ("mysql", "mariadb")
OURS = frozenset(
    (
        *("charset", "encoding", "characterencoding", "useunicode", "collation", "connectioncollation"),
        *("timezone", "servertimezone", "parsetime", "loc", "sqlmode", "autocommit"),
        *("connecttimeout", "readtimeout", "writetimeout", "sockettimeout", "timeout", "acquiretimeout"),
        *("reconnect", "autoreconnect", "pool", "poolsize", "pooltimeout", "maxpoolsize", "connectionlimit"),
        *("poolrecycle", "multistatements", "allowpublickeyretrieval", "statementcachesize", "pgbouncer"),
        *("compress", "usecompression", "localinfile", "supportbignumbers", "bignumberstrings", "schema"),
    )
)
_NAMES = {  # of files and sockets
    "sslca": "ssl_ca",
    "sslrootcert": "ssl_ca",
    "sslcapath": "ssl_capath",
    "sslcert": "ssl_cert",
    "sslkey": "ssl_key",
    "sslcipher": "ssl_cipher",
    "unixsocket": "unix_socket",
    "socket": "unix_socket",
}
_YES, _NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
NONE, WANTED, REQUIRED, CERTIFIED, IDENTIFIED = "none", "wanted", "required", "certified", "identified"
# From weakest to strongest: where two parameters differ the stronger counts.
_STRENGTH = (WANTED, NONE, REQUIRED, CERTIFIED, IDENTIFIED)
_MODES = {
    **dict.fromkeys(("disabled", "disable", "none"), NONE),
    **dict.fromkeys(("preferred", "prefer", "allow"), WANTED),
    **dict.fromkeys(("required", "require", "trust"), REQUIRED),
    **dict.fromkeys(("verifyca", "verify_ca", "verify-ca"), CERTIFIED),
    **dict.fromkeys(
        ("verifyidentity", "verify_identity", "verify-identity", "verify-full", "verify_full"), IDENTIFIED
    ),
}


def normalize(text: str, *, may_lack_name: bool = False) -> str:
    """Return the address that SQLAlchemy takes. Raises ValueError with what to write instead; never shows a password."""
    if text.lower().startswith("jdbc:"):
        raise ValueError("DATABASE_URL is JDBC's: write mysql://user:password@host:3306/bittrade")
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise ValueError(
            "DATABASE_URL can't be read. It is mysql://user:password@host:3306/bittrade; in a password write each of"
            " @ : / ? # % by its number, %40 for @"
        ) from None
    family = url.drivername.lower().partition("+")[0]
    if family == "sqlite":
        return text
    if family not in _FAMILIES:
        raise ValueError(
            f"DATABASE_URL is of {family}: BitTrade runs on MariaDB (mysql://user:password@host:3306/bittrade)"
        )
    if not url.database and not may_lack_name:
        raise ValueError("DATABASE_URL names no database: end it with the name, /bittrade")
    query = _query_of(url)
    if (DRIVER, query) == (url.drivername, dict(url.query)):
        return text
    return url.set(drivername=DRIVER, query=query).render_as_string(hide_password=False)


def _query_of(url: URL) -> dict[str, str]:
    """Return the parameters that SQLAlchemy and PyMySQL know, for those that are there."""
    kept: dict[str, str] = {}
    wishes = [WANTED]
    for name, values in url.normalized_query.items():
        plain, value = name.lower().replace("-", "").replace("_", ""), values[-1]
        if plain in _ENCRYPTION:
            wishes.append(_ENCRYPTION[plain](name, value))
        elif plain in _NAMES:
            kept[_NAMES[plain]] = value
        elif (name, value) == ("charset", "utf8mb4"):
            kept[name] = value
        elif plain not in OURS:
            raise ValueError(f"DATABASE_URL has a parameter that means nothing here: take {name} away")
    return kept | _encryption(max(wishes, key=_STRENGTH.index), kept)


def _encryption(wish: str, kept: dict[str, str]) -> dict[str, str]:
    has_authority = "ssl_ca" in kept or "ssl_capath" in kept
    if wish == NONE:
        return {"ssl_disabled": "true"}
    if wish == WANTED or (wish == REQUIRED and "ssl_cert" in kept and not has_authority):
        return {}
    if wish == REQUIRED and not has_authority:
        return {"ssl_verify_cert": "false"}  # encrypted or not at all, whoever the server is
    known = {} if has_authority else {"ssl_capath": _system_authorities()}
    return known | {"ssl_check_hostname": "true" if wish == IDENTIFIED else "false"}


def _system_authorities() -> str:
    if path := ssl.get_default_verify_paths().capath:
        return path
    raise ValueError(
        "DATABASE_URL wants the server's certificate checked: say by which authority, ssl_ca=/path/to/ca.pem"
    )


def _mode(name: str, value: str) -> str:
    if (wish := _MODES.get(value.lower())) is None:
        raise ValueError(
            f"DATABASE_URL has {name}={value}: write ssl-mode=REQUIRED, VERIFY_CA or VERIFY_IDENTITY"
        )
    return wish


def _flag(*, yes: str, no: str) -> Callable[[str, str], str]:
    """A parameter that is true or false, or says a mode."""

    def read(name: str, value: str) -> str:
        if value.lower() in (*_YES, *_NO):
            return yes if value.lower() in _YES else no
        return _mode(name, value)

    return read


def _any_ssl(name: str, value: str) -> str:
    """`ssl=true`, or what mysql2 takes: `ssl={"rejectUnauthorized":true}`."""
    if value.startswith("{"):
        try:
            asked = json.loads(value)
        except ValueError:
            raise ValueError(f"DATABASE_URL has {name}={value}: write ssl-mode=VERIFY_IDENTITY") from None
        return IDENTIFIED if asked.get("rejectUnauthorized", True) else REQUIRED
    return _flag(yes=REQUIRED, no=NONE)(name, value)


def _accept(_name: str, value: str) -> str:
    return REQUIRED if value.lower() == "accept_invalid_certs" else IDENTIFIED


def _tls(name: str, value: str) -> str:
    return REQUIRED if value.lower() == "skip-verify" else _flag(yes=IDENTIFIED, no=NONE)(name, value)


_ENCRYPTION: dict[str, Callable[[str, str], str]] = {
    "sslmode": _mode,
    "ssl": _any_ssl,
    "usessl": _flag(yes=REQUIRED, no=NONE),
    "requiressl": _flag(yes=REQUIRED, no=WANTED),
    "sslaccept": _accept,
    "tls": _tls,
    "ssldisabled": _flag(yes=NONE, no=WANTED),
    "sslverifycert": _flag(yes=CERTIFIED, no=REQUIRED),
    "verifyservercertificate": _flag(yes=IDENTIFIED, no=REQUIRED),
    "sslverifyidentity": _flag(yes=IDENTIFIED, no=WANTED),
    "sslcheckhostname": _flag(yes=IDENTIFIED, no=WANTED),
}
