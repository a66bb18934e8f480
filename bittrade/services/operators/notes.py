"""What staff writes about an account, for staff to read: added, and never changed."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.errors import InvalidInput, UserNotFound
from bittrade.models import User, UserNote
from bittrade.services import audit, rights
from bittrade.services.identity import Identity

MAX_LENGTH = 2000


def add_note(author: Identity, user_id: int, body: str) -> dict[str, Any]:
    """Write a note. Raises UserNotFound, or InvalidInput where it says nothing."""
    said = body.strip()
    if not said or len(said) > MAX_LENGTH:
        raise InvalidInput(f"A note has 1 to {MAX_LENGTH} characters", field="note")

    def work(session: Session) -> dict[str, Any]:
        if session.get(User, user_id) is None:
            raise UserNotFound()
        rights.confirm(session)
        note = UserNote(user_id=user_id, author_id=author.user_id, body=said, created_at=wire.now())
        session.add(note)
        session.flush()
        # About the account, and not its owner's to read: so not in their activity.
        audit.record(session, "note_added", about=user_id, note_id=note.id)
        return _document(note, author.email)

    return unit_of_work.commit(work)


def list_notes(user_id: int, *, limit: int) -> list[dict[str, Any]]:
    """The notes about an account, newest first."""
    query = sa.select(UserNote, User.email).join(User, User.id == UserNote.author_id)
    query = query.where(UserNote.user_id == user_id).order_by(UserNote.id.desc()).limit(limit)
    with unit_of_work.reading() as session:
        return [_document(row.UserNote, row.email) for row in session.execute(query)]


def _document(row: UserNote, author: str) -> dict[str, Any]:
    return {"id": row.id, "note": row.body, "author": author, "created_at": wire.timestamp(row.created_at)}
