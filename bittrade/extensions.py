"""The frameworks' objects, made once and bound to the app in `create_app`. Imports nothing of ours but `database`.

Redis has two roles with a URL each (the same by default): a cache that may vanish at any moment, and the queue with
the sockets' messages. Both clients are made on first use, never at import, and have explicit time limits: redis-py's
defaults wait up to a minute for a server that hangs.
"""

import hashlib
import logging
import re
import sqlite3
from datetime import timedelta
from typing import Any

import redis
from flask import Flask, current_app
from flask_cors import CORS
from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_socketio import SocketIO
from flask_sqlalchemy import SQLAlchemy
from gevent import monkey
from limits.storage import RedisStorage
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry
from sqlalchemy import MetaData, event
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.orm import DeclarativeBase

import redis_address
from bittrade import database

log = logging.getLogger(__name__)
EXPOSED_HEADERS = [
    "ETag",
    "Idempotent-Replayed",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
]
# Constraints need names, or a migration cannot drop them.
NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(naming_convention=NAMING)


db = SQLAlchemy(model_class=Base, disable_autonaming=True)
migrate = Migrate(compare_type=True)
jwt = JWTManager()
cors = CORS()
socketio = SocketIO()  # bound by sockets.init_sockets


def init_app(app: Flask) -> None:
    """Bind everything to the app, in the order in which requests pass through."""
    cors.init_app(
        app, origins=_exactly(app.config["CORS_ORIGINS"]), expose_headers=EXPOSED_HEADERS, max_age=600
    )
    init_database(app)
    init_jwt(app)


def _exactly(origins: list[str]) -> list[Any]:
    """Return the origins in a form that Flask-CORS compares: it takes text with brackets, as IPv6 has, for a pattern."""
    return [
        origin if origin == "*" else re.compile(rf"{re.escape(origin)}\Z", re.IGNORECASE)
        for origin in origins
    ]


WRITING = "bittrade_writing"  # execution option of a connection that is about to write


def init_database(app: Flask) -> None:
    """Bind the database; what can't serve is thrown away (`bittrade.database`)."""
    url = make_url(app.config["DATABASE_URL"])
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = database.engine_options(
        url, pool_size=app.config["DB_POOL_SIZE"]
    )
    db.init_app(app)
    migrate.init_app(app, db, render_as_batch=False)
    with app.app_context():
        database.guard(db.engine)
        if url.get_backend_name() == "sqlite":
            _tune_sqlite(db.engine)


def _tune_sqlite(engine: Engine) -> None:
    """SQLite as a small MariaDB: durable, foreign keys on, and a writer takes its lock at BEGIN, not half way."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver would open transactions only at the first write
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=200"):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("sha2", 2, _sha2, deterministic=True)

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get(WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _sha2(text: str, bits: int) -> str:
    """MariaDB's SHA2(), which SQLite has not."""
    return hashlib.new(f"sha{bits}", text.encode()).hexdigest()


def init_jwt(app: Flask) -> None:
    app.config.update(
        JWT_SECRET_KEY=app.config["JWT_SECRET"],
        JWT_ALGORITHM="HS256",
        JWT_DECODE_ALGORITHMS=["HS256"],
        JWT_IDENTITY_CLAIM="id",
        JWT_ENCODE_NBF=False,
        JWT_COOKIE_CSRF_PROTECT=False,  # or every token carries a claim that only cookies need
        JWT_DECODE_LEEWAY=5,
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(seconds=app.config["JWT_LIFETIME_S"]),
    )
    jwt.init_app(app)


def is_gevent() -> bool:
    """Whether this process serves with gevent (`gunicorn.conf.py` patched it) rather than threads."""
    return monkey.is_module_patched("socket")


OURS = "bittrade:"  # how all names of all installations begin, but those that RQ makes
FAST_LIMITS: dict[str, Any] = {
    "socket_timeout": 0.5,
    "socket_connect_timeout": 0.25,
    "health_check_interval": 0,
}


def own_name(installation: str, name: str) -> str:
    """Return `name` as this installation writes it in Redis, where others may use the same server (docs/adr/0010)."""
    return f"{OURS}{installation}:{name}"


def own(name: str) -> str:
    """Return `name` as the current app's installation writes it in Redis."""
    return own_name(current_app.config["INSTALLATION_ID"], name)


def cache_redis() -> redis.Redis:
    """The client for the cache: every command ends within a second, whatever Redis does."""
    # Once more where a pooled connection has died, but not where Redis hangs: its caller is a request.
    return _client("cache", current_app.config["REDIS_URL"], retry_on=(redis.ConnectionError,), **FAST_LIMITS)


def queue_redis() -> redis.Redis:
    """The client for RQ and its scheduler: they block on purpose, so it waits longer."""
    limits = {"socket_timeout": None, "socket_connect_timeout": 2}
    retry_on = (redis.ConnectionError, redis.TimeoutError)
    return _client("queue", current_app.config["QUEUE_REDIS_URL"], retry_on=retry_on, **limits)


def limits_storage() -> RedisStorage:
    """Where limits are counted: a request waits for it a fifth of a second at most, then counts for itself."""
    storages: dict[str, RedisStorage] = current_app.extensions.setdefault("bittrade_limits_storage", {})
    if "one" not in storages:
        url = current_app.config["QUEUE_REDIS_URL"]
        brief = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2}
        client = _client("limits", url, retry_on=(redis.ConnectionError,), **brief)
        # The pool knows where its server is; the address only names the kind of client.
        storages["one"] = RedisStorage(
            "redis://", connection_pool=client.connection_pool, key_prefix=own("limits")
        )
    return storages["one"]


def _client(role: str, url: str, *, retry_on: tuple[type[Exception], ...], **limits: Any) -> redis.Redis:
    clients: dict[str, redis.Redis] = current_app.extensions.setdefault("bittrade_redis", {})
    if role not in clients:
        pool = redis_address.make_pool(
            url,
            max_connections=50,
            wait_s=0.5,
            retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), 1, supported_errors=retry_on),
            **limits,
        )
        clients[role] = redis.Redis(connection_pool=pool)
    return clients[role]
