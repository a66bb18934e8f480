"""`python -m drills`: run the drills, print what was measured, and let the checker judge.

    python -m drills --short                     two minutes, for CI
    python -m drills --long                      everything, about 45 minutes (the default)
    python -m drills --only F1,F3 --seed 7
    python -m drills --only L1 --trades-per-second 50 --seconds 120

Exits 0 when every invariant holds and every hard target is met, 1 when not, 2 when it could not run.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from drills import checker, figures, scenarios, sockets
from drills.checker import Result
from drills.database import SmallDisk, fill_disk, switch_over
from drills.figures import Figures
from drills.history import History, Line
from drills.logins import log_in_beside_trading
from drills.machine import Machine
from drills.mariadb import PrivateMariaDB
from drills.pair import ReplicatedPair
from drills.program import CANNOT_RUN, end_on_signals
from drills.scenarios import GROUPS, LONG, SHORT, Run, Size, warm_up
from drills.surroundings import Money, World, world

DEFAULT_SEED = 1
_BY_NAME = {
    **scenarios.DRILLS,
    **sockets.DRILLS,
    "L4": (log_in_beside_trading,),
    "F8": (fill_disk,),
    "F13": (switch_over,),
}
ORDER = ("L1", "L3", "L4", "L6", "F1", "F2", "F3", "F4", "F9", "F10", "F11", "F8", "F13")
DRILLS = {name: _BY_NAME[name] for name in ORDER}
# These break a database of their own kind, in a world of their own.
OWN_DATABASE: dict[str, type[PrivateMariaDB] | type[ReplicatedPair]] = {
    "F8": SmallDisk,
    "F13": ReplicatedPair,
}


def say(text: object = "") -> None:
    print(text, flush=True)


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m drills", description="Load, faults, and a checker.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--short", action="store_true", help="two minutes in all")
    length.add_argument("--long", action="store_true", help="the full length (the default)")
    parser.add_argument("--only", type=_names, default=list(DRILLS), help=f"some of {','.join(DRILLS)}")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="the same seed sends the same orders")
    parser.add_argument("--trades-per-second", type=float, help="L1's rate")
    parser.add_argument("--seconds", type=float, help="the length of L1 and L4")
    parser.add_argument("--out", type=Path, help="keep history.jsonl, report.json and the logs here")
    patience = parser.add_mutually_exclusive_group()
    patience.add_argument("--strict", action="store_true", help="fail on soft targets too")
    patience.add_argument(
        "--patient",
        action="store_true",
        help="fail on what is wrong alone, however long it took (busy machines)",
    )
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in DRILLS]:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(DRILLS)}")
    return [name for name in DRILLS if name in names]


def size_of(options: argparse.Namespace) -> Size:
    size = SHORT if options.short else LONG
    if options.trades_per_second:
        size = replace(size, load_per_second=options.trades_per_second)
    return (
        replace(size, load_s=options.seconds, login_s=min(options.seconds, size.login_s))
        if options.seconds
        else size
    )


@dataclass(frozen=True, slots=True)
class Part:
    """What came of the drills that shared one world."""

    lines: list[Line]
    measured: list[Figures]
    results: list[Result]


def run_all(options: argparse.Namespace, folder: Path) -> int:
    """Drill, each world after the other, and judge; the exit status."""
    began = time.monotonic()
    together = [name for name in options.only if name not in OWN_DATABASE]
    parts = [run_world(options, folder, together, GROUPS)] if together else []
    for name in options.only:
        own = OWN_DATABASE.get(name)
        if own is SmallDisk and not SmallDisk.is_possible(folder):
            say(f"{name:8}not run: no disk can be mounted here")
        elif own is not None:
            place = folder / name.lower()
            place.mkdir(mode=0o711)
            parts.append(run_world(options, place, [name], {"load": GROUPS["load"]}, own(place / "mariadb")))
    say()
    measured = [figure for part in parts for figure in part.measured]
    results = [result for part in parts for result in part.results]
    for result in results:
        say(result)
    summary = summarize(parts, seconds=time.monotonic() - began)
    say("\n" + ", ".join(f"{name} {value}" for name, value in summary.items()))
    write_report(folder / "report.json", options.seed, summary, measured, results)
    return 0 if is_passed(measured, results, options) else 1


def run_world(
    options: argparse.Namespace,
    folder: Path,
    names: list[str],
    groups: Mapping[str, list[Money]],
    database: PrivateMariaDB | ReplicatedPair | None = None,
) -> Part:
    """Set a world up, run these drills in it, and judge."""
    began = time.monotonic()
    history = History(folder / "history.jsonl")
    with world(folder, seed=options.seed, groups=groups, database=database) as surroundings:
        say(f"ready after {time.monotonic() - began:.1f} s; seed {options.seed}")
        run = Run(surroundings, history, size_of(options), options.seed)
        warm_up(run)
        measured = []
        for drill in [drill for name in names for drill in DRILLS[name]]:
            machine = Machine()
            measured.append(drill(run))
            measured[-1].facts["machine used by others %"] = machine.others_percent()
            say(measured[-1])
            say_broken(judge(surroundings, history))
        results = judge(surroundings, history)
    history.close()
    return Part(list(history.lines), measured, results)


def judge(surroundings: World, history: History) -> list[Result]:
    """The checker's verdict on all that happened so far."""
    engine = sa.create_engine(
        surroundings.database.url, isolation_level="REPEATABLE READ", poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        return checker.check(connection, list(history.lines))


def say_broken(results: list[Result]) -> None:
    """While the drills go on, only what is wrong."""
    for result in results:
        if not result.is_ok:
            say(result)


def summarize(parts: list[Part], *, seconds: float) -> dict[str, object]:
    faults = Counter[str]()
    for result in (result for part in parts for result in part.results):
        faults[result.name] += len(result.faults)
    return {
        "trades": sum(figures.count_trades(part.lines) for part in parts),
        "requests": sum(len(part.lines) for part in parts),
        "kills": sum(drill.kills for part in parts for drill in part.measured),
        "lost": faults["I5"],
        "doubled": faults["I4"],
        "ledger faults": faults["I1"],
        "seconds": round(seconds, 1),
    }


def is_passed(measured: list[Figures], results: list[Result], options: argparse.Namespace) -> bool:
    missed = [target for drill in measured for target in drill.targets if not target.is_met]
    if options.patient:
        missed = [target for target in missed if not target.depends_on_machine]
    elif not options.strict:
        missed = [target for target in missed if not target.is_soft]
    return not missed and all(result.is_ok for result in results)


def write_report(
    path: Path, seed: int, summary: dict[str, object], measured: list[Figures], results: list[Result]
) -> None:
    report = {
        "seed": seed,
        "summary": summary,
        "drills": [asdict(drill) for drill in measured],
        "invariants": [
            {"name": r.name, "claim": r.claim, "ok": r.is_ok, "faults": r.faults} for r in results
        ],
    }
    path.write_text(json.dumps(report, indent=2) + "\n")


@contextmanager
def work_folder(out: Path | None) -> Iterator[Path]:
    """A temporary folder; what is worth keeping goes to `out`, if that was asked for."""
    folder = Path(tempfile.mkdtemp(prefix="bittrade-drills-"))
    folder.chmod(0o711)  # MariaDB's own account has to get through to its folder inside
    try:
        yield folder
    finally:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            for kept in (*folder.glob("*.log"), *folder.glob("*.json*"), *folder.glob("mariadb/*.log")):
                shutil.copyfile(kept, out / kept.name)
            for kept in (*folder.glob("f*/*.log"), *folder.glob("f*/*.json*")):
                shutil.copyfile(kept, out / f"{kept.parent.name}-{kept.name}")
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    options = read_arguments(arguments)
    end_on_signals()
    sys.setswitchinterval(
        0.0005
    )  # a hundred threads that only wait; a turn of 5 ms would be measured as latency
    try:
        with work_folder(options.out) as folder:
            return run_all(options, folder)
    except CANNOT_RUN as error:
        print(f"drills: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
