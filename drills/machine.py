"""How much of the machine others used meanwhile: latencies mean nothing on a machine that was busy with something else."""

import contextlib

import psutil


class Machine:
    """The machine's processor time since this was made: ours, others' and idle."""

    def __init__(self) -> None:
        self._total, self._idle, self._ours = _read()

    def others_percent(self) -> int:
        """The share of all processor time that neither the drills nor their servers used, and that was not idle."""
        total, idle, ours = _read()
        spent = total - self._total
        others = spent - (idle - self._idle) - (ours - self._ours)
        return max(0, round(100 * others / spent)) if spent > 0 else 0


def _read() -> tuple[float, float, float]:
    """Seconds: all, idle, ours. What ended counts with the parent that waited for it."""
    times = psutil.cpu_times()
    ours = 0.0
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            spent = process.cpu_times()
            ours += spent.user + spent.system + spent.children_user + spent.children_system
    return sum(times), times.idle + getattr(times, "iowait", 0.0), ours
