"""The first answer to a request that carried a key: looked up and kept in the unit of work that does the thing.

Both run under the lock of the user's balance, so a twin request has finished by then.
"""

from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import wire
from bittrade.errors import IdempotencyKeyReused
from bittrade.models import IdempotencyKey


def find_first_answer(
    session: Session, user_id: int, *, route: str, key: str | None, fingerprint: str
) -> dict[str, Any] | None:
    """Return what this key was answered, or None. Raises IdempotencyKeyReused where it came with another body."""
    if key is None:
        return None
    row = session.execute(
        sa.select(IdempotencyKey.fingerprint, IdempotencyKey.answer).where(
            IdempotencyKey.user_id == user_id, IdempotencyKey.route == route, IdempotencyKey.key == key
        )
    ).first()
    return None if row is None else read_answer(row, fingerprint)


def read_answer(row: Any, fingerprint: str) -> dict[str, Any]:
    """Return the answer in a key's row. Raises IdempotencyKeyReused where it came with another body."""
    if row.fingerprint != fingerprint:
        raise IdempotencyKeyReused()
    answer: dict[str, Any] = orjson.loads(row.answer)
    return answer


def keep_answer(
    session: Session, user_id: int, *, route: str, key: str | None, fingerprint: str, answer: dict[str, Any]
) -> None:
    """Keep the first answer under its key, to be committed together with what it says."""
    if key is None:
        return
    row = row_of(user_id, route=route, key=key, fingerprint=fingerprint, answer=answer)
    session.execute(sa.insert(IdempotencyKey.__table__).values(**row))


def row_of(user_id: int, *, route: str, key: str, fingerprint: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Return the row that keeps an answer under its key."""
    return {
        "user_id": user_id,
        "route": route,
        "key": key,
        "fingerprint": fingerprint,
        "answer": orjson.dumps(answer).decode(),
        "created_at": wire.now(),
    }
