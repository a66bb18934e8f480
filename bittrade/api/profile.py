"""A user's profile under the later client's paths: each change asks for the current password."""

from typing import Any

from flask import Blueprint

from bittrade.api import limits
from bittrade.api.account_schemas import (
    EmailChangedAnswer,
    NameChangedAnswer,
    NewEmailBody,
    NewNameBody,
    NewPasswordBody,
    UserProfileAnswer,
)
from bittrade.api.openapi import documented
from bittrade.api.schemas import Message
from bittrade.api.security import current_user
from bittrade.errors import (
    AccountLocked,
    EmailTaken,
    InvalidCredentials,
    InvalidInput,
    TooBusy,
    WeakPassword,
)
from bittrade.services import auth
from bittrade.services.auth import ACCOUNT

blueprint = Blueprint("profile", __name__, url_prefix="/api/user/profile")
CONFIRMED = (InvalidCredentials, AccountLocked, TooBusy)
PERSON: dict[str, Any] = {"needs_token": True, "scope": (ACCOUNT,), "tag": "account"}


@blueprint.get("")
@documented(UserProfileAnswer, **PERSON)
def get_profile() -> Any:
    """Return who the token belongs to."""
    return {"user": current_user().public()}


@blueprint.put("/name")
@documented(NameChangedAnswer, *CONFIRMED, limit=limits.WRITE, **PERSON)
def change_name(json: NewNameBody) -> Any:
    """Change the name."""
    user = auth.change_profile(current_user(), current=json.current_password, name=json.name)
    return {"message": "Name changed", "name": user["name"]}


@blueprint.put("/email")
@documented(EmailChangedAnswer, *CONFIRMED, EmailTaken, limit=limits.WRITE, **PERSON)
def change_email(json: NewEmailBody) -> Any:
    """Change the e-mail, which the next login is by."""
    user = auth.change_profile(current_user(), current=json.current_password, email=json.email)
    return {"message": "Email changed", "email": user["email"]}


@blueprint.put("/password")
@documented(Message, *CONFIRMED, WeakPassword, limit=limits.WRITE, **PERSON)
def change_password(json: NewPasswordBody) -> Any:
    """Change the password; every other token and every API key is revoked."""
    if json.confirm_password is not None and json.confirm_password != json.new_password:
        raise InvalidInput("Passwords do not match", field="confirmPassword")
    auth.change_password(current_user(), current=json.current_password, new=json.new_password)
    return {"message": "Password changed"}
