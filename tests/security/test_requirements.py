"""docs/security.md: every requirement names tests, and every test named there exists."""

import re

from tests.fixtures import ROOT
from tests.naming import TEST, names_in

ROW = re.compile(r"^\| (S\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NOT_YET = "not yet shown"
MAY_WAIT = {"S25", "S26"}  # the sockets' own; to be taken out as they are shown


def table() -> dict[str, str]:
    rows = ROW.findall((ROOT / "docs" / "security.md").read_text())
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: shown for name, _, shown in rows}


def test_the_table_has_every_requirement_once() -> None:
    assert list(table()) == [f"S{number}" for number in range(1, 42)]


def test_every_requirement_is_shown_by_a_test_that_exists() -> None:
    for name, shown in table().items():
        named = TEST.findall(shown)
        if NOT_YET in shown:
            assert name in MAY_WAIT, name
            continue
        assert named, name
        assert TEST.sub("", shown).strip() == "", f"{name}: {shown}"
        for path, test in named:
            assert test in names_in(path), f"{name} names {path}::{test}"
