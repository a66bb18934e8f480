"""The house's settings and whether it trades, as staff reads them."""

from typing import Any

from bittrade import wire
from bittrade.services import halt, market, settings


def get_settings() -> dict[str, Any]:
    """Each setting with its value and when it was changed last."""
    changed = settings.list_changes()
    return {
        name: {
            "value": float(value),
            "updated_at": wire.timestamp(changed[name]) if name in changed else None,
        }
        for name, value in settings.list_settings().items()
        if name in settings.DEFAULTS
    }


def get_trading() -> dict[str, Any]:
    """Return whether trading is halted, why and since when; and what a trade would meet."""
    found = halt.find_halt()
    return {
        "halted": found is not None,
        "reason": None if found is None else found[0],
        "since": None if found is None else wire.timestamp(found[1]),
        "trading": market.examine()["trading"],
    }
