"""Accounts and tokens: who somebody is, and whether their token still says so.

One module a question: `emails` and `accounts` (who there is), `login`, `confirmation` and `lockout` (who knows the
password), `tokens` (what a token says), `access` (whether it is still good), `staff` (what operators do to an account).
"""

from bittrade.services.auth.access import authenticate, list_ended_users, logout, logout_all
from bittrade.services.auth.accounts import (
    change_profile,
    create_user,
    disable_user,
    enable_user,
    get_user_id,
    list_users,
    register,
    unlock_user,
)
from bittrade.services.auth.emails import normalize_email
from bittrade.services.auth.login import change_password, login
from bittrade.services.identity import ACCOUNT, EXPORT, KEY_SCOPES, LOAN, READ, TRADE, TRANSFER, Identity

__all__ = [
    "ACCOUNT",
    "EXPORT",
    "KEY_SCOPES",
    "LOAN",
    "READ",
    "TRADE",
    "TRANSFER",
    "Identity",
    "authenticate",
    "change_password",
    "change_profile",
    "create_user",
    "disable_user",
    "enable_user",
    "get_user_id",
    "list_ended_users",
    "list_users",
    "login",
    "logout",
    "logout_all",
    "normalize_email",
    "register",
    "unlock_user",
]
