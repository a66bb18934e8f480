"""The frameworks' objects, made once and bound to the app in `create_app`. Imports nothing of ours.

Redis has two roles with a URL each (the same by default): a cache that may vanish at any moment, and the queue with
the sockets' messages. Both clients are made on first use, never at import, and have explicit time limits: redis-py's
defaults wait up to a minute for a server that hangs.
"""

import json
import logging
import random
import sqlite3
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import redis
import socketio as python_socketio
from flask import Flask, current_app
from flask_cors import CORS
from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_socketio import SocketIO
from flask_sqlalchemy import SQLAlchemy
from gevent import monkey
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry
from sqlalchemy import MetaData, event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.orm import DeclarativeBase
from werkzeug.middleware.proxy_fix import ProxyFix

log = logging.getLogger(__name__)
EXPOSED_HEADERS = ["Idempotent-Replayed", "Retry-After", "X-Request-Id"]
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
socketio = SocketIO()


def init_app(app: Flask) -> None:
    """Bind everything to the app, in the order in which requests pass through."""
    if app.config["TRUSTED_PROXY_HOPS"]:
        hops = app.config["TRUSTED_PROXY_HOPS"]
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    cors.init_app(app, origins=app.config["CORS_ORIGINS"], expose_headers=EXPOSED_HEADERS, max_age=600)
    init_database(app)
    init_jwt(app)
    init_socketio(app)


WRITING = "bittrade_writing"  # execution option of a connection that is about to write


def init_database(app: Flask) -> None:
    """Bind the database with settings that fail early: a request never waits on it for more than some seconds."""
    url = make_url(app.config["DATABASE_URL"])
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": 0.2, "check_same_thread": False}
    else:
        options |= {
            "isolation_level": "READ COMMITTED",
            "pool_size": app.config["DB_POOL_SIZE"],
            "max_overflow": 0,
            "pool_timeout": 3,
            "pool_recycle": 1800,
            "connect_args": {
                "charset": "utf8mb4",
                "connect_timeout": 3,
                "read_timeout": 10,
                "write_timeout": 10,
                "init_command": "SET SESSION innodb_lock_wait_timeout=3, time_zone='+00:00', sql_mode='TRADITIONAL'",
            },
        }
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    db.init_app(app)
    migrate.init_app(app, db, render_as_batch=False)
    if url.get_backend_name() == "sqlite":
        with app.app_context():
            _tune_sqlite(db.engine)


def _tune_sqlite(engine: Engine) -> None:
    """SQLite as a small MariaDB: durable, foreign keys on, and a writer takes its lock at BEGIN, not half way."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver would open transactions only at the first write
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=200"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get(WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


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


def init_socketio(app: Flask) -> None:
    """Bind the sockets. A client's CONNECT is answered before it gets any event, as Node's server does."""
    socketio.init_app(
        app,
        async_mode="gevent" if is_gevent() else "threading",
        transports=app.config["SOCKET_TRANSPORTS"],
        client_manager=PatientRedisManager(app.config["QUEUE_REDIS_URL"]),
        always_connect=True,
        cors_allowed_origins="*" if app.config["CORS_ORIGINS"] == ["*"] else app.config["CORS_ORIGINS"],
        cors_credentials=False,
        ping_interval=10,
        ping_timeout=10,
        max_http_buffer_size=16_384,
        manage_session=False,
        async_handlers=False,  # one client's events in the order in which it sent them
    )
    _refuse_in_json(socketio.server, app.config["CORS_ORIGINS"])


def _refuse_in_json(server: Any, origins: list[str]) -> None:
    """Give Engine.IO's refusals the shape of all our errors, and words that say what to do."""
    handle_request = server.handle_request

    def handle(environ: dict[str, Any], start_response: Any) -> Any:
        refusal: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if status.startswith("4"):
                refusal.append((status, headers))
                return None
            return start_response(status, headers, *rest)

        body = handle_request(environ, start)
        if not refusal:
            return body
        status, headers = refusal[0]
        kept = [(name, value) for name, value in headers if name.startswith("Access-Control-")]
        origin = environ.get("HTTP_ORIGIN")
        if origin and not kept and (origins == ["*"] or origin in origins):
            kept.append(("Access-Control-Allow-Origin", origin))
        start_response(status, [("Content-Type", "application/json"), *kept])
        return [json.dumps(_refusal(b"".join(body), server.eio.transports)).encode()]

    server.handle_request = handle


def _refusal(reason: bytes, transports: list[str]) -> dict[str, str]:
    words = reason.decode(errors="replace").strip('"')
    if words == "Invalid transport" and transports == ["websocket"]:
        advice = "This server takes WebSocket connections only: connect with {transports: ['websocket']}"
        return {"error": advice, "code": "websocket_only"}
    return {"error": words, "code": "bad_request"}


# What Flask-SocketIO listens on; python-socketio's own default differs, and a writer that used it would be unheard.
SOCKET_CHANNEL = "flask-socketio"
FAST_LIMITS: dict[str, Any] = {
    "socket_timeout": 0.5,
    "socket_connect_timeout": 0.25,
    "health_check_interval": 0,
}


