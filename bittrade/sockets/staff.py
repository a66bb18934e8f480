"""Each second, in each process with sockets of admins: they are told what has changed. Where no admin is, nothing is read."""

import time
from typing import Any

from bittrade.broadcast import stamped
from bittrade.services.operators import news
from bittrade.sockets import members


class StaffNews:
    """What this process' admins have been told, and when."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Any, float]] = {}

    def look(self) -> None:
        """Tell each event whose subject has changed since it was told last. Raises DatabaseUnavailable."""
        if not members.has_admins():
            self._told.clear()  # whoever comes next has heard nothing
            return
        marks = news.read_marks()
        for event in news.ALL:
            mark, now = event.depends_on(marks), time.monotonic()
            before, at = self._told.get(event.name, (None, float("-inf")))
            if mark != before and now - at >= event.each_s:
                members.tell(members.ADMINS, event.name, stamped(event.load()))
                self._told[event.name] = (mark, now)
