"""The HTTP client's promises: bounded in time, size, attempts and belief."""

import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bittrade.errors import ProviderError
from bittrade.providers.http import HttpClient, PausesInMemory, retry_after, strict_json
from dev.simulator import Simulator

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _fetch(simulator: Simulator, **limits: Any) -> object:
    http = HttpClient(**({"pauses": PausesInMemory()} | limits))
    return http.get_json(simulator.sentiment_url + "/", source="test", params={"limit": "1"}).data


def test_an_upstream_that_fails_once_is_asked_a_second_time(simulator: Simulator) -> None:
    simulator.set("500", times=1)
    assert _fetch(simulator)
    assert simulator.requests() == 2


def test_an_upstream_that_keeps_failing_is_asked_twice_and_no_more(simulator: Simulator) -> None:
    simulator.set("refuse")
    with pytest.raises(ProviderError, match="cannot be reached"):
        _fetch(simulator)
    assert simulator.requests() == 2


@pytest.mark.parametrize("mode", ["429", "302", "html", "nan", "huge"])
def test_an_answer_that_a_repeat_would_not_mend_is_not_repeated(simulator: Simulator, mode: str) -> None:
    simulator.set(mode)
    with pytest.raises(ProviderError):
        _fetch(simulator)
    assert simulator.requests() == 1


def test_a_short_retry_after_is_waited_for(simulator: Simulator) -> None:
    simulator.set("429", retry_after=1, times=1)
    began = time.monotonic()
    assert _fetch(simulator)
    assert time.monotonic() - began >= 1
    assert simulator.requests() == 2


def test_a_long_retry_after_ends_the_fetch_and_holds_back_the_next_ones(simulator: Simulator) -> None:
    pauses = PausesInMemory()
    simulator.set("429", retry_after=60, times=1)
    began = time.monotonic()
    with pytest.raises(ProviderError, match="answered 429"):
        _fetch(simulator, pauses=pauses)
    with pytest.raises(ProviderError, match="asked us to wait"):
        _fetch(simulator, pauses=pauses)
    assert time.monotonic() - began < 60
    assert simulator.requests() == 1


def test_the_wait_for_a_retry_never_passes_the_deadline(simulator: Simulator) -> None:
    simulator.set("429", retry_after=9)
    with pytest.raises(ProviderError, match="answered 429"):
        _fetch(simulator, deadline_s=8)
    assert simulator.requests() == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        (None, None),
        ("soon", None),
        ("-1", None),
        ("1e9", None),
        ("9" * 40, None),
        (format_datetime(NOW + timedelta(seconds=30)), 30),
        (format_datetime(NOW - timedelta(hours=1)), 0),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=NOW) == seconds


def test_the_size_cap_counts_decoded_bytes(simulator: Simulator) -> None:
    simulator.set("gzip_bomb")
    with pytest.raises(ProviderError, match="more than 200000 bytes"):
        _fetch(simulator, max_bytes=200_000)


def test_a_key_goes_out_as_a_header_and_never_into_a_reason(simulator: Simulator) -> None:
    http = HttpClient(attempts=1, pauses=PausesInMemory())
    with pytest.raises(ProviderError) as failure:
        http.get_json(simulator.url + "/nowhere", source="test", headers={"x-cg-demo-api-key": "CG-secret"})
    assert failure.value.message == "test: answered 404"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "nonsense"])
def test_only_http_addresses_are_fetched(url: str) -> None:
    with pytest.raises(ProviderError, match="must begin with http"):
        HttpClient().get_json(url, source="test")


@pytest.mark.needs("openssl")
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=127.0.0.1"
    command = [*make.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(ProviderError, match="certificate could not be verified"):
            HttpClient(pauses=PausesInMemory()).get_json(
                f"https://127.0.0.1:{server.server_port}/", source="test"
            )
        server.shutdown()


def test_numbers_are_exact() -> None:
    assert strict_json(b'{"a": 0.1, "b": 12345678901234567890, "c": -1.5e3}') == {
        "a": Decimal("0.1"),
        "b": 12345678901234567890,
        "c": Decimal("-1500"),
    }


@pytest.mark.parametrize(
    "body",
    [
        b"NaN",
        b'{"a": Infinity}',
        b"[-Infinity]",
        b"1e400",
        b"1e1000000",
        b"-1e-400",
        b"9" * 5000,
        b'{"a": 1, "a": 2}',
        b"[" * 21 + b"]" * 21,
        b"[" * 100_000,
        b'{"a":' * 8_000,
        b"{} trailing",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b"{'a': 1}",
        b"",
    ],
)
def test_doubtful_json_is_refused_at_once(body: bytes) -> None:
    with pytest.raises(ProviderError):
        strict_json(body)


@pytest.mark.parametrize("number", ["1e-400", "-1e400", "0e-99", "1e1000000", "9" * 5000, "1" * 65])
def test_an_absurd_number_costs_only_what_it_stands_for(number: str) -> None:
    began = time.monotonic()
    assert strict_json(f'{{"unused": {number}, "price": 1}}'.encode()) == {"unused": None, "price": 1}
    assert time.monotonic() - began < 0.5


def test_json_that_is_sent_as_a_web_page_is_json(simulator: Simulator) -> None:
    simulator.set("as_html")
    assert _fetch(simulator)


def test_brackets_inside_of_strings_are_no_nesting() -> None:
    assert strict_json(b'["' + b"[" * 100 + b'\\"]"]') == ["[" * 100 + '"]']