class LocalDelivery(python_socketio.Manager):
    """Delivers to this process' own sockets; a room never gets an event that is older than what it already got.

    Two processes may publish one user's trades in the other order than they committed them. Such events carry the
    user's `seq`: what came later says more than what it overtook.
    """

    has_missed = False  # events of other processes may have been lost; who repairs it sets it back

    def __init__(self) -> None:
        super().__init__()
        self._newest: dict[str, dict[str, int]] = {}  # room → event → seq
        self._deliveries = [0] * 1024  # by the room's hash: as good as one a room, and never more

    def deliveries(self, room: str | None) -> int:
        """A number that changes whenever something was sent to this room (None: to everyone)."""
        return self._deliveries[hash(room) % len(self._deliveries)]

    def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: str | None = None,
        skip_sid: Any = None,
        callback: Any = None,
        to: str | None = None,
        **kwargs: Any,
    ) -> None:
        room = to or room
        if self._is_overtaken(event, data, namespace, room):
            return
        self._deliveries[hash(room) % len(self._deliveries)] += 1
        super().emit(event, data, namespace, room=room, skip_sid=skip_sid, callback=callback, **kwargs)

    def _is_overtaken(self, event: str, data: Any, namespace: str, room: str | None) -> bool:
        seq = data.get("seq") if isinstance(data, dict) else None
        if seq is None or room not in self.rooms.get(namespace, {}) or self.is_sid_room(namespace, room):
            return False
        return not self.note_sent(str(room), event, seq)

    def note_sent(self, room: str, event: str, seq: int) -> bool:
        """Remember that the room has got this; False when it already got something newer."""
        newest = self._newest.setdefault(room, {})
        if seq < newest.get(event, 0):
            return False
        newest[event] = seq
        return True

    def basic_leave_room(self, sid: str, namespace: str, room: str | None) -> None:
        super().basic_leave_room(sid, namespace, room)
        if room in self._newest and room not in self.rooms.get(namespace, {}):
            del self._newest[room]


class PatientRedisManager(python_socketio.RedisManager, LocalDelivery):
    """Carries events between processes, and takes Redis as it comes.

    It listens again within a second of Redis' return (the library's own back-off grows to a minute), notices a
    connection that has died without a word, and waits for a Redis that hangs once, not once an event.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, channel=SOCKET_CHANNEL, redis_options=FAST_LIMITS)  # type: ignore[call-arg]
        self._writer: redis.Redis | None = None
        self._silent_until = 0.0
        self._unsent = 0

    def _publish(self, data: Any) -> None:
        """Tell the other processes; our own sockets have been told already."""
        if time.monotonic() < self._silent_until:
            self._unsent += 1
            return
        try:
            if self._writer is None:
                # Once more where a pooled connection has died, but not where Redis hangs.
                retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
                self._writer = redis.Redis.from_url(self.redis_url, retry=retry, **FAST_LIMITS)
            self._writer.publish(self.channel, self.json.dumps(data))
        except redis.RedisError as error:
            self._silent_until = time.monotonic() + WRITER_PAUSE_S
            self._unsent += 1
            log.warning("could not publish a socket event: %s", error)
            return
        if self._unsent:
            log.warning("Redis is back; %d socket events were not published", self._unsent)
            self._unsent = 0

    def _listener(self) -> redis.Redis:
        # It must not reconnect by itself: nobody would know that something may have been missed.
        return redis.Redis.from_url(self.redis_url, retry=Retry(NoBackoff(), 0), **FAST_LIMITS)

    def _redis_listen_with_retries(self) -> Iterator[dict[str, Any]]:
        was_lost = False
        while True:
            try:
                with redis.Redis.from_url(
                    self.redis_url, retry=Retry(NoBackoff(), 0), **FAST_LIMITS
                ) as client:
                    pubsub = client.pubsub(ignore_subscribe_messages=True)
                    pubsub.subscribe(self.channel)
                    if was_lost:
                        log.warning("listening to socket events again")
                        was_lost, self.has_missed = False, True
                    yield from _messages(pubsub)
            except (redis.RedisError, OSError) as error:
                if not was_lost:
                    log.warning("cannot listen to socket events: %s; trying again each second", error)
                was_lost = True
                time.sleep(0.5 + random.random() / 2)  # noqa: S311 - spreads reconnects, no secret


# How long nothing is published after a failure, and how long a silent connection is believed to be alive.
WRITER_PAUSE_S = 0.5
SILENCE_S = 5.0


def _messages(pubsub: Any) -> Iterator[dict[str, Any]]:
    """What arrives on a subscription. Raises redis.ConnectionError when it answers no more."""
    is_asked = False
    while True:
        message = pubsub.get_message(timeout=SILENCE_S)
        if message is not None:
            is_asked = False
            if message["type"] == "message":
                yield message
        elif is_asked:
            raise redis.ConnectionError("no answer to a ping")
        else:
            pubsub.ping()
            is_asked = True


def cache_redis() -> redis.Redis:
    """The client for the cache: every command ends within a second, whatever Redis does."""
    return _client("cache", current_app.config["REDIS_URL"], **FAST_LIMITS)


def queue_redis() -> redis.Redis:
    """The client for RQ and its scheduler: they block on purpose, so it waits longer."""
    return _client(
        "queue", current_app.config["QUEUE_REDIS_URL"], socket_timeout=None, socket_connect_timeout=2
    )


def _client(role: str, url: str, **limits: Any) -> redis.Redis:
    clients: dict[str, redis.Redis] = current_app.extensions.setdefault("bittrade_redis", {})
    if role not in clients:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=50,
            timeout=0.5,
            retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), 1),
            **limits,
        )
        clients[role] = redis.Redis(connection_pool=pool)
    return clients[role]


def safe_url(url: str | URL) -> str:
    """A URL fit for a log: without its password."""
    return make_url(url).render_as_string(hide_password=True)
