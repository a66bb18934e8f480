"""The guides' examples, typed as they stand there against a live server: shell, Python and JavaScript, each guide from top to bottom."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import HERE, ROOT, System, running_system

GUIDES = ROOT / "docs" / "guides"
ADDRESS = "http://127.0.0.1:3001"
CLIENT = ROOT / "clients" / "python" / "src"
DEMO, DEMO_PASSWORD = re.findall(
    r'"email": "(\S+)", "password": "(\S+)"', (GUIDES / "getting-started.md").read_text()
)[0]
# What the examples of a guide must have shown, in this order.
SHOWN = {
    "getting-started": [
        r'"buy_rate_inr":\s*4095000',
        r'"inr_amount":\s*1000',
        r'"available_inr":\s*\d+',
        r"bought 24420 satoshis at 4095000",
        r"Logged in as",
        r"Bought ₿0\.00024420",
        r"MARKET_BUY",
    ],
    "idempotency": [
        r"HTTP/1.1 201",
        r"(?i)idempotent-replayed: true",
        r"idempotency_key_reused",
        r'"client_order_id":\s*"rent-of-july"',
        r"the same: True True",
    ],
    "prices-and-receipts": [
        r"buy 4095000 sell 3960000",
        r"refused, the price is 4095000",
        r"at the quote's rate: True",
        r"45000 x 91 = 4095000",
        r"follows from the receipt: True",
        r'"currency":\s*"inr"',
        r'"interval":\s*"15m"',
    ],
    "sockets-and-resume": [
        r"missed 1 DEPOSIT_INR",
        r"now at \d+ with nothing missing",
        r'"complete":\s*true',
        r"transaction 1 DEPOSIT_INR",
        r"caught up at \d+",
        r"buy at 4095000",
    ],
    "orders": [
        r'"status":\s*"OPEN"',
        r'"cancelled":\s*1',
        r"OPEN holds 1000 rupees",
        r"CANCELLED",
        r"it is CANCELLED already",
        r"plan ACTIVE WEEKLY 500",
        r"plan PAUSED",
    ],
    "limits": [
        r"(?i)x-ratelimit-limit: 100",
        r'"min_order_inr"',
        r'"BTC/INR"',
        r"an order is worth \d+ to \d+ rupees",
    ],
    "keys": [
        r'"available_inr"',
        r"insufficient_scope",
        r'"my bot"',
        r"it sees \d+ transactions",
        r"it may not trade: that needs \['trade'\]",
        r"it has ended",
    ],
}


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest, scratch_database: str, redis_url: str) -> Iterator[System]:
    limits = {"RATELIMIT_ENABLED": "true"}
    with running_system(scratch_database, redis_url, MAX_PRICE_AGE_S="3600", **limits) as system:
        system.start_simulator()
        system.set_source_price(45_000)
        system.start_web()
        system.flask("market", "fetch")
        person = {"email": DEMO, "password": DEMO_PASSWORD, "name": "Demo"}
        assert system.post("/api/auth/register", person).status_code == 201
        system.flask("balance", "deposit", DEMO, "--inr", "100000")
        yield system


def programs(guide: str) -> list[tuple[str, str]]:
    """Return (language, code) in the guide's order; what is typed into one terminal without a break is one script."""
    found: list[tuple[str, str]] = []
    text = (GUIDES / f"{guide}.md").read_text()
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language == "sh" and found and found[-1][0] == "sh":
            found[-1] = ("sh", found[-1][1] + code)
        else:
            found.append((language, code))
    return found


def command(language: str, code: str) -> list[str]:
    if language == "python":
        return [sys.executable, "-c", code]
    if language == "js":
        return ["node", "--input-type=module", "-e", code]
    typed = f'bittrade() {{ "{sys.executable}" -m bittrade_client "$@"; }}\n{code}'
    return ["bash", "-euc", typed.replace("curl -s", "curl -s -w '\\n'")]


def environment_of(system: System, guide: str, folder: Path) -> dict[str, str]:
    """Return what a reader has set; who begins has no token yet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BITTRADE_")}
    kept |= {
        "PYTHONPATH": str(CLIENT),
        "BITTRADE_LOGIN": str(folder / "login.json"),
        "BITTRADE_URL": system.url,
    }
    if guide == "getting-started":
        return kept
    answer = system.post("/api/auth/login", {"email": DEMO, "password": DEMO_PASSWORD})
    token = answer.json()["token"]
    return kept | {"TOKEN": token, "BITTRADE_TOKEN": token}


def test_every_guide_is_typed() -> None:
    assert {path.stem for path in GUIDES.glob("*.md")} == set(SHOWN)
    languages = {language for guide in SHOWN for language, _ in programs(guide)}
    assert languages == {"sh", "python", "js"}


@pytest.mark.needs("curl")
@pytest.mark.parametrize("guide", SHOWN)
def test_a_guide_s_examples_do_what_it_says(
    system: System, guide: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if any(language == "js" for language, _ in programs(guide)):
        request.getfixturevalue("_javascript")
        (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    environment, shown = environment_of(system, guide, tmp_path), ""
    for language, code in programs(guide):
        typed = subprocess.run(
            command(language, code.replace(ADDRESS, system.url)),
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert typed.returncode == 0, f"{code}\n{typed.stdout}\n{typed.stderr}"
        shown += typed.stdout
    rest = shown
    for expected in SHOWN[guide]:
        match = re.search(expected, rest)
        assert match, f"{expected!r} is not in\n{rest}"
        rest = rest[match.end() :]
