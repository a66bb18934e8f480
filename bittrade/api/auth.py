"""Accounts and tokens."""

from typing import Any

from flask import Blueprint

from bittrade.api import limits
from bittrade.api.account_schemas import (
    LoginBody,
    PasswordBody,
    ProfileAnswer,
    ProfileBody,
    RegisterBody,
    SessionsAnswer,
    TokenAnswer,
    VerifyAnswer,
)
from bittrade.api.openapi import documented
from bittrade.api.schemas import Message
from bittrade.api.security import bearer_token, current_user
from bittrade.errors import (
    AccountLocked,
    EmailTaken,
    InvalidCredentials,
    InvalidInput,
    SessionNotFound,
    TokenInvalid,
    TokenMissing,
    TooBusy,
    WeakPassword,
)
from bittrade.services import auth, sessions
from bittrade.services.auth import ACCOUNT, KEY_SCOPES

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth")


class NoTokenProvided(TokenMissing):
    """`verify` speaks its own words: it is asked by clients that want to know, not to be let in."""

    message = "No token provided"


class InvalidToken(TokenMissing):
    code = TokenInvalid.code
    message = "Invalid token"


@blueprint.post("/register")
@documented(TokenAnswer, EmailTaken, WeakPassword, TooBusy, status=201, limit=limits.REGISTER, tag="auth")
def register(json: RegisterBody) -> Any:
    """Open an account; the answer holds its first token."""
    if json.confirmPassword is not None and json.confirmPassword != json.password:
        raise InvalidInput("Passwords do not match", field="confirmPassword")
    token, user = auth.register(email=json.email, password=json.password, name=json.name)
    return {"message": "User registered successfully", "token": token, "user": user}, 201


@blueprint.post("/login")
@documented(TokenAnswer, InvalidCredentials, AccountLocked, TooBusy, limit=limits.LOGIN, tag="auth")
def login(json: LoginBody) -> Any:
    """Get a token for 24 hours. Ten failures lock the e-mail for where they came from, for a while."""
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
        identity = auth.authenticate(token, needs=KEY_SCOPES)
    except TokenInvalid as error:
        raise InvalidToken() from error
    return {"valid": True, "user": identity.public()}


@blueprint.post("/logout")
@documented(Message, limit=limits.WRITE, needs_token=True, scope=(ACCOUNT,), tag="auth")
def logout() -> Any:
    """Revoke this token, at once and everywhere."""
    auth.logout(current_user())
    return {"message": "Logged out"}


@blueprint.post("/logout-all")
@documented(Message, limit=limits.WRITE, needs_token=True, scope=(ACCOUNT,), tag="auth")
def logout_all() -> Any:
    """Revoke all of the user's tokens and API keys."""
    auth.logout_all(current_user())
    return {"message": "Logged out everywhere"}


@blueprint.post("/password")
@documented(
    Message,
    InvalidCredentials,
    AccountLocked,
    WeakPassword,
    TooBusy,
    limit=limits.WRITE,
    needs_token=True,
    scope=(ACCOUNT,),
    tag="auth",
)
def change_password(json: PasswordBody) -> Any:
    """Change the password; every other token and every API key is revoked."""
    auth.change_password(current_user(), current=json.current_password, new=json.new_password)
    return {"message": "Password changed"}


@blueprint.patch("/profile")
@documented(
    ProfileAnswer,
    InvalidCredentials,
    AccountLocked,
    EmailTaken,
    TooBusy,
    limit=limits.WRITE,
    needs_token=True,
    scope=(ACCOUNT,),
    tag="auth",
)
def change_profile(json: ProfileBody) -> Any:
    """Change the name, the e-mail or both."""
    user = auth.change_profile(
        current_user(), current=json.current_password, email=json.email, name=json.name
    )
    return {"message": "Profile changed", "user": user}


@blueprint.get("/sessions")
@documented(SessionsAnswer, needs_token=True, scope=(ACCOUNT,), tag="auth")
def list_sessions() -> Any:
    """Where the account is logged in."""
    return {"sessions": sessions.list_sessions(current_user())}


@blueprint.delete("/sessions/<session_id>")
@documented(Message, SessionNotFound, limit=limits.WRITE, needs_token=True, scope=(ACCOUNT,), tag="auth")
def end_session(session_id: str) -> Any:
    """Log one of them out, at once and everywhere."""
    sessions.end_session(current_user(), session_id)
    return {"message": "Session ended"}
