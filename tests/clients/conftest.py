"""A live server for the client's tests, and how its commands are typed."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from bittrade_client import Client, Retry

from tests.e2e.conftest import ROOT, Person, System, running_system

SOURCE = ROOT / "clients" / "python" / "src"
PATIENT = Retry(attempts=1000, for_s=240, first_pause_s=0.05, longest_pause_s=0.5)


@pytest.fixture(scope="package")
def system(request: pytest.FixtureRequest, surroundings: Any, redis_url: str) -> Iterator[System]:
    """A web process, a source of prices and a first price: MariaDB where it answers, else SQLite."""
    url = request.getfixturevalue("new_mariadb" if surroundings.database_version else "new_sqlite")()
    with running_system(url, redis_url, MAX_PRICE_AGE_S="3600") as system:
        system.start_simulator()
        system.set_source_price(45_000)  # a buyer pays 4,095,000 rupees
        system.start_web()
        system.flask("market", "fetch")
        yield system


@pytest.fixture(scope="package")
def new_person(system: System) -> Callable[[int], Person]:
    """Register somebody who has so many rupees: from one rich user, as a command of the operators' takes seconds."""
    rich = client_of(system.new_person(inr=10_000_000))

    def make(inr: int) -> Person:
        person = system.new_person()
        rich.send(person.email, inr=inr)
        return person

    return make


def kill_web(system: System) -> None:
    """As a machine that lost its power: the newest web process and its workers, by SIGKILL."""
    web = [process for process in system.processes if process.name == "web"][-1]
    family = [psutil.Process(web.popen.pid), *web.children()]
    for process in family:
        process.kill()
    web.popen.wait()
    psutil.wait_procs(family, timeout=30)


def client_of(person: Person, url: str | None = None) -> Client:
    return Client(url or person.system.url, person.token, retry=PATIENT)


def bittrade(
    *arguments: str, url: str, folder: Path, token: str = "", text: str = "", status: int = 0
) -> str:
    """Type a command; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BITTRADE_")}
    environment |= {
        "PYTHONPATH": str(SOURCE),
        "BITTRADE_URL": url,
        "BITTRADE_LOGIN": str(folder / "login.json"),
    }
    if token:
        environment["BITTRADE_TOKEN"] = token
    typed = subprocess.run(
        [sys.executable, "-m", "bittrade_client", *arguments],
        env=environment,
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert typed.returncode == status, typed.stdout + typed.stderr
    return typed.stdout if status == 0 or "--json" in arguments else typed.stderr
