"""Who may call a handler, and how often: every route is either `public` or `protected`, and a test sees to it."""

from collections.abc import Callable, Collection, Iterable
from functools import wraps
from typing import Any

from flask import g, request

from bittrade.api import limits
from bittrade.api.limits import Limit
from bittrade.domain.roles import Role
from bittrade.errors import AdminRequired, TokenMissing
from bittrade.services import audit, auth
from bittrade.services.auth import Identity
from bittrade.services.identity import bearer_of

Handler = Callable[..., Any]


def public(handler: Handler, *, limit: Iterable[Limit] = limits.READ) -> Handler:
    """Anyone may call it."""

    @wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        limits.check(limit)
        return handler(*args, **kwargs)

    guarded.access = "public"  # type: ignore[attr-defined]
    guarded.limit = limit  # type: ignore[attr-defined]
    return guarded


def protected(
    handler: Handler,
    *,
    scope: Collection[str] = (),
    roles: Collection[Role] = (),
    limit: Iterable[Limit] = limits.READ,
) -> Handler:
    """Only the owner of a valid token, who is then `current_user()`; or a key that has one of the scopes.

    Answers 401 without a token, 403 for a bad one, a key without the scope, or a person without one of the `roles`, if
    any are named. Without `scope` no key gets in.
    """
    needs = scope or (auth.ACCOUNT,)

    @wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        limits.check(limits.READ)
        g.identity = _authenticate(needs)
        if g.identity.key_id is not None:
            limits.check(limits.KEY)
        if limit is not limits.READ:
            limits.check(limit)
        if roles:
            _require_role(g.identity, roles)
        with audit.asked_by(g.identity, as_staff=bool(roles)):
            return handler(*args, **kwargs)

    guarded.access = "protected"  # type: ignore[attr-defined]
    guarded.scope = tuple(scope)  # type: ignore[attr-defined]
    guarded.roles = frozenset(roles)  # type: ignore[attr-defined]
    guarded.limit = limit  # type: ignore[attr-defined]
    return guarded


def _require_role(identity: Identity, roles: Collection[Role]) -> None:
    """Raise AdminRequired, and let the audit log know who tried."""
    try:
        identity.require_role(roles)
    except AdminRequired:
        audit.record_refusal(
            "admin_refused", cause=str(request.url_rule), user_id=identity.user_id, path=str(request.url_rule)
        )
        raise


def _authenticate(needs: Collection[str]) -> Identity:
    token = bearer_token()
    if token is None:
        raise TokenMissing()
    return auth.authenticate(token, needs=needs)


def bearer_token() -> str | None:
    """Return the bearer's token of the Authorization header; None without one, also where the scheme is another."""
    return bearer_of(request.headers.get("Authorization", ""))


def current_user() -> Identity:
    identity: Identity = g.identity
    return identity
