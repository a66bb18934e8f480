"""Accounts and tokens."""

from typing import Any

from flask import Blueprint

from bittrade.api.openapi import documented
from bittrade.api.schemas import LoginBody, Message, PasswordBody, RegisterBody, TokenAnswer, VerifyAnswer
from bittrade.api.security import bearer_token, current_user
from bittrade.errors import (
    AccountLocked,
    EmailTaken,
    InvalidCredentials,
    InvalidInput,
    TokenInvalid,
    TokenMissing,
    TooBusy,
    WeakPassword,
)
from bittrade.services import auth

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth")


class NoTokenProvided(TokenMissing):
    """`verify` speaks its own words: it is asked by clients that want to know, not to be let in."""

    message = "No token provided"


class InvalidToken(TokenMissing):
    code = TokenInvalid.code
    message = "Invalid token"


@blueprint.post("/register")
@documented(TokenAnswer, EmailTaken, WeakPassword, TooBusy, status=201, tag="auth")
def register(json: RegisterBody) -> Any:
    """Open an account; the answer holds its first token."""
    if json.confirmPassword is not None and json.confirmPassword != json.password:
        raise InvalidInput("Passwords do not match", field="confirmPassword")
    token, user = auth.register(email=json.email, password=json.password, name=json.name)
    return {"message": "User registered successfully", "token": token, "user": user}, 201


@blueprint.post("/login")
@documented(TokenAnswer, InvalidCredentials, AccountLocked, TooBusy, tag="auth")
def login(json: LoginBody) -> Any:
    """Get a token for 24 hours. Ten failures in a row lock the e-mail for a while."""
    token, user = auth.login(email=json.email, password=json.password)
    return {"message": "Login successful", "token": token, "user": user}


@blueprint.get("/verify")
@documented(VerifyAnswer, NoTokenProvided, InvalidToken, tag="auth")
def verify() -> Any:
    """Tell whether a token is still good, and whose it is."""
    token = bearer_token()
    if token is None:
        raise NoTokenProvided()
    try:
        identity = auth.authenticate(token)
    except TokenInvalid as error:
        raise InvalidToken() from error
    return {"valid": True, "user": identity.public()}


@blueprint.post("/logout")
@documented(Message, needs_token=True, tag="auth")
def logout() -> Any:
    """Revoke this token, at once and everywhere."""
    auth.logout(current_user())
    return {"message": "Logged out"}


@blueprint.post("/logout-all")
@documented(Message, needs_token=True, tag="auth")
def logout_all() -> Any:
    """Revoke all of the user's tokens."""
    auth.logout_all(current_user())
    return {"message": "Logged out everywhere"}


@blueprint.post("/password")
@documented(Message, InvalidCredentials, WeakPassword, TooBusy, needs_token=True, tag="auth")
def change_password(json: PasswordBody) -> Any:
    """Change the password; every other token is revoked."""
    auth.change_password(current_user(), current=json.current_password, new=json.new_password)
    return {"message": "Password changed"}
