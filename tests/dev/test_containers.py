"""deploy/Containerfile and deploy/compose.yaml: what an image needs is in it, and each service is one that the docs name."""

import re
from typing import Any

import pytest
import yaml

from tests.fixtures import ROOT

CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()
OURS = ("upgrade", "web", "worker", "scheduler")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    return found


def test_the_image_has_all_that_the_programs_import() -> None:
    copied = re.findall(r"^COPY (?:--from=\S+ )?(\S+) \S+$", CONTAINERFILE, re.MULTILINE)
    assert {"*.py", "bittrade", "migrations", "requirements.txt", "/web/dist"} <= set(copied)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {"*", "!*.py", "!bittrade", "!migrations", "!requirements.txt", "!web"} <= set(ignored)


def test_nothing_runs_as_root_or_writes_into_the_image(services: dict[str, Any]) -> None:
    assert "\nUSER bittrade\n" in CONTAINERFILE
    for name in OURS:
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]


def test_each_process_of_the_deployment_is_there(services: dict[str, Any]) -> None:
    assert set(services) == {"database", "redis", *OURS}
    assert services["worker"]["command"] == ["python", "worker.py"]
    assert services["scheduler"]["command"] == ["python", "worker.py", "scheduler"]
    assert services["upgrade"]["command"] == ["flask", "--app", "wsgi", "db", "upgrade"]
    assert 'CMD ["gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]' in CONTAINERFILE


def test_nothing_is_open_to_the_world_and_no_secret_is_written_down(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:3001:3001"]
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    assert re.findall(r"(?i)password: +\"?(?!\$\{|yes)\w+", text) == []


def test_nothing_starts_before_the_tables_are_right(services: dict[str, Any]) -> None:
    for name in ("web", "worker", "scheduler"):
        assert services[name]["depends_on"]["upgrade"] == {"condition": "service_completed_successfully"}
    for name in ("database", "redis"):
        assert services[name]["healthcheck"]["test"][0] == "CMD"


def test_each_process_is_asked_whether_it_is_well(services: dict[str, Any]) -> None:
    assert services["worker"]["healthcheck"]["test"] == ["CMD", "python", "worker.py", "check-worker"]
    assert services["scheduler"]["healthcheck"]["test"] == ["CMD", "python", "worker.py", "check-scheduler"]
    assert "/api/health/live" in str(services["web"]["healthcheck"]["test"])
