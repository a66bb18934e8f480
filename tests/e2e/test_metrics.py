"""What Prometheus gets: of two workers and what they refuse, of the queues, of one installation in several processes."""

import os
import re
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from bittrade import metrics
from dev.services import free_port
from tests.e2e.conftest import System, running_system, wait_until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
REQUESTS = "bittrade_http_request_duration_seconds_count"


@pytest.fixture(scope="module")
def system(scratch_database: str, redis_url: str) -> Iterator[System]:
    if scratch_database.startswith("sqlite"):
        pytest.skip("needs MariaDB")  # SQLite is for one web process
    with running_system(scratch_database, redis_url, METRICS_PORT=str(free_port())) as system:
        system.start_simulator()
        system.start("worker", "worker.py")
        system.start("scheduler", "worker.py", "scheduler")
        system.start_web(workers=2)
        wait_until(lambda: system.rates(), "there is a price")
        wait_until(lambda: scrape(system), "metrics are served")
        yield system


def scrape(system: System) -> Samples:
    """All samples by name and labels; none while nobody answers."""
    try:
        answer = requests.get(f"http://127.0.0.1:{system.environment['METRICS_PORT']}/metrics", timeout=60)
    except requests.ConnectionError:
        return {}
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples that have these labels among theirs."""
    wanted = set(labels.items())
    return sum(number for (found, theirs), number in samples.items() if found == name and wanted <= theirs)


def wait_for(system: System, least: float, name: str, **labels: str) -> None:
    wait_until(lambda: value(scrape(system), name, **labels) >= least, f"{name} {labels} is {least}")


def test_what_two_workers_answer_is_one_sum(system: System) -> None:
    before = scrape(system)
    person = system.new_person(inr=10_000)
    bought = person.trade("buy", "1000")
    refused = system.post(
        "/api/trade", {"action": "buy", "type": "market", "amount": "99999", "currency": "inr"}, person.token
    )
    assert refused.status_code == 400
    for _ in range(40):
        # Each over a connection of its own: it may be either worker's.
        requests.get(f"{system.url}/api/market-rates", headers={"Connection": "close"}, timeout=60)
        requests.get(f"{system.url}/api/nothing/{person.id}", headers={"Connection": "close"}, timeout=60)

    def gain(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    wait_for(
        system, value(before, REQUESTS, route="unmatched") + 40, REQUESTS, route="unmatched", status="404"
    )
    after = scrape(system)
    assert gain(REQUESTS, method="GET", route="/api/market-rates", status="200") >= 40  # most of them ready
    assert gain(REQUESTS, method="POST", route="/api/trade", status="201") == 1
    assert gain("bittrade_trades_total", side="buy", outcome="executed") == 1
    assert gain("bittrade_trades_total", side="buy", outcome="insufficient_funds") == 1
    assert gain("bittrade_traded_rupees_total", side="buy") == 1000
    assert gain("bittrade_traded_satoshis_total", side="buy") == bought["btc_amount"]
    assert gain("bittrade_database_query_duration_seconds_count") > 0
    assert gain("bittrade_cache_requests_total", family="latest_btc_price") > 0
    assert gain("bittrade_event_loop_lag_seconds_count") > 0
    assert value(after, "bittrade_database_pool_connections", state="limit") >= 2 * 16


def test_what_the_worker_refuses_is_counted_too(system: System) -> None:
    before = value(scrape(system), REQUESTS, route="unread")
    address = urlsplit(system.url)
    with socket.create_connection((address.hostname, address.port), 60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nA b: c\r\n\r\n")
        assert b" 400 " in connection.recv(65536)
    wait_for(system, before + 1, REQUESTS, route="unread", status="400")
    requests.get(f"{system.url}/socket.io/?EIO=4&transport=polling", timeout=60)
    wait_for(system, 1, "bittrade_sockets_refused_total", reason="websocket_only")


def test_how_the_installation_stands_and_what_worker_and_scheduler_do(system: System) -> None:
    wait_for(system, 1, "bittrade_source_calls_total", source="coingecko", result="succeeded")
    wait_for(system, 1, "bittrade_scheduler_up")
    wait_for(system, 2, "rq_workers")  # that of the books besides
    wait_for(system, 1, "rq_workers_success_total", queues="price,orders,market,maintenance")
    wait_for(system, 1, "bittrade_trading_state", state="open")
    samples = scrape(system)
    assert value(samples, "bittrade_database_up") == 1
    assert value(samples, "bittrade_redis_state", state="connected") == 1
    assert 0 <= value(samples, "bittrade_price_age_seconds") < 60
    assert value(samples, "bittrade_build_info", version="1.0.0") == 1
    assert value(samples, "bittrade_ledger_proof_state") == 1
    assert ("bittrade_source_breaker_open", frozenset({("source", "kraken")})) in samples
    assert ("rq_jobs", frozenset({("queue", "ledger"), ("status", "failed")})) in samples


def test_names_and_labels_are_of_bounded_number_and_tell_of_nobody(system: System) -> None:
    person = system.new_person()
    requests.get(f"{system.url}/api/transactions/{person.id}?token={person.token}", timeout=60)
    samples = scrape(system)
    assert all(name.startswith(("bittrade_", "rq_")) for name, _ in samples)
    labels = {text for _, pairs in samples for _, text in pairs}
    routes = {text for _, pairs in samples for name, text in pairs if name == "route"}
    assert not [text for text in labels if person.token in text or person.email in text]
    assert not [text for text in routes if re.search(r"/[0-9]+(/|$)", text)]


def test_counts_outlive_a_worker_and_its_files_are_added_up(system: System) -> None:
    before = value(scrape(system), REQUESTS)
    assert before
    web = psutil.Process(system.process("web").popen.pid)
    victim = next(child for child in web.children() if "exporter.py" not in " ".join(child.cmdline()))
    (folder,) = folders(web)
    victim.send_signal(signal.SIGKILL)
    wait_until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, "it is dead")
    wait_until(
        lambda: value(scrape(system), REQUESTS) >= before and not list(folder.glob(f"*_{victim.pid}.db")),
        "its files are added up",
    )
    assert value(scrape(system), REQUESTS) >= before
    assert (folder / "histogram_ended.db").exists()


def folders(web: psutil.Process) -> list[Path]:
    """Where the workers of this master write."""
    exporters = [
        line for line in (child.cmdline() for child in web.children()) if "exporter.py" in " ".join(line)
    ]
    return [Path(line[line.index("--folder") + 1]) for line in exporters]


def test_an_exporter_that_died_is_back_with_the_next_worker(system: System) -> None:
    web = psutil.Process(system.process("web").popen.pid)
    old = next(child for child in web.children() if "exporter.py" in " ".join(child.cmdline()))
    old.kill()
    wait_until(lambda: not scrape(system), "it is gone")
    os.kill(web.pid, signal.SIGHUP)
    wait_until(lambda: scrape(system), "it is back")


def test_another_server_on_this_machine_has_a_port_and_counts_of_its_own(system: System) -> None:
    second = System(
        system.environment | {"METRICS_PORT": str(free_port())}, f"http://127.0.0.1:{free_port()}"
    )
    try:
        second.start_web()
        wait_until(lambda: scrape(second), "its metrics are served")
        assert value(scrape(second), REQUESTS, route="/api/market-rates") == 0
        web = psutil.Process(second.process("web").popen.pid)
        (folder,) = folders(web)
        assert folder not in folders(psutil.Process(system.process("web").popen.pid))
        exporter = next(child for child in web.children() if "exporter.py" in " ".join(child.cmdline()))
    finally:
        second.end()
    assert not exporter.is_running()
    wait_until(lambda: not folder.exists(), "nothing is left behind")


def test_nothing_of_it_is_public(system: System) -> None:
    assert requests.get(f"{system.url}/metrics", timeout=60).status_code == 404
    port = int(system.environment["METRICS_PORT"])
    exporter = next(
        child
        for child in psutil.Process(system.process("web").popen.pid).children()
        if "exporter.py" in " ".join(child.cmdline())
    )
    listening = {each.laddr for each in exporter.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    assert {tuple(address) for address in listening} == {("127.0.0.1", port)}


def test_every_name_has_the_prefix_a_unit_and_a_help() -> None:
    for metric in metrics.ALL:
        assert metric.name.startswith("bittrade_")
        assert metric.help.endswith(".")
        kind = type(metric)
        assert (kind is metrics.Counter) == metric.name.endswith("_total")
        assert (kind is metrics.Histogram) == metric.name.endswith("_seconds")


def test_without_a_port_there_is_neither_exporter_nor_folder(system: System) -> None:
    before = set(Path(tempfile.gettempdir()).glob("bittrade-metrics-*"))
    third = System(system.environment | {"METRICS_PORT": "0"}, f"http://127.0.0.1:{free_port()}")
    try:
        third.start_web()
        assert folders(psutil.Process(third.process("web").popen.pid)) == []
        assert set(Path(tempfile.gettempdir()).glob("bittrade-metrics-*")) <= before
    finally:
        third.end()
