"""The command `bittrade` against a live server: each command, for people and with --json."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import bittrade
from tests.e2e.conftest import PASSWORD, Person, System


class Typist:
    """Types commands as somebody who is logged in."""

    def __init__(self, person: Person, folder: Path) -> None:
        self.person, self.folder, self.url = person, folder, person.system.url

    def __call__(self, *arguments: str, **more: Any) -> str:
        return bittrade(*arguments, url=self.url, folder=self.folder, **more)

    def json(self, *arguments: str, **more: Any) -> Any:
        return json.loads(self(*arguments, "--json", **more))


@pytest.fixture(scope="module")
def person(new_person: Callable[[int], Person]) -> Person:
    return new_person(100_000)


@pytest.fixture
def typed(person: Person, tmp_path: Path) -> Typist:
    typist = Typist(person, tmp_path)
    typist("login", person.email, "--password-stdin", text=f"{PASSWORD}\n")
    return typist


def test_the_token_is_kept_in_a_file_of_its_owner_alone(typed: Typist, person: Person) -> None:
    kept = typed.folder / "login.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    said = json.loads(kept.read_text())
    assert (said["url"], said["email"]) == (person.system.url, person.email)
    assert PASSWORD not in kept.read_text()
    assert typed.json("balance")["available_inr"] > 0
    kept.chmod(0o644)
    assert "may be read by others" in typed("balance", status=1)
    kept.chmod(0o600)
    typed("logout")
    assert not kept.exists()
    assert typed.json("balance", status=1)["code"] == "token_missing"


def test_a_token_goes_to_no_other_server(typed: Typist) -> None:
    other = typed.json("balance", "--url", typed.url.replace("127.0.0.1", "localhost"), status=1)
    assert other["code"] == "token_missing"


def test_a_wrong_password_is_said_so(person: Person, tmp_path: Path) -> None:
    typist = Typist(person, tmp_path)
    said = typist("login", person.email, "--password-stdin", text="wrong\n", status=1)
    assert "Invalid email or password" in said
    assert list(tmp_path.iterdir()) == []


def test_price_and_quote(typed: Typist) -> None:
    rates = typed.json("price")
    assert rates["buy_rate_inr"] > rates["sell_rate_inr"]
    assert "buy ₹40,95,000  sell ₹39,60,000" in typed("price")
    assert "\x1b" not in typed("price")  # no terminal, no colours
    held = typed.json("quote")
    done = typed.json("buy", "1000", "inr", "--quote", held["quote_id"])
    assert (done["inr_amount"], done["quote_id"]) == (1000, held["quote_id"])
    assert "--quote" in typed("quote")


def test_buying_and_selling(typed: Typist) -> None:
    assert "Would buy ₿" in typed("buy", "1000", "inr", "--preview")
    assert "Bought ₿0.00050000 for ₹" in typed("buy", "0.0005", "btc")
    first = typed.json("sell", "100", "inr", "--id", "from-the-shell-1")
    again = typed.json("sell", "100", "inr", "--id", "from-the-shell-1")
    assert first["id"] == again["id"]
    refused = typed.json("buy", "99999999", "inr", status=1)
    assert (refused["code"], "error" in refused) in [
        ("insufficient_funds", True),
        ("order_out_of_range", True),
    ]
    assert "bittrade: " in typed("buy", "0.5", "inr", status=1)
    typed("buy", "many", "inr", status=2)


def test_orders(typed: Typist) -> None:
    order = typed.json("buy", "500", "inr", "--limit", "3500000")
    assert order["status"] == "OPEN"
    assert str(order["id"]) in typed("orders")
    assert [each["id"] for each in typed.json("orders", "--status", "OPEN")["orders"]] == [order["id"]]
    assert "CANCELLED" in typed("orders", "cancel", str(order["id"]))
    assert typed.json("orders", "cancel", str(order["id"]), status=1)["code"] == "order_not_open"
    assert typed.json("orders", "cancel-all")["orders"] == []
    assert "needs an id" in typed("orders", "cancel", status=1)


def test_plans(typed: Typist) -> None:
    plan = typed.json("plans", "create", "--inr", "500", "--every", "week", "--runs", "2")
    assert (plan["frequency"], plan["amount_per_execution_inr"]) == ("WEEKLY", 500)
    number = str(plan["id"])
    assert "PAUSED" in typed("plans", "pause", number)
    assert typed.json("plans", "resume", number)["status"] == "ACTIVE"
    assert typed.json("plans", "runs", number) == {"runs": []}
    assert "DCA_BUY" in typed("plans")
    assert "ended" in typed("plans", "end", number)


def test_history_export_and_receipt(typed: Typist) -> None:
    trade = typed.json("buy", "1000", "inr")
    assert "-₹1,000" in typed("history", "--limit", "3")
    assert typed.json("history", "--limit", "1")["transactions"][0]["id"] == trade["id"]
    shown = typed("receipt", str(trade["id"]))
    assert "The trade follows from it" in shown
    assert typed.json("receipt", str(trade["id"]))["recomputed"] is True
    assert typed("export").rstrip().splitlines()[-1].startswith("# end of export")
    out = typed.json("export", "--ledger", "--output", "ledger.csv")
    lines = (typed.folder / "ledger.csv").read_text().splitlines()
    assert out == {"rows": len(lines) - 2, "file": "ledger.csv"}
    rows = [json.loads(line) for line in typed("export", "--json").splitlines()]
    assert rows[0]["id"] == trade["id"]
    assert "available   ₹" in typed("balance")


def test_watching(typed: Typist) -> None:
    seq = typed.json("balance")["seq"]
    trade = typed.json("buy", "100", "inr")
    lines = typed("watch", "--after", str(seq), "--count", "4", "--json").splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events[:3]] == ["transaction", "balance", "connected"]
    assert (events[0]["id"], events[3]["event"]) == (trade["id"], "price")
    assert "MARKET_BUY" in typed("watch", "--after", str(seq), "--count", "2", "--poll", "0.1")


def test_nobody_needs_a_token_for_prices(system: System, tmp_path: Path) -> None:
    assert "buy ₹" in bittrade("price", url=system.url, folder=tmp_path)
    said = bittrade("watch", "--count", "2", url=system.url, folder=tmp_path)
    assert said.splitlines()[0] == "connected"


def test_help_names_every_command(tmp_path: Path) -> None:
    said = bittrade("--help", url="http://127.0.0.1:9", folder=tmp_path)
    for name in ("login", "price", "watch", "quote", "buy", "sell", "orders", "plans", "balance"):
        assert f"    {name} " in said
    for name in ("history", "export", "receipt", "logout"):
        assert f"    {name} " in said
