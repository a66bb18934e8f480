"""`make mutants`: do the tests notice small changes? Each is made in a copy of the code, one at a time.

    make mutants ARGS="--sample 200"         so many places, always the same for one --seed
    make mutants ARGS="--only auth,limits"   some groups

cosmic-ray knows the changes; here is which modules are changed, and which tests have to notice: a few quick ones for
each group, so a survivor may still be known to a slower one. It prints the survivors and a score for each group, and ends
with status 1 below 95 %. It runs on what the tests find (MariaDB, Redis), one change after the other.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray import mutating, plugins
from cosmic_ray.ast import ast_nodes, get_ast

ROOT = Path(__file__).resolve().parent.parent
GOAL = 0.95
NEVER = 0
BOOKS = (
    "services/test_plain_trades",
    "services/test_ledger",
    "services/test_proof",
    "services/test_tampering",
)
MONEY = ("api/test_trade", "money/test_quotes", "money/test_conditions", "money/test_corrections_and_halts")
PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "domain": (
        tuple(f"domain/{name}" for name in ("money", "pricing", "trading", "ledger", "transaction_types")),
        ("domain", "services/test_plain_trades"),
    ),
    "figures": (
        tuple(f"domain/{name}" for name in ("consensus", "names", "addresses", "tally", "orders", "plans")),
        ("domain",),
    ),
    "loans": (("domain/loans",), ("domain/test_loans",)),
    "proof": (("domain/proof", "domain/plain_trades", "domain/chain", "domain/receipt"), BOOKS),
    "books": (
        tuple(f"services/ledger/{name}" for name in ("posting", "reading", "ranges", "evidence", "proof")),
        (*BOOKS, "services/test_balance_bound", "api/test_transfers"),
    ),
    "trade": (
        tuple(f"services/trade/{name}" for name in ("execution", "instruction", "placing", "together")),
        (*MONEY, "services/test_trades_together", "services/test_idempotency"),
    ),
    "corrections": (("services/corrections", "services/funds"), ("money/test_corrections_and_halts", *BOOKS)),
    "auth": (
        tuple(f"services/auth/{name}" for name in ("access", "accounts", "login", "lockout", "tokens")),
        (
            *(f"services/test_{name}" for name in ("auth", "foreign_tokens")),
            *(f"security/test_{name}" for name in ("lockout", "tokens", "rights", "accounts", "keys")),
        ),
    ),
    "limits": (
        ("api/limits", "services/counting", "services/fair_queue", "services/passwords"),
        ("services/test_fair_queue", "services/test_passwords", "security/test_limits"),
    ),
    "sockets": (
        tuple(f"sockets/{name}" for name in ("gate", "inbound", "members", "clients", "delivery", "upkeep")),
        ("sockets",),
    ),
}
# Changes that mean something: a boundary, an opposite, a sign. Others raise at once (a type's `|`), or change nothing.
_MEANT = re.compile(
    r"ReplaceBinaryOperator_(?:Add_Sub|Sub_Add|Mul_FloorDiv|FloorDiv_Mul|Mod_FloorDiv|Pow_Mul)$"
    r"|ReplaceComparisonOperator_(?:Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|In_NotIn|NotIn_In)$"
    r"|ReplaceComparisonOperator_(?:Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt)$"
    r"|AddNot|AndWithOr|OrWithAnd|TrueWithFalse|FalseWithTrue|NumberReplacer|ExceptionReplacer|ReplaceUnaryOperator"
    r"|ZeroIterationForLoop|BreakWithContinue|ContinueWithBreak|RemoveDecorator"
)
# Lines whose change shows in no answer: what dataclasses and logs are made of, and shapes of typing.
_UNSEEN = re.compile(r"\s*(?:@dataclass|@overload|log\.|log =|if TYPE_CHECKING|from |import |\w+ = TypeVar)")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change: the so-many-th place in a module to which an operator applies."""

    module: str
    operator: str
    occurrence: int
    line: int

    def code(self) -> str:
        """Return the changed module."""
        operator = plugins.get_operator(self.operator)()
        changed: str = mutating.mutate_code((ROOT / self.module).read_text(), operator, self.occurrence)
        return changed

    def __str__(self) -> str:
        before, after = ((ROOT / self.module).read_text().splitlines(), self.code().splitlines())
        new = next((line for old, line in zip(before, after, strict=False) if old != line), "")
        return f"{self.module}:{self.line}\n    - {before[self.line - 1].strip()}\n    + {new.strip()}"


