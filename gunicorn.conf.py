from gevent import monkey
monkey.patch_all()  # before anything else is imported: what comes first keeps unpatched locks and sockets

# What the web server is told: `gunicorn -c gunicorn.conf.py wsgi:app`. Numbers, and a few hooks; nothing of ours is imported
# at the top, because it is read in gunicorn's master before any worker exists. This is the one place where gevent patches anything: the RQ
# worker, the scheduler, Alembic and the tests are plain blocking processes.

import os
import shutil
import signal
import sys
import tempfile
from logging import INFO

from dotenv import dotenv_values
from gunicorn.glogging import Logger
from pythonjsonlogger.json import JsonFormatter

# As config.py reads them: the environment, then .env; what is empty counts as not set. The two must agree.
env = {name: value for name, value in dotenv_values(".env").items() if value}
env |= {name: value for name, value in os.environ.items() if value}

# Loopback unless somebody decides otherwise: development shows nothing to the network by accident. Behind a proxy on the
# same machine loopback is right too; in a container set HOST=0.0.0.0.
host = env.get("HOST") or "127.0.0.1"
bind = f"{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{env.get('PORT') or '3001'}"

# `gunicorn -w` wins over this. With more than one, sockets are websocket only: see post_fork.
workers = int(env.get("WEB_CONCURRENCY") or "1")
# gunicorn's gevent worker with a parser in C (docs/adr/0020); "gevent" is its fallback. It stands beside this file.
worker_class = "llhttp_worker.LlhttpWorker"
pythonpath = os.path.dirname(os.path.abspath(__file__))

# Each open WebSocket holds one connection; when all are taken nobody is accepted, so leave room for plain HTTP.
worker_connections = int(env.get("SOCKETS_PER_PROCESS") or "2500") + 500

# Watches the worker's heartbeat, not a request: a worker whose hub is blocked this long is killed and replaced.
timeout = 30
# Time for open requests and sockets to end after SIGTERM; with what gunicorn adds, the process is gone within 15 s.
graceful_timeout = 13
# Also cuts clients that send their headers slowly. Behind a proxy that keeps connections, more than the proxy's own.
keepalive = 5
# Never recycle by count: the worker would stop accepting while its WebSockets linger.
max_requests = 0

# "auto" would take any C parser that happens to be installed, of whatever version.
http_parser = "python"
# It is on by default, in a place that all servers of one user share, and it can stop them.
control_socket_disable = True
# A preloaded application would run before the workers' own event loop exists.
preload_app = False
# Only a proxy on this machine may say who the client is.
forwarded_allow_ips = "127.0.0.1"

WORKER_BOOT_ERROR = 3  # gunicorn's: the master ends too, with this status

loglevel = (env.get("LOG_LEVEL") or "info").lower()


def import_config():
    """Import config.py for this once: every worker would inherit it, also after a reload that should bring a new one."""
    import config

    for name in ("config", "database_url", "redis_address"):
        sys.modules.pop(name, None)
    return config


class ModeFirst(Logger):
    """gunicorn's own log; its first line, whatever LOG_LEVEL is, names the mode."""

    def setup(self, cfg):
        super().setup(cfg)
        if env.get("LOG_FORMAT") == "json":
            names = {"levelname": "level", "name": "logger"}
            write = JsonFormatter("%(levelname)s %(name)s %(message)s", rename_fields=names, timestamp="time")
            for handler in (*self.error_log.handlers, *self.access_log.handlers):
                handler.setFormatter(write)
        self.error_log.handle(
            self.error_log.makeRecord(
                self.error_log.name, INFO, "", 0, "BitTrade starts, mode %s", (import_config().environment_name(),), None
            )
        )


logger_class = ModeFirst

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name, which workers read when they import it


def start_exporter(server):
    """Start the process that serves the workers' metrics (exporter.py), unless it runs or is not wanted."""
    folder = os.environ.get(METRICS_FOLDER)
    if folder is None or is_running(getattr(server, "exporter", None)):
        return
    program = [sys.executable, os.path.join(pythonpath, "exporter.py"), "--folder", folder, "--beside", str(os.getpid())]
    others = {name: value for name, value in os.environ.items() if name not in (METRICS_FOLDER, "NOTIFY_SOCKET")}
    # Not by way of subprocess, which would have gevent watch this process' children; and without the listening sockets.
    sockets = [(os.POSIX_SPAWN_CLOSE, listener.fileno()) for listener in server.LISTENERS]
    server.exporter = os.posix_spawn(sys.executable, program, others, file_actions=sockets)


def is_running(pid):
    try:
        return pid is not None and os.kill(pid, 0) is None
    except ProcessLookupError:
        return False


def on_starting(server):
    """Refuse in the master, before the port is bound: a worker that refuses would only be started again, for ever."""
    loaded = import_config().load(WEB_CONCURRENCY=server.num_workers)
    loaded.check_redis_servers()
    if loaded.is_sqlite and server.num_workers > 1:
        server.log.warning("SQLite has one writer: %s workers will wait for each other", server.num_workers)
    os.environ.pop(METRICS_FOLDER, None)  # another program's, or that of the master that started this one
    if int(env.get("METRICS_PORT") or "0"):
        os.environ[METRICS_FOLDER] = tempfile.mkdtemp(prefix="bittrade-metrics-")
        start_exporter(server)


def on_reload(server):
    """Let the exporter be of the new code too."""
    if is_running(getattr(server, "exporter", None)):
        os.kill(server.exporter, signal.SIGKILL)
        server.exporter = None
    start_exporter(server)


def pre_fork(server, worker):
    """See that the exporter is there with each new worker."""
    start_exporter(server)


def worker_exit(server, worker):
    """Write down what was counted in the last second."""
    writer = getattr(worker, "vitals", None)
    if writer is not None:
        writer.write()


def on_exit(server):
    """Leave nothing behind. The exporter notices that its master is gone."""
    if METRICS_FOLDER in os.environ:
        shutil.rmtree(os.environ[METRICS_FOLDER], ignore_errors=True)


def post_fork(server, worker):
    """Tell the application how many workers there are, before it is loaded: `-w` and SIGTTIN come after this file."""
    os.environ["WEB_CONCURRENCY"] = str(server.num_workers)


def nworkers_changed(server, new_value, old_value):
    """Replace the one worker that took polling when it gets company (SIGTTIN): polling is lost among several."""
    if old_value == 1 and new_value > 1:
        server.kill_workers(signal.SIGTERM)


def post_worker_init(worker):
    """The application is loaded: from now on the worker's end is also its sockets' end, with a close frame each."""
    from bittrade import logs, metrics, sockets, unit_of_work
    from bittrade.api import server, vitals

    if env.get("LOG_FORMAT") == "json":  # from here on with ids, and without secrets
        for handler in worker.log.error_log.handlers:
            handler.setFormatter(logs.formatter("json"))
    if "sqlalchemy" in getattr(worker.wsgi, "extensions", ()):  # these settings serve other applications too
        with worker.wsgi.app_context():
            fault = unit_of_work.check_schema()
        # Only at the first start: what a reload or a replaced worker finds ends no others, and its requests are refused.
        if fault and worker.age <= worker.cfg.workers:
            worker.log.error("BitTrade will not start: %s", fault)
            sys.exit(WORKER_BOOT_ERROR)
        server.guard(worker)
        if metrics.is_on:
            worker.vitals = vitals.start(worker.wsgi)
    sockets.dismiss_all_with(worker)
