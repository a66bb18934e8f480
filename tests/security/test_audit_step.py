"""`make audit`: it finds a secret that was committed, reports a known hole, and says aloud what it could not do."""

import json
from pathlib import Path

import pytest

from dev import audit
from tests.fixtures import ROOT

# Put together here, so that this file holds none.
PLANTED = {
    "an AWS key": "AKIA" + "IOSFODNN7" + "EXAMPLX",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a JSON Web Token": ".".join(["eyJhbGciOiJI" + "UzI1NiJ9", "eyJpZCI6MX0", "c2lnbmF0dXJl" * 2]),
    "a password in a URL": "mysql://root:" + "hunter2hunter2" + "@db.example/x",
}


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("where", ["settings.py", "tests/test_x.py", "docs/x.md"])
def test_a_planted_secret_is_found(tmp_path: Path, name: str, where: str) -> None:
    file = tmp_path / where
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'x = 1\ny = "{PLANTED[name]}"\n')
    assert [line.partition(": ")[0] for line in audit.find_secrets(tmp_path, [where])] == [f"{where}:2"]


def test_no_secret_is_in_this_repository() -> None:
    assert audit.find_secrets(ROOT, audit.list_files(ROOT)) == []


def test_a_known_hole_is_reported() -> None:
    good = {"name": "flask", "version": "3.1.3", "vulns": []}
    bad = {"name": "old", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
    unknown = {"name": "ours", "skip_reason": "not found"}
    holes, summary = audit.judge({"dependencies": [good, bad, unknown]})
    assert holes == ["old 1.0: PYSEC-1, mended in 1.1"]
    assert summary == "2 packages looked up, 1 unknown to the feed, 1 known holes"


@pytest.mark.parametrize("report", [None, {"dependencies": [{"name": "x", "skip_reason": "not found"}]}])
def test_without_a_feed_it_says_so_aloud(report: dict | None) -> None:
    holes, summary = audit.judge(report)
    assert holes == []
    assert summary.startswith("SKIPPED")


def test_every_dependency_is_locked_with_hashes_and_in_the_bill() -> None:
    for name in ("requirements.txt", "requirements-run.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        packages = [line for line in text.splitlines() if line[:1].isalnum()]
        assert packages
        assert all("==" in line and line.endswith("\\") for line in packages)
        assert "--hash=sha256:" in text
        assert "file://" not in text
    count = audit.write_bill()
    assert count == sum(line[:1].isalnum() for line in (ROOT / "requirements.txt").read_text().splitlines())
    assert json.loads((ROOT / audit.SBOM).read_text())["bomFormat"] == "CycloneDX"


def test_each_secret_that_is_printed_on_purpose_is_still_there() -> None:
    assert [name for name, _ in audit.PRINTED if not (ROOT / name).exists()] == []
