"""docs/specification.md: every row names tests and files that exist, or says why something is done otherwise."""

import re

from tests.fixtures import ROOT
from tests.naming import TEST, names_in

ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
OTHERWISE = "otherwise: "


def rows() -> list[tuple[str, ...]]:
    found = ROW.findall((ROOT / "docs" / "specification.md").read_text())
    return [row for row in found if row[0] != "the document"]


def test_every_line_is_shown_by_a_test_that_exists_or_has_a_reason() -> None:
    assert len(rows()) > 80
    for line, _, _, shown in rows():
        if shown.startswith(OTHERWISE):
            continue
        named = TEST.findall(shown)
        assert named, line
        assert TEST.sub("", shown).strip() == "", f"{line}: {shown}"
        for path, test in named:
            assert test in names_in(path), f"{line} names {path}::{test}"


def test_every_line_is_where_it_says() -> None:
    for line, _, where, _ in rows():
        for path in re.findall(r"`([^`]+)`", where):
            assert (ROOT / path).exists(), f"{line} names {path}"
