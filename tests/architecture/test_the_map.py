"""docs/architecture.md: every room of the package is on the map, and everything on the map is there."""

import re

from tests.fixtures import ROOT

MAP = (ROOT / "docs" / "architecture.md").read_text()


def test_every_room_is_on_the_map() -> None:
    package = ROOT / "bittrade"
    rooms = [f"bittrade/{path.name}" for path in package.glob("*.py") if path.name != "__init__.py"]
    rooms += [f"bittrade/{path.parent.name}/" for path in package.glob("*/__init__.py")]
    assert [room for room in rooms if f"`{room}`" not in MAP] == []


def test_everything_on_the_map_is_there() -> None:
    named = [path for path in re.findall(r"`([\w./]+)`", MAP) if "/" in path or path.endswith(".py")]
    roots = (ROOT, ROOT / "bittrade", ROOT / "bittrade" / "services" / "trade")
    assert len(named) > 50
    assert [path for path in named if not any((root / path).exists() for root in roots)] == []
