"""The metrics' door: serves to Prometheus what gunicorn's workers counted, and how the installation stands.

gunicorn.conf.py starts one beside each master, where METRICS_PORT is set, and it ends with that. It is a process of its
own so that a scrape holds up no request, and says something of workers that hang. Never on the public port.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

import config
from bittrade import create_app
from bittrade.jobs import gauges as job_gauges
from bittrade.metric_files import Reader
from bittrade.services.gauges import Standing

log = logging.getLogger("bittrade.exporter")
LOOK_EACH_S = 0.5


def make_registry(loaded: config.Config, folder: Path) -> CollectorRegistry:
    """Return what is served: the workers' files in a folder, health, sources and queues."""
    registry = CollectorRegistry()
    registry.register(Reader(folder))
    registry.register(Standing(create_app(loaded), [job_gauges.collect]))
    return registry


def serve(
    registry: CollectorRegistry, host: str, port: int, parent: int
) -> tuple[WSGIServer, threading.Thread] | None:
    """Serve in a thread. The port may still be another's, such as that of the exporter before this one: wait for it."""
    is_told = False
    while os.getppid() == parent:
        try:
            return start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            if not is_told:
                log.error("metrics can't be served at %s port %s: %s; trying again", host, port, error)
            is_told = True
        time.sleep(LOOK_EACH_S)
    return None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="exporter.py", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the workers write what they count")
    parser.add_argument("--beside", type=int, required=True, metavar="PID", help="the process to end with")
    wanted = parser.parse_args(arguments)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to all: the web processes have something to finish
    loaded = config.load()
    registry = make_registry(loaded, wanted.folder)
    serve(registry, loaded.METRICS_HOST, loaded.METRICS_PORT, wanted.beside)
    while os.getppid() == wanted.beside:
        time.sleep(LOOK_EACH_S)
    shutil.rmtree(wanted.folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