def find_mutants(module: str) -> Iterator[Mutant]:
    """Yield the changes of a module that mean something."""
    text = (ROOT / module).read_text()
    tree, lines = get_ast(text), text.splitlines()
    for name in plugins.operator_names():
        if not _MEANT.search(name):
            continue
        operator_class = plugins.get_operator(name)
        if operator_class.arguments():
            continue
        positions = (
            start for node in ast_nodes(tree) for start, _ in operator_class().mutation_positions(node)
        )
        for occurrence, (line, _) in enumerate(positions):
            if not _UNSEEN.match(lines[line - 1]):
                yield Mutant(module, name, occurrence, line)


def draw(mutants: Sequence[Mutant], count: int | None, seed: int) -> list[Mutant]:
    """Return all, or so many, each of another line as far as there are enough."""
    if count is None or count >= len(mutants):
        return list(mutants)
    chance = random.Random(seed)  # noqa: S311 - the same choice each time is what is wanted
    by_line: dict[tuple[str, int], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        by_line[mutant.module, mutant.line].append(mutant)
    for several in by_line.values():
        chance.shuffle(several)
    lines = sorted(by_line)
    chance.shuffle(lines)
    drawn = [by_line[line].pop() for line in lines][:count]
    rest = [mutant for line in lines for mutant in by_line[line]]
    return drawn + chance.sample(rest, count - len(drawn))


def copy_of_the_code(folder: Path) -> Path:
    """Copy what git knows, and what is linked beside it."""
    copy = folder / "code"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    for name in (".venv", "web/dist"):
        if (ROOT / name).exists() and not (copy / name).exists():
            (copy / name).symlink_to((ROOT / name).resolve())
    return copy


class Judge:
    """Runs tests in a copy. Each run is a fork of this process, which has loaded the libraries once and nothing of ours."""

    def __init__(self, copy: Path) -> None:
        self._copy = copy
        sys.dont_write_bytecode = True
        for library in ("pytest", "flask", "sqlalchemy.orm", "flask_migrate", "flask_socketio", "spectree"):
            __import__(library)

    def passes(self, tests: Sequence[str], timeout_s: float) -> bool:
        """Return whether all tests pass in their time."""
        sys.stdout.flush()
        child = os.fork()
        if not child:
            self._run(tests)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return status == NEVER
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False

    def _run(self, tests: Sequence[str]) -> None:
        status = 1
        try:
            os.setsid()
            os.chdir(self._copy)
            sys.path[0] = str(self._copy)
            for name in [name for name in sys.modules if name.partition(".")[0] == "dev"]:
                del sys.modules[name]
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            import pytest

            status = int(pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", *tests]))
        finally:
            os._exit(status)

    def kills(self, mutant: Mutant, tests: Sequence[str], timeout_s: float) -> bool:
        """Return whether a test notices the change."""
        where = self._copy / mutant.module
        before = where.read_text()
        try:
            where.write_text(mutant.code())
            return not self.passes(tests, timeout_s)
        finally:
            where.write_text(before)


def run(groups: Iterable[str], sample: int | None, seed: int) -> int:
    found = {name: [*_mutants_of(PLACES[name][0])] for name in groups}
    total = sum(map(len, found.values()))
    killed, tried = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(copy_of_the_code(Path(folder)))
        for name, mutants in found.items():
            tests = [_path_of(test) for test in PLACES[name][1]]
            begin = time.monotonic()
            if not judge.passes(tests, 1200):
                raise SystemExit(f"{name}: its tests fail on unchanged code: {' '.join(tests)}")
            timeout_s = 30 + 4 * (time.monotonic() - begin)
            share = None if sample is None else max(1, round(sample * len(mutants) / total))
            for mutant in draw(mutants, share, seed):
                tried[name] += 1
                if judge.kills(mutant, tests, timeout_s):
                    killed[name] += 1
                else:
                    print(f"survived: {mutant}", flush=True)
            print(f"{name}: {killed[name]} of {tried[name]} killed, {len(mutants)} known", flush=True)
    score = killed.total() / max(1, tried.total())
    print(f"{killed.total()} of {tried.total()} killed: {score:.1%}")
    return 0 if score >= GOAL else 1


def _mutants_of(modules: Iterable[str]) -> Iterator[Mutant]:
    for module in modules:
        yield from find_mutants(f"bittrade/{module}.py")


def _path_of(test: str) -> str:
    return f"tests/{test}" if (ROOT / "tests" / test).is_dir() else f"tests/{test}.py"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, help="so many changes; all without it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(PLACES), help="groups (default: all)")
    wanted = parser.parse_args()
    return run(wanted.only.split(","), wanted.sample, wanted.seed)


if __name__ == "__main__":
    sys.exit(main())
