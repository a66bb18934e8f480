"""A real gunicorn, with clients that keep to no rule: smuggled requests, malformed chunks, bodies that drip, and what
stands in the logs afterwards."""

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import requests

from bittrade.services.identity import KEY_SCOPES
from tests.e2e.conftest import PASSWORD, Person, System, running_system
from tests.fixtures import ROOT, is_cut

GENEROUS_S = 60  # how long something that must happen may take on a busy machine
BODY_S = 2  # what this server gives a body; see the fixture


def address(system: System) -> tuple[str, int]:
    host, _, port = system.url.removeprefix("http://").partition(":")
    return host, int(port)


def exchange(system: System, raw: bytes, *, timeout_s: float = 30) -> bytes:
    """Everything that the server says to these bytes, until it closes or is silent."""
    with socket.create_connection(address(system), timeout=timeout_s) as connection:
        with suppress(ConnectionError):  # refused before all of it was sent
            connection.sendall(raw)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except (TimeoutError, ConnectionResetError):
        pass
    return said


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", said)]


# --- Smuggling ----------------------------------------------------------------------------------------------------

POST = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SMUGGLED = b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLING = {
    "length and chunks": (POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED, {400}),
    "chunks and length": (POST + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED, {400}),
    "xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", {400}),
    "br, chunked": (POST + b"Transfer-Encoding: br, chunked\r\n\r\n0\r\n\r\n", {400}),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", {400}),
    "chunked, identity": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", {400}),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 30\r\n\r\n{}" + SMUGGLED, {400}),
    "a signed length": (POST + b"Content-Length: +2\r\n\r\n{}", {400}),
    "a negative length": (POST + b"Content-Length: -2\r\n\r\n{}", {400}),
    "a length of words": (POST + b"Content-Length: two\r\n\r\n{}", {400}),
    "a length with a list": (POST + b"Content-Length: 2, 2\r\n\r\n{}", {400}),
    "a space before the colon": (POST + b"Content-Length : 2\r\n\r\n{}", {400}),
    "a folded header": (POST + b"X-A: 1\r\n b: 2\r\nContent-Length: 2\r\n\r\n{}", {400}),
    "a bare line feed": (b"GET /api/health HTTP/1.1\nHost: x\n\n", {400}),
    "two hosts": (b"GET /api/health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", {400}),
    "NUL in the path": (b"GET /api/\x00health HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "a line that never ends": (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414}),
    "a thousand headers": (
        b"GET /api/health HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        {431},
    ),
    "a huge header": (b"GET /api/health HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 60_000 + b"\r\n\r\n", {431}),
    "another expectation": (POST + b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}", {417}),
    "two schemes": (
        b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n",
        {400},
    ),
    "HTTP/9": (b"GET /api/health HTTP/9.9\r\nHost: x\r\n\r\n", {400}),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "a chunk of no size": (POST + CHUNKED + b"\r\nxyz\r\n{}\r\n0\r\n\r\n" + SMUGGLED, {400}),
    "a chunk of negative size": (POST + CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, {400}),
    "a chunk size with 0x": (POST + CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, {400}),
    "a chunk without its end": (POST + CHUNKED + b"\r\n2\r\n{}0\r\n\r\n" + SMUGGLED, {400}),
    "a chunk's extension of line feeds": (POST + CHUNKED + b"\r\n2;\nx\r\n{}\r\n0\r\n\r\n" + SMUGGLED, {400}),
    "a chunk of astronomic size": (POST + CHUNKED + b"\r\n" + b"f" * 40 + b"\r\n{}\r\n", {400, 408, 413}),
    "a body that ends too early": (POST + b"Content-Length: 100\r\n\r\n{}", {400, 408}),
}


READ_BY_US = {name for name in SMUGGLING if "chunk" in name or "too early" in name} - {
    "length and chunks",
    "chunks and length",
    "xchunked",
    "br, chunked",
    "chunked, identity",
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_what_two_servers_could_read_in_two_ways_is_refused_and_the_connection_ends(
    system: System, name: str
) -> None:
    raw, expected = SMUGGLING[name]
    answer = exchange(system, raw)
    said = statuses(answer)
    assert said[:1], "no answer at all"
    assert said[0] in expected
    assert len(said) == 1, f"the second request was answered too: {said}"
    head, _, body = answer.partition(b"\r\n\r\n")
    assert {"error", "code"} <= set(json.loads(body))
    for header in (
        b"content-type: application/json",
        b"x-content-type-options: nosniff",
        b"cache-control: no-store",
    ):
        assert header in head.lower()
    if (
        name not in READ_BY_US
    ):  # no header could be read, so no origin either: the page gets to read it all the same
        assert b"access-control-allow-origin: *" in head.lower()


KEY = b"Idempotency-Key: a\r\n"
WEBSOCKET = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize(
    "headers",
    [KEY * 2, KEY + b"Idempotency-Key: b\r\n", b"Idempotency_Key: a\r\n", KEY + b"IDEMPOTENCY_KEY: a\r\n"],
)
def test_a_key_that_could_be_read_in_two_ways_is_refused_and_a_page_may_know(
    system: System, headers: bytes
) -> None:
    said = exchange(
        system, POST + b"Origin: https://shop.example\r\n" + headers + b"Content-Length: 2\r\n\r\n{}"
    )
    assert statuses(said) == [400]
    assert b"invalid_idempotency_key" in said
    assert b"Access-Control-Allow-Origin: https://shop.example" in said


def test_other_headers_with_an_underscore_go_no_further(system: System) -> None:
    headers = b"X_Api: a\r\nScript_Name: /x\r\nPath_Info: /x\r\nContent_Length: 9\r\nConnection: close\r\n"
    said = exchange(system, b"GET /api/market-rates HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
    assert statuses(said) == [200]


@pytest.mark.parametrize("connection", [b"keep-alive", b"close", b"upgraded", b""])
def test_a_websocket_without_its_connection_header_is_400(system: System, connection: bytes) -> None:
    said = exchange(system, WEBSOCKET + b"Connection: " + connection + b"\r\n\r\n")
    assert statuses(said) == [400]
    assert b"bad_request" in said
    with socket.create_connection(address(system), timeout=GENEROUS_S) as open_for_long:
        open_for_long.sendall(WEBSOCKET + b"Connection: keep-alive, Upgrade\r\n\r\n")
        assert statuses(open_for_long.recv(4096)) == [101]


def test_well_formed_chunks_are_read(system: System) -> None:
    raw = POST + CHUNKED + b"Connection: close\r\n\r\n1\r\n{\r\n1;name=value\r\n}\r\n0\r\n\r\n"
    said = exchange(system, raw)
    assert statuses(said) == [400]
    assert b"missing_fields" in said


def test_more_than_64_kib_of_chunks_are_413(system: System) -> None:
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    said = exchange(system, POST + CHUNKED + b"Connection: close\r\n\r\n" + chunk * 3 + b"0\r\n\r\n")
    assert statuses(said) == [413]


@pytest.mark.parametrize("size", [65_537, 200_000, 1_500_000])
def test_a_client_that_sends_a_little_too_much_gets_to_read_that_it_is_413(system: System, size: int) -> None:
    answer = requests.post(
        f"{system.url}/api/auth/login",
        data=b" " * size,
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_nobody_sends_ten_megabytes(system: System) -> None:
    head = POST + b"Content-Length: 10000000\r\n\r\n"
    with socket.create_connection(address(system), timeout=10) as connection:
        sent = 0
        try:
            connection.sendall(head)
            for _ in range(150):
                sent += connection.send(b" " * 65_536)
        except OSError:
            pass
        read_all(connection)
    assert sent < 9_800_000
    assert requests.get(f"{system.url}/api/health", timeout=5).ok


def test_the_server_does_not_say_which_version_it_is(system: System) -> None:
    for path in ("/api/health", "/nothing", "/socket.io/?EIO=4&transport=polling"):
        headers = requests.get(f"{system.url}{path}", timeout=5).headers
        assert not re.search(r"\d", headers.get("Server", ""))
        assert not {"X-Powered-By", "X-AspNet-Version", "Via"} & set(headers)
    said = exchange(system, b"nonsense\r\n\r\n")
    assert not re.search(rb"gunicorn/\d", said)


# --- Bodies that drip ---------------------------------------------------------------------------------------------


def drip(system: System, path: str = "/api/auth/login") -> socket.socket:
    """A request whose body has begun and does not go on."""
    connection = socket.create_connection(address(system), timeout=BODY_S + 8)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
    )
    connection.sendall(head.encode() + b"{")
    return connection


@pytest.mark.parametrize(
    "path", ["/api/auth/login", "/api/auth/logout", "/nothing", "/socket.io/?EIO=4&transport=polling"]
)
def test_a_body_that_drips_is_cut(system: System, path: str) -> None:
    with drip(system, path) as connection:
        start = time.monotonic()
        connection.settimeout(0.3)
        said = b""
        while not said and time.monotonic() - start < GENEROUS_S:
            try:
                said = connection.recv(65536) or b"(closed)"
            except TimeoutError:
                connection.sendall(b" ")
        took = time.monotonic() - start
        connection.settimeout(GENEROUS_S)
        said += read_all(connection)  # comes to its end: the connection is closed
        assert statuses(said) == [408]
        assert b"body_too_slow" in said
        assert took > BODY_S - 0.5


def test_a_header_that_drips_is_cut(system: System) -> None:
    with socket.create_connection(address(system), timeout=GENEROUS_S) as connection:
        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-A: ")
        assert is_cut(connection)


def test_five_hundred_dripping_bodies_hold_nobody_up(system: System) -> None:
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(drip(system))
        client = http.client.HTTPConnection(*address(system), timeout=GENEROUS_S)
        for _ in range(200):
            client.request("GET", "/api/market-rates")
            answer = client.getresponse()
            answer.read()
            assert answer.status == 200
        client.close()


def test_half_sent_requests_of_one_address_leave_room_for_others(
    request: pytest.FixtureRequest, surroundings: Any, redis_url: str
) -> None:
    new = request.getfixturevalue("new_mariadb" if surroundings.database_version else "new_sqlite")
    few = {"SOCKETS_PER_PROCESS": "20", "SOCKETS_PER_ADDRESS": "10"}  # 520 connections in all
    with running_system(new(), redis_url, **few) as system, ExitStack() as stack:
        system.start_web()
        refused = 0
        for _ in range(600):
            connection = stack.enter_context(socket.create_connection(address(system), timeout=GENEROUS_S))
            with suppress(ConnectionError):
                connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-A: ")
                connection.settimeout(0.001)
                with suppress(TimeoutError):
                    refused += b"too_many_connections" in connection.recv(4096)
        elsewhere = http.client.HTTPConnection(
            *address(system), timeout=GENEROUS_S, source_address=("127.0.0.2", 0)
        )
        elsewhere.request("GET", "/api/health")
        assert elsewhere.getresponse().status == 200
        elsewhere.close()
        with suppress(ConnectionError):
            while not refused:  # the answer to the last ones may still be on its way
                connection.settimeout(GENEROUS_S)
                refused += b"too_many_connections" in connection.recv(4096)
    assert refused


def test_ten_seconds_are_the_default() -> None:
    import config

    assert config.Config.model_fields["BODY_TIMEOUT_S"].default == 10


# --- Keys and tokens on a real server -----------------------------------------------------------------------------


def new_key(person: Person, *scopes: str) -> str:
    body = {"name": "bot", "scopes": scopes or KEY_SCOPES}
    answer = person.system.post("/api/keys", body, person.token)
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


def test_a_logout_holds_on_the_next_request(system: System) -> None:
    person = system.new_person(inr=1000)
    key = new_key(person)
    assert system.post("/api/auth/logout-all", token=person.token).status_code == 200
    for token in (person.token, key):
        answer = requests.get(
            f"{system.url}/api/balance", headers={"Authorization": f"Bearer {token}"}, timeout=5
        )
        assert answer.status_code == 403


# --- The API's own document ---------------------------------------------------------------------------------------


def test_schemathesis_finds_no_5xx_and_no_answer_that_is_not_documented(
    system: System, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its own document and security scheme; without the two routes that would end the token for all that follow."""
    person = system.new_person(inr=1_000_000)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{system.url}/api/openapi.json"),
        *("--url", system.url, "--header", f"Authorization: Bearer {person.token}"),
        *(
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ),
        *(
            "--exclude-path-regex",
            "/logout",
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "12",
            "--seed",
            "1",
            "--workers",
            "1",  # two of them meet in hypothesis now and then, which is not made for threads
        ),
        *("--max-time", "15", "--generation-deterministic", "--no-color"),
    ]
    folder = tmp_path_factory.mktemp("schemathesis")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


# --- The logs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secrets_sent(system: System) -> list[str]:
    """Passwords, tokens and keys in every place where somebody might put one."""
    canary = "canary-Pa55phrase-7f3a"
    body = {"email": "canary@example.com", "password": canary, "name": "Canary"}
    token = system.post("/api/auth/register", body).json()["token"]
    key = new_key(Person(system, 0, body["email"], token))
    sent = [canary, token, key, "canary-wrong-8c1d"]
    system.post("/api/auth/login", {**body, "password": "canary-wrong-8c1d"})
    system.post("/api/auth/register", body)  # taken: the database's own error holds what was inserted
    for secret in sent:
        quoted = requests.utils.quote(secret)
        for path in (
            f"/api/balance?token={quoted}",
            f"/api/{quoted}",
            f"/socket.io/?EIO=4&transport=polling&sid={quoted}",
        ):
            requests.get(
                f"{system.url}{path}",
                headers={"Authorization": f"Bearer {secret}x", "Cookie": secret},
                timeout=5,
            )
        exchange(system, POST + f"X-A: {secret}\r\nContent-Length: -1\r\n\r\n{secret}".encode(), timeout_s=3)
        exchange(system, POST + CHUNKED + f"\r\n{secret}\r\n".encode(), timeout_s=3)
        requests.post(f"{system.url}/api/auth/login", data=f'{{"password": "{secret}"', timeout=5)
    return sent


def test_no_secret_is_in_any_log(system: System, secrets_sent: list[str]) -> None:
    for process in system.processes:
        for secret in secrets_sent:
            assert secret not in process.output, f"{process.name} wrote {secret[:12]}…"


def test_what_clients_send_makes_no_second_line_in_a_log(system: System, secrets_sent: list[str]) -> None:
    forged = "2031-01-01 00:00:00 CRITICAL forged"
    for path in (f"/api/%0d%0a{forged}", f"/api/auth/verify?x=%0a{forged}"):
        requests.get(f"{system.url}{path}", headers={"User-Agent": f"x {forged}"}, timeout=5)
    body = {"email": f"x\r\n{forged}@example.com", "password": PASSWORD, "name": f"x\n{forged}"}
    system.post("/api/auth/register", body)
    for process in system.processes:
        assert not [line for line in process.output.splitlines() if line.startswith("2031-01-01")]


def test_the_server_said_nothing_of_errors(system: System, secrets_sent: list[str]) -> None:
    assert "Traceback" not in system.process("web").output
    assert json.loads(requests.get(f"{system.url}/api/health", timeout=5).text)["status"] in (
        "OK",
        "DEGRADED",
    )
    assert (ROOT / "gunicorn.conf.py").read_text().count("control_socket_disable = True") == 1
