"""F8 and F13: a full disk, and a name that moves to another server. Each has a world of its own."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from drills import figures
from drills.figures import Figures, Target
from drills.history import BALANCE, PAGE
from drills.load import beside
from drills.mariadb import PrivateMariaDB, ServiceFailed
from drills.pair import ReplicatedPair
from drills.scenarios import HEALTHY_LIMIT_S, Run, reader
from drills.surroundings import find_health_status, wait_for

DISK_MB = 192
MARGIN_S = 3.0  # of good times before and after a fault
SEEN_LIMIT_S, SEEN_WAIT_S = 10.0, 40.0
READERS = 10


class SmallDisk(PrivateMariaDB):
    """A server whose data lie on a small disk of their own (a tmpfs), to be filled."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "m", innodb_log_file_size="16M", innodb_buffer_pool_size="64M")
        self._disk = folder
        self._filling = folder / "filling"

    @staticmethod
    def is_possible(folder: Path) -> bool:
        """Whether a disk can be mounted here: by root, and not in every container."""
        probe = folder / "probe"
        probe.mkdir(parents=True, exist_ok=True)
        can = os.geteuid() == 0 and shutil.which("mount") is not None and _mount(probe, size_mb=1)
        if can:
            _unmount(probe)
        probe.rmdir()
        return can

    def install(self) -> None:
        self._disk.mkdir(parents=True, exist_ok=True)
        if not _mount(self._disk, size_mb=DISK_MB):
            raise ServiceFailed(f"no disk can be mounted at {self._disk}")
        super().install()

    def fill(self) -> None:
        """Take all the space that is left."""
        with open(self._filling, "wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 65_536):
                    pass
            except OSError:
                return

    def free(self) -> None:
        self._filling.unlink()

    def close(self) -> None:
        super().close()
        if self._disk.is_mount():
            _unmount(self._disk)


def _mount(folder: Path, *, size_mb: int) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0711", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, timeout=10, check=False)


def fill_disk(run: Run) -> Figures:
    """F8: the disk is full under load, and is emptied; no trade is half done, and health says so."""
    disk = run.world.database
    if not isinstance(disk, SmallDisk):
        raise TypeError("F8 needs a small disk")
    port, size = run.world.web.port, run.size
    sent = run.load("F8", per_second=size.fault_per_second, seconds=2 * MARGIN_S + size.full_s)
    time.sleep(MARGIN_S)
    disk.fill()
    full_s = run.history.now()
    try:
        wait_for(
            lambda: find_health_status(port) == "DOWN", timeout_s=SEEN_WAIT_S, what="health to see the disk"
        )
        seen_s = run.history.now()
        time.sleep(max(0.0, size.full_s - (seen_s - full_s)))
    finally:
        disk.free()
    freed_s = run.history.now()
    sent.finish()
    run.world.web.wait_until_ready()
    lines = run.history.of("F8")
    refused = [line.ended_s for line in lines if line.status == 503 and full_s <= line.ended_s < freed_s]
    first_refused_s = min(refused, default=seen_s)
    facts = {
        "full s": round(freed_s - full_s, 1),
        "first refusal after s": round(first_refused_s - full_s, 2),
        **figures.summarize(lines),
    }
    targets = [
        Target("health sees what trades meet", seen_s - first_refused_s, SEEN_LIMIT_S, " s"),
        Target(
            "trading again",
            figures.database_back_after_s(lines, back_s=freed_s),
            HEALTHY_LIMIT_S,
            " s",
        ),
    ]
    return Figures("F8", facts, targets)


def switch_over(run: Run) -> Figures:
    """F13: the primary becomes read-only and stays up, the name moves to the replica, under load and with readers."""
    pair = run.world.database
    if not isinstance(pair, ReplicatedPair):
        raise TypeError("F13 needs two servers")
    size, people = run.size, run.world.people["load"]
    sent = run.load("F13", per_second=size.fault_per_second, seconds=2 * MARGIN_S + size.read_only_s)
    readers = [
        reader(run, people[number % len(people)], kind, number / READERS / 5, drill="F13")
        for number, kind in enumerate((BALANCE, PAGE) * (READERS // 2))
    ]
    with beside(readers):
        time.sleep(MARGIN_S)
        began_s = run.history.now()
        pair.demote()
        time.sleep(size.read_only_s)
        status = find_health_status(run.world.web.port)
        pair.promote()
        moved_s = run.history.now()
        time.sleep(MARGIN_S)
    sent.finish()
    run.world.web.wait_until_ready()
    lines = run.history.of("F13")
    facts = {
        "read-only s": round(moved_s - began_s, 2),
        **figures.summarize(lines),
        "reads": sum(line.kind != "trade" for line in lines),
        "slowest order s": round(figures.slowest_order_s(lines), 2),
    }
    targets = [
        Target(
            "trading again after the name moved",
            figures.database_back_after_s(lines, back_s=moved_s),
            HEALTHY_LIMIT_S,
            " s",
        ),
        Target("health OK while nothing could be written", status not in ("DOWN", None), 0),
    ]
    return Figures("F13", facts, targets)
