"""docs/adr: each decision has a number of its own, says so in its title, and is dated."""

import re

from tests.fixtures import ROOT

DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))


def test_each_has_a_number_of_its_own() -> None:
    numbers = [path.name[:4] for path in DECISIONS]
    assert [number for number in numbers if numbers.count(number) > 1] == []


def test_each_says_its_number_and_its_date() -> None:
    for path in DECISIONS:
        title, _, rest = path.read_text().partition("\n")
        assert title.startswith(f"# {int(path.name[:4])}. "), path.name
        assert re.search(r"^(?:Accepted, |Status: .*)?20\d\d-\d\d-\d\d", rest, re.MULTILINE), path.name


def test_each_link_to_one_leads_somewhere() -> None:
    for page in [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
