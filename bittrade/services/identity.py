"""Who is asking, and what they may do: a person with a token may do everything, a program with a key its scopes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bittrade.domain.roles import Role
from bittrade.errors import AdminRequired, InsufficientScope

READ, TRADE, EXPORT, TRANSFER, LOAN = "read", "trade", "export", "transfer", "loan"
KEY_SCOPES = (READ, TRADE, EXPORT, TRANSFER, LOAN)  # what a key may be given
ACCOUNT = "account"  # keys, sessions, password, profile: a person's alone, no key ever has it
PERSON = frozenset({*KEY_SCOPES, ACCOUNT})


def bearer_of(text: str) -> str | None:
    """Return the token of "Bearer <token>", in any case; None where there is none, or the scheme is another."""
    words = text.split(maxsplit=1)
    return words[1].rstrip() if len(words) == 2 and words[0].lower() == "bearer" else None


@dataclass(frozen=True, slots=True)
class Identity:
    """The owner of a valid token or key. `seq` is the user's newest entry, as of this request."""

    user_id: int
    email: str
    name: str
    jti: str
    expires_at: datetime
    seq: int
    scopes: frozenset[str] = PERSON
    key_id: int | None = None
    role: Role = Role.USER  # of a person who asks; a key has none

    def public(self) -> dict[str, Any]:
        return public_user(self.user_id, self.email, self.name, self.role)

    def require(self, scopes: Collection[str]) -> None:
        """Raise InsufficientScope unless one of `scopes` is held."""
        if self.scopes.isdisjoint(scopes):
            raise InsufficientScope(needs=sorted(scopes), has=sorted(self.scopes))

    def require_role(self, roles: Collection[Role]) -> None:
        """Raise AdminRequired unless they have one of `roles`."""
        if self.role not in roles:
            raise AdminRequired()


def public_user(user_id: int, email: str, name: str, role: Role = Role.USER) -> dict[str, Any]:
    """Return a user as they see themselves; `is_admin` is 0 or 1, as the API's later client reads it."""
    return {
        "id": user_id,
        "email": email,
        "name": name,
        "is_admin": int(role is Role.ADMIN),
        "role": role.value,
    }
