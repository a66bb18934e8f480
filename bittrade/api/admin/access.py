"""What each route of the operators' API asks of its caller, and the reason where a client sends none."""

from typing import Any

from bittrade.api import limits
from bittrade.domain.roles import ADMINS, STAFF
from bittrade.services.auth import ACCOUNT

PREFIX = "/api/admin"
BY_LATER_CLIENT = "by the later client"  # it knows no reasons
_PERSON: dict[str, Any] = {"needs_token": True, "scope": (ACCOUNT,), "tag": "admin"}  # no key gets in
READING: dict[str, Any] = {**_PERSON, "roles": STAFF, "limit": limits.ADMIN}
NOTING: dict[str, Any] = {**_PERSON, "roles": STAFF, "limit": limits.WRITE}
CHANGING: dict[str, Any] = {**_PERSON, "roles": ADMINS, "limit": limits.WRITE}
