"""The short drill, end to end: real servers, kills, and the checker's verdict."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from drills.__main__ import read_arguments
from drills.plan import make_plan
from tests.drills.short import GRACE_S, LIMIT_S, ROOT, drill, run


@pytest.mark.needs("mariadbd")
@pytest.mark.needs("mariadb-install-db")
@pytest.mark.timeout(LIMIT_S + 2 * GRACE_S)
def test_the_short_drill_loses_doubles_and_invents_nothing(tmp_path: Path) -> None:
    report = drill("L1,L4,F3,F10,F11", tmp_path)
    kills = {drill["drill"]: drill["kills"] for drill in report["drills"]}
    assert kills["F3"] >= 1
    assert report["summary"]["trades"] > 300


@pytest.mark.needs("mariadbd")
@pytest.mark.needs("mariadb-install-db")
@pytest.mark.timeout(LIMIT_S + 2 * GRACE_S)
def test_a_switch_over_loses_nothing_and_serves_nothing_old(tmp_path: Path) -> None:
    report = drill("F13", tmp_path)
    assert [done["drill"] for done in report["drills"]] == ["F13"]
    assert report["summary"]["trades"] > 20


@pytest.mark.needs("mariadbd")
@pytest.mark.needs("mariadb-install-db")
@pytest.mark.timeout(LIMIT_S + 2 * GRACE_S)
def test_orders_end_in_one_way_while_everything_is_killed() -> None:
    said = run("drills.orders", "--short", "--orders", "150", "--seconds", "12")
    assert said.endswith("passed\n")


def test_without_mariadb_it_says_so_and_exits_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "drills", "--short"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "MariaDB is not installed here" in done.stderr


def test_the_same_seed_sends_the_same_orders() -> None:
    plans = [
        make_plan(random.Random(seed), users=50, trades_per_second=100, seconds=20)  # noqa: S311
        for seed in (1, 1, 2)
    ]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


def test_a_plan_has_hot_users_replays_and_orders_to_be_refused() -> None:
    plan = make_plan(random.Random(1), users=50, trades_per_second=100, seconds=100)  # noqa: S311
    assert len(plan) == 10_000
    assert 0.79 < sum(order.user < 5 for order in plan) / len(plan) < 0.85
    assert 0.04 < 1 - len({order.key for order in plan}) / len(plan) < 0.06
    assert 0.02 < sum(order.expects == "refused" for order in plan) / len(plan) < 0.06
    assert [order.at_s for order in plan] == sorted(order.at_s for order in plan)


def test_an_unknown_drill_is_refused() -> None:
    with pytest.raises(SystemExit) as left:
        read_arguments(["--only", "L1,F99"])
    assert left.value.code == 2
