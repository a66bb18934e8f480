"""Sentry and OpenTelemetry: off unless asked for, and told no more than the log is. Both are played on loopback."""

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import config
from bittrade import telemetry
from tests.fixtures import ROOT

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6MX0.c2lnbmF0dXJl"
PROGRAM = f"""
import logging
import sentry_sdk
from bittrade import create_app

app = create_app()
app.config["PROPAGATE_EXCEPTIONS"] = False

def broken():
    password = "a-local-secret"
    raise RuntimeError("it failed with {TOKEN}")

app.view_functions["health.get_live"] = broken
headers = {{"X-Request-ID": "r-1", "Authorization": "Bearer {TOKEN}", "traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}}
answer = app.test_client().get("/api/health/live?token={TOKEN}", headers=headers)
assert answer.status_code == 500, answer.data
answer.close()
sentry_sdk.flush(30)
"""


@pytest.fixture
def upstream() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """An HTTP server that keeps what it is sent: its host and port, and (path, body)."""
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            got.append((self.path, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


def test_an_error_reaches_both_with_its_request_s_id_and_without_secrets(
    upstream: tuple[str, list[tuple[str, bytes]]],
) -> None:
    pytest.importorskip("sentry_sdk", reason="needs sentry-sdk")
    pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")
    place, got = upstream
    asked = {"SENTRY_DSN": f"http://key@{place}/1", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{place}"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | asked,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    errors = [body for path, body in got if path.startswith("/api/1/envelope") and b"RuntimeError" in body]
    (traces,) = [body for path, body in got if path == "/v1/traces"]
    assert errors
    for body in errors:
        assert b'"request_id":"r-1"' in body.replace(b'": ', b'":')
        assert TOKEN.encode() not in body
        assert b"a-local-secret" not in body.replace(
            b'password = \\"a-local-secret\\"', b""
        )  # the source's own line
    assert b"GET /api/health/live" in traces
    assert bytes.fromhex("ab" * 16) in traces  # within the client's trace
    assert b"r-1" in traces
    assert TOKEN.encode() not in traces


def test_what_goes_to_sentry_has_no_token_wherever_it_stood() -> None:
    event = {
        "message": f"with {TOKEN}",
        "request": {
            "method": "GET",
            "url": "http://localhost/x",
            "query_string": "a=b",
            "headers": {"Cookie": "c"},
        },
        "exception": {"values": [{"value": f"Bearer {TOKEN}", "stacktrace": {"frames": [(TOKEN, 1)]}}]},
    }
    prepared = telemetry.prepare_event(event)
    assert prepared["request"] == {"method": "GET", "url": "http://localhost/x"}
    assert TOKEN not in str(prepared)
    assert "[redacted]" in prepared["message"]


@pytest.mark.parametrize("name", config.EXTRAS)
def test_without_its_package_the_server_says_how_to_get_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "find_spec", lambda _: None)
    assert config.load().JWT_SECRET  # nothing is asked for
    with pytest.raises(config.ConfigurationError, match=rf"{name} needs a package.*requirements-extras\.txt"):
        config.load(**{name: "http://key@localhost/1"})
