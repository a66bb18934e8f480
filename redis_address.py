"""Which addresses of Redis can work, and whether what answers there is a Redis that can. It knows nothing else of ours.

BitTrade speaks to one server that takes every key (docs/adr/0010): not to Sentinel, and not to a cluster, where queues,
locks and messages would have to know which node holds what.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis

SCHEMES = ("redis", "rediss", "unix")
# Time limits and the form of answers are ours; a client whose address changes them would not be the one that was tested.
OPTIONS = re.compile(r"db|username|password|client_name|socket_keepalive|protocol|ssl_\w+")
ASK_S = 0.5
ONE_SERVER = "BitTrade needs one Redis server that takes all keys"
MASTER = "Write the address of the master, or of a proxy that always leads to it (HAProxy, or the hoster's name for it)"


def fault_of(url: str) -> str | None:
    """Return why nothing could ever be done at this address; None where something can."""
    scheme, divider, _ = url.partition("://")
    if "sentinel" in scheme.lower():
        return f"is one of Sentinel. {ONE_SERVER}. {MASTER}"
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
        with redis.Redis.from_url(url, **limits) as client:
            return kind_fault_of(client.info())
    except (redis.RedisError, OSError):
        return None
