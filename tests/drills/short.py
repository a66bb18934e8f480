"""Runs some of the short drills as a program, and judges what every one of them has to show."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 900  # it takes about a minute, unless the machine is busy with something else
GRACE_S = 60  # to take its servers down where it was too slow


def run(program: str, *words: str) -> str:
    """What a drill's program says; it must end well, and in time."""
    process = subprocess.Popen(
        [sys.executable, "-m", program, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    finally:
        process.terminate()  # it ends what it has started
        process.wait(GRACE_S)
    assert process.returncode == 0, said
    return said


def drill(names: str, out: Path) -> dict[str, Any]:
    """The report, in which nothing is wrong; how long it took is not judged."""
    run("drills", "--short", "--patient", "--seconds", "4", "--only", names, "--out", str(out))
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    assert (report["summary"]["lost"], report["summary"]["doubled"]) == (0, 0)
    assert all(invariant["ok"] for invariant in report["invariants"])
    return report
