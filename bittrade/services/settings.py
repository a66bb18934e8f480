"""Values that operators change while the servers run."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bittrade import unit_of_work, wire
from bittrade.domain.loans import Terms
from bittrade.domain.pricing import Multipliers, doubts_about
from bittrade.errors import InvalidInput, NotConfirmed
from bittrade.models import Setting
from bittrade.services import audit, rights

DEFAULTS = {
    "buy_multiplier": "91",
    "sell_multiplier": "88",
    # Of new loans; those that were made keep theirs.
    "loan_max_ltv_pct": "50",
    "loan_call_ltv_pct": "70",
    "loan_liquidation_ltv_pct": "80",
    "loan_yearly_rate_bps": "1200",
}
TRADING_HALTED = "trading_halted"  # the reason, while trading is halted; see services/halt.py


def list_settings() -> dict[str, str]:
    """Every setting with its value."""
    with unit_of_work.reading() as session:
        return read_all(session)


def list_changes() -> dict[str, datetime]:
    """Return when each setting that is not at its default was changed last."""
    with unit_of_work.reading() as session:
        return dict(session.execute(sa.select(Setting.key, Setting.updated_at)).all())


def set_setting(
    key: str, value: str, *, is_confirmed: bool = False, market_rate: int | None = None
) -> dict[str, str]:
    """Change one setting; all of them come back. Raises as `set_settings`."""
    return set_settings({key: value}, is_confirmed=is_confirmed, market_rate=market_rate)


def set_settings(
    wanted: dict[str, str],
    *,
    is_confirmed: bool = False,
    market_rate: int | None = None,
    why: str | None = None,
) -> dict[str, str]:
    """Change settings together; all of them come back. Open quotes are void by it (`services/quotes.py`).

    Raises InvalidInput for an unknown key or an unfit value, and NotConfirmed for one that may be a slip.
    """
    if unknown := sorted(set(wanted) - set(DEFAULTS)):
        raise InvalidInput(f"Unknown setting {unknown[0]!r}. There are: {', '.join(sorted(DEFAULTS))}")
    facts: dict[str, Any] = {} if why is None else {"why": audit.read_reason(why)}

    def work(session: Session) -> dict[str, str]:
        # All rows are locked, so that two changes can't cross and leave the buy rate below the sell rate.
        rows = {row.key: row for row in session.scalars(sa.select(Setting).with_for_update())}
        rights.confirm(session)
        before = DEFAULTS | {name: row.value for name, row in rows.items()}
        after = before | wanted
        _refuse_doubtful(before, after, None if is_confirmed else market_rate, is_confirmed=is_confirmed)
        for key, value in wanted.items():
            if key in rows:
                rows[key].value, rows[key].updated_at = value, wire.now()
            else:
                session.add(Setting(key=key, value=value, updated_at=wire.now()))
            audit.record(session, "setting_changed", key=key, before=before[key], after=value, **facts)
        return after

    return unit_of_work.commit(work)


def _refuse_doubtful(
    before: dict[str, str], after: dict[str, str], market_rate: int | None, *, is_confirmed: bool
) -> None:
    """Raise InvalidInput for values that can't be, and NotConfirmed for those that may be a slip."""
    loan_terms(after)
    doubts = doubts_about(multipliers(before), multipliers(after), market_rate)
    if doubts and not is_confirmed:
        raise NotConfirmed(f"Are you sure? {'; '.join(doubts)}")


def multipliers(values: dict[str, str]) -> Multipliers:
    return Multipliers.parse(buy=values["buy_multiplier"], sell=values["sell_multiplier"])


def loan_terms(values: dict[str, str]) -> Terms:
    """Return what new loans are made on. Raises InvalidInput where the settings make no sense together."""
    names = ("loan_max_ltv_pct", "loan_call_ltv_pct", "loan_liquidation_ltv_pct", "loan_yearly_rate_bps")
    for name in names:
        if not re.fullmatch(r"[0-9]{1,6}", values[name], re.ASCII):
            raise InvalidInput(f"{name} takes a whole number")
    return Terms(*(int(values[name]) for name in names))


def read_multipliers(session: Session) -> Multipliers:
    return multipliers(read_all(session))


def read_all(session: Session) -> dict[str, str]:
    return with_defaults(session.execute(every_setting()).all())


def every_setting() -> sa.Select[str, str]:
    """The query for what `with_defaults` takes."""
    return sa.select(Setting.key, Setting.value)


def with_defaults(rows: Iterable[Any]) -> dict[str, str]:
    """Every setting with its value: pairs from the database, and the defaults of the others."""
    return DEFAULTS | dict(rows)
