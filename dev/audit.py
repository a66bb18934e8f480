"""`make audit`: is a secret committed, does a dependency have a known hole, and what is this made of.

A secret or a known hole ends it with status 1. Where no advisory feed can be reached it says so, aloud, and goes on: a
machine without a network must be able to run it. The bill of materials is CycloneDX JSON, from the hashed lock file.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings

ROOT = Path(__file__).resolve().parent.parent
LOCK = "requirements.txt"
SBOM = "build/sbom.json"
FEED_TIMEOUT_S = 120
# Hashes of packages look like secrets and are none.
UNREAD = (
    "requirements.txt",
    "requirements-run.txt",
    "requirements-extras.txt",
    "requirements-dev.txt",
    "package-lock.json",
)
# Where passwords are invented for people who do not exist. A real key or token is found there too.
INVENTED = ("tests/", "drills/", "bench/")
# Printed on purpose, each for its reason.
PRINTED = {
    (".env.example", "Basic Auth Credentials"): "shows the form of a URL",
    ("README.md", "Secret Keyword"): "the demo user of make run",
    ("config.py", "Secret Keyword"): "the development secret, which production refuses",
    ("dev/run.py", "Secret Keyword"): "the demo user of make run",
    ("bittrade/services/node_import/source.py", "Basic Auth Credentials"): "shows the form of a URL",
    ("database_url.py", "Basic Auth Credentials"): "shows the form of a URL",
    ("docs/migrating.md", "Basic Auth Credentials"): "shows the form of a URL",
    ("bittrade/api/examples.py", "Secret Keyword"): "the demo user's, and passwords that nobody has",
    ("docs/deployment.md", "Basic Auth Credentials"): "shows the form of a URL",
    ("docs/guides/getting-started.md", "Secret Keyword"): "the demo user of make run",
    ("deploy/compose.yaml", "Secret Keyword"): "names the variables of .env",
    ("redis_address.py", "Basic Auth Credentials"): "shows the form of a URL",
    ("tests/architecture/test_redis_address.py", "Basic Auth Credentials"): "shows the forms of URLs",
    (
        "tests/services/test_telemetry.py",
        "JSON Web Token",
    ): "a token that nobody signed, which must not be in any log",
    ("tests/architecture/test_configuration.py", "Basic Auth Credentials"): "shows the form of a URL",
    ("tests/database/test_url.py", "Basic Auth Credentials"): "shows the forms of URLs",
    ("tests/services/test_idempotency.py", "Hex High Entropy String"): "hashes of orders that nobody placed",
    ("tests/services/test_installations.py", "Basic Auth Credentials"): "installations that do not exist",
    ("tests/api/test_access.py", "JSON Web Token"): "an unsigned token, which must be refused",
    ("tests/security/test_http.py", "Basic Auth Credentials"): "passwords that documents print",
}


def find_secrets(folder: Path, names: Iterable[str]) -> list[str]:
    """file:line and kind of whatever looks like a secret and is not one of ours that are printed on purpose."""
    found = []
    with default_settings():
        for name in names:
            if Path(name).name in UNREAD or not (folder / name).is_file():
                continue
            for secret in scan_file(str(folder / name)):
                is_invented = secret.type == "Secret Keyword" and name.startswith(INVENTED)
                if not is_invented and (name, secret.type) not in PRINTED:
                    found.append(f"{name}:{secret.line_number}: {secret.type}")
    return found


def list_files(folder: Path) -> list[str]:
    """What is in git, and what would be with the next `git add .`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def ask_advisories() -> dict[str, Any] | None:
    """What pip-audit knows of each locked package; None where no feed answers."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "-r",
        LOCK,
        "--disable-pip",
        "--format",
        "json",
        "--timeout",
        "10",
    ]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=FEED_TIMEOUT_S, check=False
        )
        report: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None
    return report


def judge(report: dict[str, Any] | None) -> tuple[list[str], str]:
    """The known holes, and one line about how much was looked at."""
    packages = [] if report is None else report["dependencies"]
    asked = [package for package in packages if "skip_reason" not in package]
    if not asked:
        return [], "SKIPPED: no advisory feed can be reached from here, so no dependency was looked up"
    holes = [
        f"{package['name']} {package['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'none yet'}"
        for package in asked
        for hole in package["vulns"]
    ]
    missed = len(packages) - len(asked)
    return holes, f"{len(asked)} packages looked up, {missed} unknown to the feed, {len(holes)} known holes"


def write_bill() -> int:
    """Write the bill of materials; how many components it names."""
    path = ROOT / SBOM
    path.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", LOCK, "--of", "JSON", "-o", str(path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return len(json.loads(path.read_text())["components"])


def main() -> int:
    secrets = find_secrets(ROOT, list_files(ROOT))
    print(f"secrets: {len(secrets)} found", *secrets, sep="\n  ")
    holes, summary = judge(ask_advisories())
    print(f"dependencies: {summary}", *holes, sep="\n  ")
    print(f"bill of materials: {SBOM}, {write_bill()} components")
    return 1 if secrets or holes else 0


if __name__ == "__main__":
    sys.exit(main())
