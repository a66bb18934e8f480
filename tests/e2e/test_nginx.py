"""deploy/nginx.conf in a real nginx, before a server of the test's own: what nginx answers by itself, keeps, and refuses."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from bittrade.api.caching import MAX_AGE_S, STALE_IF_ERROR_S
from bittrade.errors import OutcomeUnknown
from dev.services import free_port
from tests.e2e.conftest import wait_until
from tests.e2e.test_behind_nginx import deployment
from tests.fixtures import is_cut

GENEROUS_S = 40
SHARED = {"Cache-Control": f"public, max-age={MAX_AGE_S}, stale-if-error={STALE_IF_ERROR_S}"}
PERSONAL = {"Cache-Control": "no-store"}


class Application(ThreadingHTTPServer):
    """Stands behind nginx: counts what comes through, and answers when it may."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.asked: Counter[str] = Counter()
        self.headers: dict[str, str] = {}
        self.may_answer = threading.Event()
        self.may_answer.set()


class _Handler(BaseHTTPRequestHandler):
    server: Application
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        number = self.server.asked[self.path]
        self.server.headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.may_answer.wait(GENEROUS_S)
        body = json.dumps({"number": number}).encode()
        self.send_response(404 if "nothing" in self.path else 200)
        is_shared = self.path.startswith(("/api/market-rates", "/api/bitcoin"))
        for name, value in (SHARED if is_shared else PERSONAL).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-RateLimit-Remaining", "7")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Deployment:
    url: str
    port: int
    applications: list[Application] = field(default_factory=list)

    def asked(self, path: str) -> int:
        return sum(application.asked[path] for application in self.applications)

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=GENEROUS_S, **options)

    def exchange(self, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        """Say this; the answer's status, headers and body."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=GENEROUS_S) as connection:
            connection.sendall(raw)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


@pytest.fixture
def nginx(tmp_path: Path, surroundings: Any) -> Iterator[Deployment]:
    if shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        if getattr(surroundings, "must_be_real", False):
            pytest.fail("BITTRADE_REQUIRE_SERVICES=1 and nginx is not installed", pytrace=False)
        pytest.skip("needs nginx")
    ports = {"3001": str(free_port()), "3011": str(free_port()), "3012": str(free_port())}
    folder = deployment(tmp_path, ports)
    found = Deployment(f"http://127.0.0.1:{ports['3001']}", int(ports["3001"]))
    with ExitStack() as stack:
        for port in (ports["3011"], ports["3012"]):
            application = stack.enter_context(Application(int(port)))
            threading.Thread(target=application.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(application.shutdown)
            stack.callback(application.may_answer.set)
            found.applications.append(application)
        process = subprocess.Popen(
            ["sh", str(folder / "nginx.sh")], env=os.environ | {"TMPDIR": str(tmp_path)}
        )
        stack.callback(process.wait, GENEROUS_S)
        stack.callback(process.terminate)
        wait_until(lambda: _listens(found.port), "nginx listens", timeout_s=GENEROUS_S)
        yield found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


HEAD = b"GET /api/balance HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
REFUSED = {
    "a body that is too large": (
        b"POST /api/trade HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 70000\r\n\r\n",
        413,
        "body_too_large",
    ),
    "headers that are too large": (HEAD + b"X-A: " + b"a" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
    "an address that is too long": (
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        414,
        "uri_too_long",
    ),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request"),
    "another version": (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, "http_505"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "bad_request"),
    "an unknown coding": (HEAD + b"Transfer-Encoding: x\r\n\r\n", 501, "http_501"),
    "a path that leaves": (b"GET /../x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nginx_refuses_by_itself_is_json_that_a_page_can_read(nginx: Deployment, name: str) -> None:
    raw, status, code = REFUSED[name]
    found, headers, body = nginx.exchange(raw)
    assert (found, json.loads(body)["code"]) == (status, code)
    assert headers["content-type"] == "application/json"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cache-control"] == "no-store"
    assert not any(char.isdigit() for char in headers["server"])


def test_nobody_gets_the_refusals_page_by_its_name_and_our_own_answers_pass(nginx: Deployment) -> None:
    assert nginx.get("/bittrade-refusal").json()["code"] == "http_404"
    answer = nginx.get("/api/nothing")
    assert (answer.status_code, answer.json()) == (404, {"number": 1})


def test_of_all_who_ask_for_the_rates_at_once_one_is_passed_on(nginx: Deployment) -> None:
    for application in nginx.applications:
        application.may_answer.clear()
    with ThreadPoolExecutor(50) as pool:
        answers = [pool.submit(nginx.get, "/api/market-rates") for _ in range(50)]
        wait_until(lambda: nginx.asked("/api/market-rates") > 0, "one is passed on", timeout_s=GENEROUS_S)
        for application in nginx.applications:
            application.may_answer.set()
        found = [answer.result() for answer in answers]
    assert {answer.status_code for answer in found} == {200}
    assert nginx.asked("/api/market-rates") < 50
    assert "X-RateLimit-Remaining" not in found[0].headers


def test_the_rates_are_kept_for_a_second_and_personal_answers_never(nginx: Deployment) -> None:
    def repeated(path: str, **options: Any) -> bool:
        first, second = (nginx.get(path, **options).json()["number"] for _ in range(2))
        return bool(first == second)

    wait_until(lambda: repeated("/api/market-rates"), "the rates are kept", timeout_s=GENEROUS_S)
    kept = nginx.asked("/api/market-rates")
    wait_until(
        lambda: nginx.get("/api/market-rates") and nginx.asked("/api/market-rates") > kept,
        "they are asked for again",
        timeout_s=GENEROUS_S,
    )
    token = {"Authorization": "Bearer x"}
    for path in ("/api/balance", "/api/market-rates", "/api/bitcoin/chart/1d"):
        before = nginx.asked(path)
        for _ in range(5):
            nginx.get(path, headers=token)
        assert nginx.asked(path) == before + 5


def test_while_nobody_answers_the_rates_are_the_last_ones_and_the_rest_says_so(nginx: Deployment) -> None:
    last = nginx.get("/api/market-rates").json()
    for application in nginx.applications:
        application.shutdown()
        application.server_close()
    answer = nginx.get("/api/market-rates")
    assert (answer.status_code, answer.json()) == (200, last)
    down = nginx.get("/api/balance")
    assert (down.status_code, down.json()["code"]) == (502, OutcomeUnknown.code)
    assert int(down.headers["Retry-After"]) > 0
    # But not for ever: a price that nobody can renew is no price.
    wait_until(lambda: nginx.get("/api/market-rates").status_code == 502, "it ends", timeout_s=GENEROUS_S)


def test_a_header_that_drips_is_cut(nginx: Deployment) -> None:
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=GENEROUS_S) as connection:
        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-A: ")
        assert is_cut(connection)


def test_one_address_cannot_have_all_places(nginx: Deployment) -> None:
    for application in nginx.applications:
        application.may_answer.clear()
    half_sent = b"POST /api/trade HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", nginx.port), timeout=GENEROUS_S))
            for _ in range(300)
        ]
        for connection in connections:
            connection.sendall(half_sent)
        refused = http.client.HTTPResponse(connections[-1])
        refused.begin()
        assert (refused.status, json.loads(refused.read())["code"]) == (429, "too_many_connections")
        assert int(refused.headers["Retry-After"]) > 0
        for application in nginx.applications:
            application.may_answer.set()
        elsewhere = http.client.HTTPConnection("127.0.0.1", nginx.port, GENEROUS_S, ("127.0.0.2", 0))
        elsewhere.request("GET", "/api/balance")
        assert elsewhere.getresponse().status == 200
        elsewhere.close()


def test_an_idempotency_key_with_an_underscore_comes_as_far_as_the_application(nginx: Deployment) -> None:
    nginx.get("/api/balance", headers={"Idempotency_Key": "a"})
    assert any(application.headers.get("idempotency_key") == "a" for application in nginx.applications)
