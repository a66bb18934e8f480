"""The hash chains at rest: bringing those of old histories up to date, and the digest that is kept elsewhere."""

import hashlib
from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain import chain
from bittrade.errors import InvalidInput
from bittrade.models import Balance, Transaction
from bittrade.services import audit
from bittrade.services.ledger.ranges import ROWS, Range
from bittrade.services.ledger.reading import parse, read

HEADER = "# BitTrade ledger digest"
USERS_AT_ONCE = 5000


def list_unchained() -> list[int]:
    """Return the users whose chain is behind their history."""
    with unit_of_work.reading() as session:
        return list(
            session.scalars(
                sa.select(Balance.user_id).where(Balance.chain_seq < Balance.seq).order_by(Balance.user_id)
            )
        )


def extend(user_id: int) -> int:
    """Chain what of a user's history is not chained yet; return how many transactions that were.

    Posting goes on meanwhile; only the last piece is done under the balance's lock.
    """
    with unit_of_work.reading() as session:
        seq, link, until = _standing(session, user_id, is_locked=False)
        began = seq
        while until - seq > ROWS:
            seq, link = _fold(session, user_id, seq, link, until=seq + ROWS)

    def work(session: Session) -> int:
        _, _, until = _standing(session, user_id, is_locked=True)
        last, end = _fold(session, user_id, seq, link, until=until)
        session.execute(
            sa.update(Balance).where(Balance.user_id == user_id).values(chain=end, chain_seq=last)
        )
        audit.record(session, "ledger_chained", user_id=user_id, after=began, until=last)
        return last - began

    return unit_of_work.commit(work)


def _standing(session: Session, user_id: int, *, is_locked: bool) -> tuple[int, str, int]:
    query = sa.select(Balance.chain_seq, Balance.chain, Balance.seq).where(Balance.user_id == user_id)
    row = session.execute(query.with_for_update() if is_locked else query).one()
    return row.chain_seq, row.chain, row.seq


def _fold(session: Session, user_id: int, seq: int, link: str, *, until: int) -> tuple[int, str]:
    mine = sa.and_(Transaction.user_id == user_id, Transaction.seq > seq, Transaction.seq <= until)
    rows = [row for row in parse(read(session, Range(mine))) if not isinstance(row, str)]
    for row in sorted(rows, key=lambda row: row.seq):
        if row.seq != seq + 1:
            break
        seq, link = row.seq, chain.link(link, row.digest)
    if seq != until:
        raise InvalidInput(f"user {user_id}: transaction number {seq + 1} is not there; see `ledger verify`")
    return seq, link


def note_digest() -> str:
    """Write the hash of today's digest into the audit log and return it: the log of the process goes elsewhere."""
    last = ""
    for line in write_digest():
        last = line
    digest = last.split()[-1]
    unit_of_work.commit(lambda session: audit.record(session, "ledger_digest", sha256=digest))
    return digest


def write_digest() -> Iterator[str]:
    """Return the lines of a digest: each user's newest link, then one hash of all lines before."""
    whole = hashlib.sha256()
    for line in _lines():
        whole.update(line.encode())
        yield line
    yield f"# sha256 {whole.hexdigest()}\n"


def _lines() -> Iterator[str]:
    yield f"{HEADER} {wire.timestamp(wire.now())}\n"
    after = -1
    with unit_of_work.proving() as session:
        while rows := session.execute(
            sa.select(Balance.user_id, Balance.chain_seq, Balance.chain)
            .where(Balance.user_id > after)
            .order_by(Balance.user_id)
            .limit(USERS_AT_ONCE)
        ).all():
            for row in rows:
                if row.chain_seq:
                    yield f"{row.user_id} {row.chain_seq} {row.chain}\n"
            after = rows[-1].user_id


def read_digest(lines: Iterable[str]) -> dict[int, tuple[int, str]]:
    """Return what a digest says of each user. Raises InvalidInput where it is not whole."""
    whole = hashlib.sha256()
    found: dict[int, tuple[int, str]] = {}
    is_first, is_ended = True, False
    for line in lines:
        if is_first and not line.startswith(HEADER):
            raise InvalidInput("This is no digest of the ledger")
        if line.startswith("# sha256 "):
            is_ended = line.split()[-1] == whole.hexdigest()
            break
        if not line.startswith("#"):
            user_id, seq, link = _read_line(line)
            found[user_id] = (seq, link)
        whole.update(line.encode())
        is_first = False
    if not is_ended:
        raise InvalidInput("The digest is cut off, or was changed")
    return found


def _read_line(line: str) -> tuple[int, int, str]:
    try:
        user_id, seq, link = line.split()
        return int(user_id), int(seq), link
    except ValueError:
        raise InvalidInput(f"The digest has a line that can't be read: {line[:80]!r}") from None
