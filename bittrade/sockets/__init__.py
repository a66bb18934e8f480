"""Socket.IO. What clients send: `clients`; whose a socket is: `members`; what is put right each second: `upkeep`; what admins are
told: `staff`.

Under them: `gate` (who may open a socket), `inbound` (what is taken of it), `delivery` (from an event to its sockets), `transport` (from there into the
connection). Here they are bound to the application.
"""

from typing import Any

from flask import Flask

from bittrade.extensions import is_gevent, own_name, socketio
from bittrade.services import audit
from bittrade.sockets import clients, transport
from bittrade.sockets.delivery import PatientRedisManager, Seal
from bittrade.sockets.gate import Gate, Limits
from bittrade.sockets.inbound import Inbound
from bittrade.sockets.upkeep import Upkeep
from bittrade.wire import HSTS, SAFE_HEADERS


def init_sockets(app: Flask) -> None:
    """Bind the sockets, their limits, and the events of the one namespace."""
    origins = app.config["CORS_ORIGINS"]
    socketio.init_app(
        app,
        async_mode="gevent" if is_gevent() else "threading",
        transports=app.config["SOCKET_TRANSPORTS"],
        client_manager=PatientRedisManager(
            app.config["QUEUE_REDIS_URL"],
            channel=own_name(app.config["INSTALLATION_ID"], "socket-events"),
            seal=Seal(app.config["JWT_SECRET"]),
        ),
        always_connect=True,  # a client's CONNECT is answered before it gets any event, as Node's server does
        cors_allowed_origins="*" if origins == ["*"] else origins or None,  # an empty list would be everybody
        cors_credentials=False,
        ping_interval=10,
        ping_timeout=10,
        max_http_buffer_size=16_384,
        manage_session=False,
        async_handlers=False,  # one client's events in the order in which it sent them
    )
    clients.listen(socketio)
    is_allowed = clients.counter(app) if app.config["RATELIMIT_ENABLED"] else None
    Inbound(socketio.server, clients.EVENTS, is_allowed=is_allowed, refuse=clients.refuse_as_too_many)
    limits = Limits(
        per_process=app.config["SOCKETS_PER_PROCESS"], per_address=app.config["SOCKETS_PER_ADDRESS"]
    )
    app.extensions["bittrade_gate"] = Gate(
        socketio.server,
        limits,
        origins=origins,
        neighbourhood=audit.neighbourhood,
        is_allowed=is_allowed,
        headers=SAFE_HEADERS | (HSTS if app.config["IS_PRODUCTION"] else {}),
    )
    app.extensions["bittrade_upkeep"] = Upkeep(app)
    if node := app.config["SOCKET_NODE"]:
        name_sessions(socketio.server.eio, node)
    if is_gevent():
        transport.harden(socketio.server)


def name_sessions(engineio_server: Any, node: str) -> None:
    """Begin every session's id with this process' name: a proxy then knows whose it is (deploy/nginx.conf)."""
    generate_id = engineio_server.generate_id
    engineio_server.generate_id = lambda: f"{node}.{generate_id()}"


def dismiss_all_with(worker: Any) -> None:
    """Watch a gunicorn worker's end: each of its sockets then gets a close frame (gunicorn.conf.py)."""
    gate = getattr(worker.wsgi, "extensions", {}).get("bittrade_gate")
    if gate is not None:  # gunicorn serves other applications with these settings too
        gate.dismiss_all_when(lambda: not worker.alive)
