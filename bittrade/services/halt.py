"""Stopping all trading, and resuming it: by an operator, or by the books themselves when they do not add up."""

import logging
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.models import Setting
from bittrade.services import audit, ledger, rights
from bittrade.services.ledger import Proof
from bittrade.services.settings import TRADING_HALTED

log = logging.getLogger(__name__)
_MAX_REASON = 255


def halt_trading(why: str) -> None:
    """Refuse every trade from here on, on every process. Halting again keeps the first reason.

    Raises InvalidInput without a reason.
    """
    why = audit.read_reason(why)

    def work(session: Session) -> None:
        known = set(session.scalars(sa.select(Setting.key).with_for_update()))  # one halt after the other
        rights.confirm(session)
        if TRADING_HALTED not in known:
            reason = why.encode("ascii", "replace").decode()[:_MAX_REASON]
            session.add(Setting(key=TRADING_HALTED, value=reason, updated_at=wire.now()))
        audit.record(session, "trading_halted", why=why)

    unit_of_work.commit(work)
    log.critical("trading halted: %s", why)


def resume_trading(why: str) -> None:
    """Trade again. Raises InvalidInput without a reason."""
    why = audit.read_reason(why)

    def work(session: Session) -> None:
        session.execute(sa.delete(Setting).where(Setting.key == TRADING_HALTED))
        rights.confirm(session)
        audit.record(session, "trading_resumed", why=why)

    unit_of_work.commit(work)
    log.warning("trading resumed: %s", why)


def find_halt() -> tuple[str, datetime] | None:
    """Return why trading is halted and since when, or None while it is not."""
    with unit_of_work.reading() as session:
        row = session.get(Setting, TRADING_HALTED)
        return None if row is None else (row.value, row.updated_at)


def find_reason() -> str | None:
    """Why trading is halted, or None while it is not."""
    with unit_of_work.reading() as session:
        return session.scalar(sa.select(Setting.value).where(Setting.key == TRADING_HALTED))


def verify_or_halt(*, is_whole: bool = True) -> Proof:
    """Prove the books; halt trading where they are wrong, and raise the alarm where the proof does not end."""
    standing = ledger.find_standing()
    if standing.is_alarm:
        log.error("ledger: %s", standing)
    proof = ledger.verify() if is_whole else ledger.verify_recent()
    if proof.faults:
        for fault in proof.faults:
            log.critical("ledger: %s", fault)
        halt_trading(f"ledger: {len(proof.faults)} faults, the first: {proof.faults[0]}")
    if not proof.is_complete:
        log.critical("ledger: the proof did not end in its time; %s", ledger.find_standing())
    return proof
