"""Which addresses of Redis can work, how to reach it, and whether what answers there can. It knows nothing else of ours.

BitTrade speaks to one server that takes every key (docs/adr/0010): its address, or what Sentinel calls the master just now;
not to a cluster, where queues, locks and messages would have to know which node holds what.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.connection import BlockingConnectionPool, ConnectionPool
from redis.sentinel import Sentinel, SentinelConnectionPool

SENTINEL = "redis+sentinel"
SENTINEL_FORM = f"Write {SENTINEL}://:password@host:26379,host:26379,host:26379/0/name-of-the-master"
SENTINEL_PORT = 26379
SCHEMES = ("redis", "rediss", "unix")
# Time limits and the form of answers are ours; a client whose address changes them would not be the one that was tested.
OPTIONS = re.compile(r"db|username|password|client_name|socket_keepalive|protocol|ssl_\w+")
ASK_S = 0.5
ONE_SERVER = "BitTrade needs one Redis server that takes all keys"
MASTER = "Write the address of the master, or of a proxy that always leads to it (HAProxy, or the hoster's name for it)"


def fault_of(url: str) -> str | None:
    """Return why nothing could ever be done at this address; None where something can."""
    scheme, divider, _ = url.partition("://")
    if scheme == SENTINEL:
        return _sentinel_fault_of(url)
    if "sentinel" in scheme.lower():
        return f"is one of Sentinel that we do not know. {SENTINEL_FORM}; TLS to its servers needs a proxy"
    if "cluster" in scheme.lower():
        return f"is one of a cluster. {ONE_SERVER}; a server with cluster-enabled no"
    if not divider or scheme not in SCHEMES:
        begins = f"begins with {scheme}://" if divider else "has no scheme"
        return f"{begins}. Write redis://host:6379/0, rediss:// where Redis speaks TLS, or unix:///path for a socket"
    return _part_fault_of(url) or _option_fault_of(url)


def _part_fault_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "has no readable port. In a password write / as %2F, # as %23, ? as %3F, @ as %40"
    if parts.fragment:
        return "has a # in it. In a password write it as %23"
    if parts.scheme == "unix":
        return None if parts.path.strip("/") else "names no socket. Write unix:///path/to/redis.sock"
    if "," in (host or "") or port == 0:
        return f"names no single server. {ONE_SERVER}"
    number = unquote(parts.path).strip("/")
    if number and not (number.isascii() and number.isdecimal()):
        return f"has {number!r} for the number of the database. Write /0, or another number"
    return None


def _option_fault_of(url: str) -> str | None:
    given = parse_qs(urlsplit(url).query, keep_blank_values=True)
    unknown = sorted(name for name in given if not OPTIONS.fullmatch(name))
    if unknown:
        return f"has options that it cannot have: {', '.join(unknown)}. Leave them out"
    if not all(value.isascii() and value.isdecimal() for value in given.get("db", [])):
        return "has no number after db="
    try:
        pool = redis.ConnectionPool.from_url(url)
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, redis.RedisError) as error:
        return f"has options that Redis' client refuses: {error}"
    return None


def _sentinel_fault_of(url: str) -> str | None:
    try:
        watched = _read_sentinel(url)
    except ValueError as error:
        return f"does not say which master Sentinel watches ({error}). {SENTINEL_FORM}"
    options = parse_qs(urlsplit(url).query, keep_blank_values=True)
    if unknown := sorted(set(options) - {"sentinel_password"}):
        return f"has options that it cannot have: {', '.join(unknown)}. Leave them out"
    return None if all(host for host, _ in watched.sentinels) else f"names no Sentinel. {SENTINEL_FORM}"


@dataclass(frozen=True, slots=True)
class _Watched:
    """A master by the name that Sentinel has for it."""

    sentinels: list[tuple[str, int]]
    name: str
    login: dict[str, Any]
    sentinel_login: dict[str, Any]


def _read_sentinel(url: str) -> _Watched:
    """Read python-socketio's form: redis+sentinel://user:password@host:port,host:port/number/name. Raises ValueError."""
    parts = urlsplit(url)
    number, _, name = unquote(parts.path).strip("/").partition("/")
    if not name or "/" in name or not (number.isascii() and number.isdecimal()):
        raise ValueError("no /number/name at its end")
    login: dict[str, Any] = {"db": int(number)}
    if parts.username:
        login["username"] = unquote(parts.username)
    if parts.password:
        login["password"] = unquote(parts.password)
    password = parse_qs(parts.query).get("sentinel_password", [""])[0]
    places = [urlsplit(f"//{place}") for place in parts.netloc.rpartition("@")[2].split(",")]
    return _Watched(
        sentinels=[(place.hostname or "", place.port or SENTINEL_PORT) for place in places],
        name=name,
        login=login,
        sentinel_login={"password": password} if password else {},
    )


class _MasterPool(SentinelConnectionPool, BlockingConnectionPool):
    """Blocks where all connections are taken, as a pool of ours does; each new connection asks Sentinel for the master."""


def make_pool(url: str, *, max_connections: int, wait_s: float, **options: Any) -> ConnectionPool:
    """Return a pool of connections to the server at an address; who finds none free waits `wait_s` seconds."""
    blocking = {"max_connections": max_connections, "timeout": wait_s}
    if not url.startswith(f"{SENTINEL}://"):
        return BlockingConnectionPool.from_url(url, **blocking, **options)
    watched = _read_sentinel(url)
    # A Sentinel that hangs must not cost what a Redis may take that blocks on purpose.
    brief = {"socket_timeout": ASK_S, "socket_connect_timeout": ASK_S, **watched.sentinel_login}
    sentinel = Sentinel(watched.sentinels, sentinel_kwargs=brief)
    return _MasterPool(watched.name, sentinel, **blocking, **watched.login, **options)


def connect(url: str, **options: Any) -> redis.Redis:
    """Return a client with a pool of its own, which `close` ends."""
    return redis.Redis.from_pool(make_pool(url, max_connections=50, wait_s=ASK_S, **options))


def kind_fault_of(info: Mapping[str, Any]) -> str | None:
    """Return why a server that says this of itself (INFO) cannot be ours; None where it can."""
    mode = info.get("redis_mode")
    if mode == "sentinel":
        return f"is a Sentinel, not a Redis that it watches. {MASTER}"
    if mode == "cluster" or info.get("cluster_enabled") == 1:
        return f"is a node of a cluster. {ONE_SERVER}; a server with cluster-enabled no"
    return None


def find_kind_fault(url: str) -> str | None:
    """Ask the server at this address what it is. One that does not answer, or does not say, may yet be right."""
    limits = {"socket_timeout": ASK_S, "socket_connect_timeout": ASK_S}
    try:
        with connect(url, **limits) as client:
            return kind_fault_of(client.info())
    except (redis.RedisError, OSError):
        return None
