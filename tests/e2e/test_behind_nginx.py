"""deploy/nginx.conf and deploy/Procfile as they are, but for the ports: two web processes, and any client."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dev.services import free_port
from tests.e2e.conftest import (
    ROOT,
    JavaScriptSockets,
    System,
    crowd_gets_all_once,
    running_system,
    wait_until,
)

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
AROUND = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/bittrade.conf;
}}
"""


@pytest.fixture(scope="module")
def system(
    scratch_database: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory, surroundings: object
) -> Iterator[System]:
    if NGINX is None:
        if getattr(surroundings, "must_be_real", False):
            pytest.fail("BITTRADE_REQUIRE_SERVICES=1 and nginx is not installed", pytrace=False)
        pytest.skip("needs nginx")
    if scratch_database.startswith("sqlite"):
        pytest.skip("needs MariaDB")  # two web processes
    folder = tmp_path_factory.mktemp("nginx")
    with running_system(scratch_database, redis_url, MAX_PRICE_AGE_S="600", TRUSTED_PROXY_HOPS="1") as system:
        system.start_simulator()
        ports = {port: str(free_port()) for port in ("3001", "3002")}
        (folder / "Procfile").write_text(with_ports(ROOT / "deploy/Procfile", ports))
        (folder / "bittrade.conf").write_text(
            with_ports(ROOT / "deploy/nginx.conf", ports).replace(
                "listen 80;", f"listen {system.url.rpartition('/')[2]};"
            )
        )
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
        procfile = str(folder / "Procfile")
        honcho = ("-m", "honcho", "-d", str(ROOT), "-f", procfile, "start", "web1", "web2")
        web = system.start("web", *honcho, PATH=path)
        with subprocess.Popen(
            [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
        ) as nginx:
            try:
                for port in ports.values():
                    wait_until(lambda port=port: is_up(f"http://127.0.0.1:{port}"), f"{port} answers")
                assert is_up(system.url), (folder / "error.log").read_text()
                system.flask("market", "fetch")
                yield system
                assert "Traceback" not in web.output
            finally:
                nginx.terminate()


def with_ports(file: Path, ports: dict[str, str]) -> str:
    text = file.read_text()
    for written, used in ports.items():
        assert written in text
        text = text.replace(written, used)
    return text


def is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/api/health", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def test_two_hundred_clients_by_any_transport_lose_nothing(
    system: System, javascript: JavaScriptSockets
) -> None:
    crowd_gets_all_once(system, javascript, {}, {"transports": ["polling"]}, {"transports": ["websocket"]})


def test_sessions_are_spread_and_carry_their_process_name(system: System) -> None:
    polling = f"{system.url}/socket.io/?EIO=4&transport=polling"
    names = {requests.get(polling, timeout=5).text.split('"sid":"')[1][:3] for _ in range(8)}
    assert names == {"n1.", "n2."}
