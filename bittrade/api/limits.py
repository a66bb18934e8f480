"""How often somebody may ask: per address, per account, per API key; each limit is a setting (docs/security.md).

Who is counted for a request, and what its answer says of it. The counts are in `services/counting.py`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flask import Flask, Response, current_app, g, request

from bittrade.api.observed import UNCOUNTED
from bittrade.api.requests import read_object
from bittrade.errors import BitTradeError
from bittrade.services import audit, auth, counting
from bittrade.services.counting import Counters, Standing
from bittrade.services.identity import Identity


def address() -> str:
    return audit.neighbourhood(request.remote_addr or "")


def account() -> str:
    return f"user {_identity().user_id}"


def api_key() -> str:
    return f"key {_identity().key_id}"


def email() -> str:
    """The account that a login is for, whatever its spelling, and where it comes from: a stranger's tries elsewhere leave
    its owner theirs. What is no e-mail counts as its address."""
    try:
        normalized = auth.normalize_email(read_object().get("email"))
    except BitTradeError:
        normalized = None
    return f"email {normalized or 'none'} {address()}"


def _identity() -> Identity:
    identity: Identity = g.identity
    return identity


@dataclass(frozen=True, slots=True)
class Limit:
    """A setting's name, and whom it counts by. A count that is `shared` is one over all routes."""

    setting: str
    who: Callable[[], str]
    is_local: bool = False
    is_shared: bool = False


READ = (Limit("RATELIMIT_READ", address, is_local=True, is_shared=True),)
LOGIN = (Limit("RATELIMIT_LOGIN", address), Limit("RATELIMIT_LOGIN_ACCOUNT", email))
REGISTER = (Limit("RATELIMIT_REGISTER", address),)
WRITE = (Limit("RATELIMIT_WRITE", account),)
TRADE = (Limit("RATELIMIT_TRADE", account),)
TRANSFER = (Limit("RATELIMIT_TRANSFER", account), Limit("RATELIMIT_TRANSFER_ADDRESS", address))
ADMIN = (Limit("RATELIMIT_ADMIN", account, is_shared=True),)
NONE: tuple[Limit, ...] = ()
KEY = (Limit("RATELIMIT_KEY", api_key, is_shared=True),)
SETTINGS = tuple(
    limit.setting for group in (READ, LOGIN, REGISTER, WRITE, TRADE, TRANSFER, ADMIN, KEY) for limit in group
)


def check(limits: Iterable[Limit]) -> None:
    """Count this request against each limit. Raises RateLimited."""
    if not current_app.config["RATELIMIT_ENABLED"] or UNCOUNTED in request.environ:
        return
    for limit in limits:
        standing = _count(limit)
        if standing.remaining < 0:
            g.standing = standing
            counting.refuse(limit.setting, limit.who(), standing, **_whom())
        known = g.get("standing")
        if known is None or standing.remaining < known.remaining:
            g.standing = standing


def _whom() -> dict[str, int]:
    identity = g.get("identity")
    return {} if identity is None else {"user_id": identity.user_id}


def count_read(app: Flask, who: str) -> Standing | None:
    """Count a read that is answered without Flask; None where nothing is limited."""
    return _standing(app, READ[0], "", who) if app.config["RATELIMIT_ENABLED"] else None


def _count(limit: Limit) -> Standing:
    where = "" if limit.is_shared else request.endpoint
    return _standing(current_app, limit, where or "", limit.who())


def _standing(app: Flask, limit: Limit, where: str, who: str) -> Standing:
    return counting.count(app, limit.setting, who, where=where, is_local=limit.is_local)


def init_app(app: Flask) -> None:
    app.extensions["bittrade_limits"] = Counters()
    app.before_request(_check_without_handler)
    app.after_request(_tell)


def _check_without_handler() -> None:
    """Count what no handler of ours will: preflights, unknown paths, unknown methods."""
    if request.method == "OPTIONS" or request.routing_exception is not None:
        check(READ)


def _tell(response: Response) -> Response:
    """Tell the client how it stands with the limit that it is nearest to."""
    standing = g.get("standing")
    if standing is not None:
        response.headers.extend(standing.headers())
    return response
