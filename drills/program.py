"""What every drill's program does around its drill: a folder, signals that unwind, and an exit status.

0 where it passed, 1 where not (the logs then stay), 2 where it could not run.
"""

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from dev.services import RedisServerFailed, RedisServerMissing
from drills.mariadb import ServiceFailed, ServiceMissing

CANNOT_RUN = (ServiceMissing, ServiceFailed, RedisServerMissing, RedisServerFailed)


def run_drill(name: str, drill: Callable[[Path], bool]) -> int:
    """Run a drill in a folder of its own, and return the exit status."""
    end_on_signals()
    sys.setswitchinterval(0.0005)  # threads that only wait; a turn of 5 ms would be measured as latency
    folder = Path(tempfile.mkdtemp(prefix=f"bittrade-{name}-"))
    folder.chmod(0o711)  # MariaDB's own account has to get through to its folder inside
    is_passed = False
    try:
        is_passed = drill(folder)
        return 0 if is_passed else 1
    except (*CANNOT_RUN, TimeoutError) as error:
        print(f"drills: {error}", file=sys.stderr)
        return 2
    finally:
        if is_passed:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs: {folder}", file=sys.stderr)


def end_on_signals() -> None:
    """Let a signal unwind the program, so that everything that was started is ended."""
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _leave)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
