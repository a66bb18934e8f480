"""The README's own examples, typed as they stand there, against two workers: a reader's first minutes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import HERE, ROOT, System, running_system, wait_until

README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:3001"
EMAIL, DEMO_PASSWORD = re.findall(r'"email": "(\S+)", "password": "(\S+)"', README)[0]


def example(heading: str) -> str:
    """Return the first block of code below a heading."""
    block = re.search(rf"^## {heading}$.*?^```\w*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert block, heading
    return block[1]


@pytest.fixture(scope="module")
def system(scratch_database: str, redis_url: str) -> Iterator[System]:
    workers = 1 if scratch_database.startswith("sqlite") else 2
    with running_system(scratch_database, redis_url, MAX_PRICE_AGE_S="600") as system:
        system.start_simulator()
        system.start_web(workers=workers)
        system.flask("market", "fetch")
        person = {"email": EMAIL, "password": DEMO_PASSWORD, "name": "Demo"}
        assert system.post("/api/auth/register", person).status_code == 201
        system.flask("balance", "deposit", EMAIL, "--inr", "10000")
        yield system


def trade_by_curl(system: System) -> list[str]:
    """Type the README's lines; return what each showed, and the token that they left."""
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    lines = example("A trade by curl").replace(ADDRESS, system.url).replace("curl -s", "curl -s -w '\\n'")
    typed = subprocess.run(
        ["bash", "-euc", f"{lines}\necho $TOKEN"], capture_output=True, text=True, timeout=300, check=False
    )
    assert typed.returncode == 0, typed.stderr
    return typed.stdout.splitlines()


def test_the_curl_example_trades(system: System) -> None:
    rates, trade, _ = trade_by_curl(system)
    assert json.loads(rates)["buy_rate_inr"] > 0
    assert json.loads(trade)["updated_balance"]["available_inr"] == 9_000


@pytest.mark.usefixtures("_javascript")
def test_the_socket_example_shows_rates_and_balances(system: System, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    (tmp_path / "live.mjs").write_text(example("Live, by socket").replace(ADDRESS, system.url))
    token = trade_by_curl(system)[-1]
    headers = {"Authorization": f"Bearer {token}"}
    in_hand = requests.get(f"{system.url}/api/balance", headers=headers, timeout=60).json()["available_inr"]
    with (tmp_path / "shown").open("w+") as shown:
        node = subprocess.Popen(
            ["node", "live.mjs"], cwd=tmp_path, env=system.environment | {"TOKEN": token}, stdout=shown
        )
        try:
            wait_until(lambda: f"{in_hand} " in (tmp_path / "shown").read_text(), "the balance is shown")
            trade_by_curl(system)
            wait_until(lambda: f"{in_hand - 1000} " in (tmp_path / "shown").read_text(), "the trade is shown")
        finally:
            node.kill()
            node.wait()
    rates = system.rates()
    assert f"{rates['buy_rate_inr']} {rates['sell_rate_inr']}\n" in (tmp_path / "shown").read_text()
