"""Which tests a document names, and whether they are there."""

import ast
import re
from functools import cache

from tests.fixtures import ROOT

TEST = re.compile(r"`([a-z0-9_/]+\.py)::(test_\w+)`")


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the tests of a file below tests/."""
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
