"""Whether the database takes writes: a small commit of our own, where nobody else has committed just now."""

import os

from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.errors import DatabaseUnavailable
from bittrade.models import WriteProbe

_SLOTS = 64  # rows for processes, so that they don't wait for each other
_GOOD_FOR_S = 2.0
# A full disk refuses only what needs another page: this process's last refusal counts for as long.
_STORAGE_FAULT_S = 10.0


def require_writable() -> None:
    """Raise what keeps the database from taking writes."""
    writes = unit_of_work.writes()
    if writes.storage_failed_s_ago() < _STORAGE_FAULT_S:
        raise DatabaseUnavailable("The database could not store what it was given")
    if writes.committed_s_ago() > _GOOD_FOR_S:
        unit_of_work.commit(_write)


def _write(session: Session) -> None:
    session.merge(WriteProbe(id=os.getpid() % _SLOTS, written_at=wire.now()))
