"""What each route of the operators' API asks of its caller, and the reason where a client sends none."""

from typing import Any

from bittrade.api import limits
from bittrade.domain.roles import ADMINS, STAFF
from bittrade.services.auth import ACCOUNT
from bittrade.services.user_data import MAX_SEQ

PREFIX = "/api/admin"
BY_LATER_CLIENT = "by the later client"  # it knows no reasons
_PERSON: dict[str, Any] = {"needs_token": True, "scope": (ACCOUNT,), "tag": "admin"}  # no key gets in
READING: dict[str, Any] = {**_PERSON, "roles": STAFF, "limit": limits.ADMIN}
NOTING: dict[str, Any] = {**_PERSON, "roles": STAFF, "limit": limits.WRITE}
CHANGING: dict[str, Any] = {**_PERSON, "roles": ADMINS, "limit": limits.WRITE}


def bound_ids(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Take a number in a path that no column holds for the highest that one does: nobody has that either."""
    for name, value in (values or {}).items():
        if isinstance(value, int) and values is not None:
            values[name] = min(value, MAX_SEQ)
