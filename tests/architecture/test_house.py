"""The house rules that a machine can check: which way imports point, where gevent patches, where floats may be."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from importlinter.cli import lint_imports

from tests.fixtures import MIGRATIONS, ROOT

PACKAGE = ROOT / "bittrade"
OURS = [PACKAGE, ROOT / "dev", ROOT / "tests", ROOT / "migrations", *ROOT.glob("*.py")]
# Where a float would be money. Percentages, times and addresses of the market's data may be floats.
MONEY = [
    *(
        path for path in sorted((PACKAGE / "domain").glob("*.py")) if path.name != "upstream.py"
    ),  # counts calls
    *(PACKAGE / "services" / name for name in ("funds.py", "transfers.py", "user_data.py")),
    *sorted((PACKAGE / "services" / "trade").glob("*.py")),
    *sorted((PACKAGE / "services" / "ledger").glob("*.py")),
    *sorted((PACKAGE / "models").glob("*.py")),
]


def sources(*places: Path) -> Iterator[tuple[Path, ast.Module]]:
    for place in places:
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if path.exists() and "node_modules" not in path.parts:
                yield path.relative_to(ROOT), ast.parse(path.read_text())


def test_imports_point_the_way_the_architecture_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    # It would silence every logger that there is, for all tests that come after this one.
    monkeypatch.setattr("importlinter.cli.logging_config.dictConfig", lambda settings: None)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def hidden_imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(function, module of ours) for each import inside a function."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or "."] if not node.level else ["."]
                yield from ((function.name, name) for name in names if name.split(".")[0] in ("bittrade", ""))


def test_no_import_of_ours_hides_inside_a_function() -> None:
    hidden = {
        (str(path), function, name)
        for path, tree in sources(PACKAGE)
        for function, name in hidden_imports(tree)
        if (str(path), function) != ("bittrade/__init__.py", "create_app")
    }
    assert hidden == set()


def test_the_search_for_hidden_imports_finds_them() -> None:
    tree = ast.parse(
        "def f():\n    from bittrade import api\n    import bittrade.cli\n    import json\n    from . import x\n"
    )
    assert [name for _, name in hidden_imports(tree)] == ["bittrade", "bittrade.cli", "."]


def calls(tree: ast.Module, name: str) -> list[ast.Call]:
    """Calls of name(...) and of anything.name(...)."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    ]


def test_gevent_patches_in_one_place_alone() -> None:
    patching = {str(path) for path, tree in sources(*OURS) if calls(tree, "patch_all")}
    assert patching == {"gunicorn.conf.py"}
    first = [ast.unparse(node) for node in ast.parse((ROOT / "gunicorn.conf.py").read_text()).body[:2]]
    assert first == ["from gevent import monkey", "monkey.patch_all()"]


@pytest.mark.parametrize("path", MONEY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_float_is_made_where_money_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not calls(tree, "float")
    literals = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is float
    ]
    assert not literals
    divisions = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    ]
    assert not divisions


def test_every_module_says_what_it_is_for() -> None:
    silent = {str(path) for path, tree in sources(PACKAGE, *ROOT.glob("*.py")) if not ast.get_docstring(tree)}
    assert silent - {"gunicorn.conf.py"} == set()


def test_no_guard_is_an_assert() -> None:
    """`python -O` would take it away."""
    guards = {
        str(path)
        for path, tree in sources(PACKAGE)
        if any(isinstance(node, ast.Assert) for node in ast.walk(tree))
    }
    assert guards == set()


def test_the_migrations_have_one_head_and_one_root() -> None:
    scripts = ScriptDirectory(MIGRATIONS)
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1


def test_no_test_hook_lives_in_the_package() -> None:
    """What the tests need they bring along: the server must not behave otherwise because pytest looks at it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        assert "pytest" not in text.lower().replace("pytest.mark", ""), path
        assert "PYTEST_CURRENT_TEST" not in text, path
    assert "PYTEST_CURRENT_TEST" in os.environ
