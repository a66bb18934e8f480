"""Who may call a handler: every route is either `public` or `protected`, and a test sees to it."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import g, request

from bittrade.errors import TokenMissing
from bittrade.services import auth
from bittrade.services.auth import Identity

Handler = Callable[..., Any]


def public(handler: Handler) -> Handler:
    """Anyone may call it."""
    handler.access = "public"  # type: ignore[attr-defined]
    return handler


def protected(handler: Handler) -> Handler:
    """Only the owner of a valid token, who is then `current_user()`. Answers 401 without a token, 403 for a bad one."""

    @wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        token = bearer_token()
        if token is None:
            raise TokenMissing()
        g.identity = auth.authenticate(token)
        return handler(*args, **kwargs)

    guarded.access = "protected"  # type: ignore[attr-defined]
    return guarded


def bearer_token() -> str | None:
    """The second word of the Authorization header, as the API's first clients send it."""
    words = request.headers.get("Authorization", "").split()
    return " ".join(words[1:]) if len(words) > 1 else None


def current_user() -> Identity:
    identity: Identity = g.identity
    return identity
