"""A Galera node that answers everything with 1047, as one without quorum does: `wsrep_reject_queries` has it do so."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from bittrade.services import health
from dev.services import free_port
from drills.mariadb import PrivateMariaDB
from tests.fixtures import new_user, set_price, wait_until

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
pytestmark = [
    pytest.mark.needs("mariadbd"),
    pytest.mark.skipif(not PROVIDER.exists(), reason="needs galera-4"),
]
ORDER = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}


@pytest.fixture
def node(new_server: Callable[..., PrivateMariaDB]) -> PrivateMariaDB:
    """A cluster of one."""
    port = free_port()
    return new_server(
        wsrep_on="ON",
        wsrep_provider=PROVIDER,
        wsrep_cluster_name="drill",
        wsrep_cluster_address="gcomm://",
        wsrep_node_address=f"127.0.0.1:{port}",
        wsrep_provider_options=f"gmcast.listen_addr=tcp://127.0.0.1:{port};gcache.size=8M",
        binlog_format="ROW",
        innodb_autoinc_lock_mode=2,
        innodb_log_file_size="16M",
        innodb_buffer_pool_size="64M",
    )


def test_a_node_that_is_not_ready_serves_nothing_and_is_back_at_once(
    node: PrivateMariaDB, app_on: Callable[[str], Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_REMEMBERED_S", 0.0)
    app = app_on(node.url)
    set_price(app)
    user, client = new_user(app, inr=10_000), app.test_client()
    assert client.post("/api/trade", json=ORDER, headers=user.headers).status_code == 201

    node.administer("SET GLOBAL wsrep_reject_queries = 'ALL'")
    for path in ("/api/balance", "/api/transactions", "/api/health"):
        assert client.get(path, headers=user.headers).status_code == 503, path
    assert client.post("/api/trade", json=ORDER, headers=user.headers).status_code == 503

    node.administer("SET GLOBAL wsrep_reject_queries = 'NONE'")
    wait_until(lambda: client.get("/api/health").status_code == 200, timeout_s=30)
    assert client.post("/api/trade", json=ORDER, headers=user.headers).status_code == 201
    assert client.get("/api/balance", headers=user.headers).get_json()["seq"] == 3
