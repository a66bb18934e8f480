"""What somebody may do besides trading: nothing, read and note, or operate."""

from enum import StrEnum


class Role(StrEnum):
    """The roles, from the least to the most."""

    USER = "user"
    SUPPORT = "support"  # reads everything, and writes notes
    ADMIN = "admin"


_ORDER = tuple(Role)
STAFF = frozenset({Role.SUPPORT, Role.ADMIN})
ADMINS = frozenset({Role.ADMIN})


def is_rise(before: Role, after: Role) -> bool:
    """Return whether `after` may all that `before` may, and more."""
    return _ORDER.index(after) > _ORDER.index(before)
