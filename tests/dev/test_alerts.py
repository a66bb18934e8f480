"""What stands over the metrics: alerts that fire when they should, a section of the runbook each, and a dashboard."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask

from bittrade import metrics
from bittrade.jobs import gauges as job_gauges
from bittrade.services.gauges import Standing
from tests.fixtures import ROOT

ALERTS = ROOT / "deploy" / "alerts.yml"
TESTS = Path(__file__).with_name("alerts.test.yml")
DASHBOARD = ROOT / "deploy" / "grafana.json"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
OWN_OF_PROMETHEUS = {"up"}
_NAME = re.compile(r"\b(?:bittrade|rq)_\w+")


def alerts() -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    return shown + [rule["expr"] for rule in alerts().values()]


@pytest.fixture
def served(app: Flask) -> set[str]:
    """Every name that the exporter may serve."""
    with app.app_context():
        families = [*Standing(app, [job_gauges.collect]).collect()]
    names = {metric.name for metric in metrics.ALL}
    names |= {
        f"{metric.name}_{part}"
        for metric in metrics.ALL
        if isinstance(metric, metrics.Histogram)
        for part in ("bucket", "count", "sum")
    }
    suffix = {"counter": "_total", "info": "_info"}
    return (
        names
        | {family.name + suffix.get(family.type, "") for family in families}
        | {
            "bittrade_price_age_seconds",  # not served before there is a price, a proof, a scheduler
            "bittrade_ledger_proof_age_seconds",
            "bittrade_jobs_overdue",
        }
    )


@pytest.mark.needs("promtool")
def test_alerts_are_rules_and_fire_when_they_should(tmp_path: Path) -> None:
    for path in (ALERTS, TESTS):
        shutil.copy(path, tmp_path)
    for command in (["check", "rules", ALERTS.name], ["test", "rules", TESTS.name]):
        done = subprocess.run(
            ["promtool", *command], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_seen_to_fire() -> None:
    expected = set(re.findall(r'alertname="(\w+)"', TESTS.read_text()))
    assert expected == set(alerts())


@pytest.mark.parametrize("name", alerts())
def test_each_alert_has_a_section_that_says_what_to_type(name: str) -> None:
    assert alerts()[name]["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
    section = RUNBOOK.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert "```\n" in section
    assert len(section.partition("```")[0].split()) >= 10  # what it means, before what to type


def test_each_section_is_of_an_alert() -> None:
    assert set(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)) == set(alerts())


def test_alerts_and_dashboard_ask_for_what_is_served(served: set[str]) -> None:
    asked = {name for text in expressions() for name in _NAME.findall(text)} - OWN_OF_PROMETHEUS
    assert asked - served == set()


def test_the_dashboard_shows_every_metric(served: set[str]) -> None:
    shown = {name for text in expressions() for name in _NAME.findall(text)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in served} - families == set()


def test_commands_of_the_runbook_exist(app: Flask) -> None:
    for line in re.findall(r"flask --app wsgi ([a-z ]+[a-z])", RUNBOOK):
        command: Any = app.cli
        for word in line.split():
            commands = getattr(command, "commands", None)
            if commands is None:
                break
            assert word in commands or word == "db", f"flask --app wsgi {line}"
            if word == "db":
                break
            command = commands[word]


def test_doctor_tells_of_metrics_that_the_network_can_read(new_app: Callable[..., Flask]) -> None:
    def findings(**settings: object) -> str:
        return new_app(**settings).test_cli_runner().invoke(args=["doctor"]).output

    assert "METRICS_HOST is 0.0.0.0" in findings(METRICS_PORT=9464, METRICS_HOST="0.0.0.0")
    assert "METRICS_HOST" not in findings(METRICS_PORT=9464)
    assert "METRICS_HOST" not in findings(METRICS_HOST="0.0.0.0")
