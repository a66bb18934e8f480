"""What kind of Redis answers, whether it takes what we write, and who else uses it."""

import logging
from collections.abc import Iterator

import redis
from flask import current_app
from redis.exceptions import ResponseError

import redis_address
from bittrade.extensions import OURS, cache_redis, limits_storage, own
from bittrade.logs import warn_seldom

log = logging.getLogger(__name__)
OLDEST = (6, 2)  # SET with GET, LMOVE
MARK_TTL_S = 60
WRITABLE, REFUSING, AWAY = "connected", "refuses_writes", "disconnected"
Fault = tuple[str, str]


def clients() -> Iterator[tuple[str, redis.Redis]]:
    """Yield each role's setting and client; one that stands for both roles once. None of them waits for long."""
    yield "REDIS_URL", cache_redis()
    if current_app.config["QUEUE_REDIS_URL"] != current_app.config["REDIS_URL"]:
        yield "QUEUE_REDIS_URL", limits_storage().storage


def find_refusal(client: redis.Redis) -> str | None:
    """Return why Redis refuses to write (a replica, out of memory, a full disk); None where it writes.

    Raises RedisError where it does not answer.
    """
    try:
        client.set(own("health"), "1", ex=MARK_TTL_S)
    except ResponseError as error:
        return str(error)
    return None


def find_state() -> str:
    """Return what health says of Redis: the worst of its roles. It writes, because a server that answers may refuse to."""
    state = WRITABLE
    for name, client in clients():
        try:
            refusal = find_refusal(client)
        except redis.RedisError as error:
            warn_seldom(log, "Redis at %s is away: %s", name, error)
            return AWAY
        if refusal is not None:
            warn_seldom(log, "Redis at %s refuses to write: %s", name, refusal)
            state = REFUSING
    return state


def list_faults(client: redis.Redis) -> Iterator[Fault]:
    """Yield what is wrong with a server and how to mend it. Raises RedisError where it does not answer."""
    client.ping()
    if reason := find_refusal(client):
        yield f"Redis refuses to write: {reason}", "Lead the URL to the master; give it memory or disk"
    try:
        info = client.info()
    except ResponseError as error:
        yield f"Redis does not say what it is: {error}", "Allow INFO to our user, or look yourself"
        return
    if kind := redis_address.kind_fault_of(info):
        yield f"What answers {kind}", "Without that nothing is fetched"
        return
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
        yield f"Redis {version} is too old", "Use 6.2 or newer"
    if info.get("role") == "slave":
        yield "Redis is a replica", "Lead the URL to the master"
    yield from _others(client)


def _others(client: redis.Redis) -> Iterator[Fault]:
    try:
        names = list_installations(client) - {current_app.config["INSTALLATION_ID"]}
    except ResponseError as error:
        yield f"Redis does not say who else uses it: {error}", "Allow SCAN and PUBSUB to our user"
        return
    if names:
        yield (
            f"Other installations use this Redis server too, or did within a day: {', '.join(sorted(names))}. "
            f"This one is {current_app.config['INSTALLATION_ID']}",
            "They share its memory and its outages, not what they say and keep. Give each a server of its own. "
            "Are they meant to be one? Then give all processes the same addresses and secret, or one INSTALLATION",
        )


def list_installations(client: redis.Redis) -> set[str]:
    """Return the installations that listen on this server, or keep something in any of its databases.

    Looks at every key there is: for operators, not for requests.
    """
    names = {_name_of(channel) for channel in client.pubsub_channels(f"{OURS}*")}
    for database in client.info("keyspace"):
        with _on_database(client, int(database.removeprefix("db"))) as neighbour:
            names |= {_name_of(key) for key in neighbour.scan_iter(f"{OURS}*", count=1000)}
    return names


def _on_database(client: redis.Redis, number: int) -> redis.Redis:
    """Return a client like this one for another database of its server."""
    pool = client.connection_pool
    options = {**pool.connection_kwargs, "db": number}
    return redis.Redis.from_pool(redis.ConnectionPool(pool.connection_class, **options))


def _name_of(key: bytes | str) -> str:
    return str(key, errors="replace").split(":")[1] if isinstance(key, bytes) else key.split(":")[1]
