"""The text of a token: making one, and reading one that we or another program made. Knows no database.

A token is a JWT (HS256; claims `id`, `email`, `iat`, `exp`, `jti`). Other programs with our secret may leave out all but
`id` and `exp`, and write whatever else they like: what `jsonwebtoken.verify` of the first server took is taken here.
Each token has one canonical form, and what a token says, not how it is written, is its identity.
"""

import base64
import hashlib
import json
import math
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

from flask import current_app
from flask_jwt_extended import create_access_token
from jwt import InvalidSignatureError, PyJWTError
from jwt.api_jws import PyJWS

from bittrade import wire
from bittrade.errors import TokenInvalid

MAX_LENGTH = 4096
LEEWAY_S = 5  # after a token's end: between our clock and that of another program that makes tokens
# An `iat` may be ahead by a clock that drifted or that takes its local time for UTC (14 h at most), not by a day.
MAX_AHEAD_S = 15 * 3600
END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ID = re.compile(r"[\x21-\x7e]{1,64}", re.ASCII)
_jws = PyJWS()


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token with a good signature says. `issued_at` is in seconds, as its maker wrote it; None where it did not."""

    user_id: int
    expires_at: datetime
    issued_at: int | float | None
    jti: str | None
    fingerprint: str  # the same for every token that says the same


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token of ours."""

    token: str
    jti: str
    issued_at: datetime
    expires_at: datetime


def issue(user_id: int, email: str) -> Issued:
    """Make a token."""
    # Whole seconds, as JSON Web Tokens count them: the session's row and the token say the same.
    issued_at = wire.now().replace(microsecond=0)
    expires_at = issued_at + timedelta(seconds=current_app.config["JWT_LIFETIME_S"])
    jti = uuid.uuid4().hex
    claims = {"email": email, "jti": jti, "iat": issued_at, "exp": expires_at}
    token = create_access_token(identity=user_id, additional_claims=claims)
    return Issued(token, jti, issued_at, expires_at)


def read(token: str) -> Claims:
    """What a token says, if it is good by itself, whatever became of its user. Raises TokenInvalid."""
    if len(token) > MAX_LENGTH or not _is_canonical(token):
        raise TokenInvalid()
    payload = _verified(token)
    try:
        said = json.loads(payload, parse_constant=_refuse)
        fingerprint = _fingerprint(said)
    except (ValueError, RecursionError) as error:
        raise TokenInvalid() from error
    if not isinstance(said, dict):
        raise TokenInvalid()
    _check_times(said, wire.now().timestamp())
    user_id, jti, issued_at = said.get("id"), said.get("jti"), said.get("iat")
    # A library of ours knows tokens that are good for nothing but to get another.
    if type(user_id) is not int or not 1 <= user_id < 2**63 or said.get("type") == "refresh":
        raise TokenInvalid()
    return Claims(
        user_id=user_id,
        expires_at=_moment(said["exp"]),
        issued_at=issued_at if _is_number(issued_at) else None,
        jti=jti if isinstance(jti, str) and _ID.fullmatch(jti) else None,
        fingerprint=fingerprint,
    )


def _is_canonical(token: str) -> bool:
    """Whether the token is written in the only way in which it can be: no padding, no stray sign, no loose last bits."""
    segments = token.split(".")
    return len(segments) == 3 and all(
        _SEGMENT.fullmatch(segment) and _is_exact(segment) for segment in segments
    )


def _is_exact(segment: str) -> bool:
    padded = segment + "=" * (-len(segment) % 4)
    try:
        return base64.urlsafe_b64encode(base64.urlsafe_b64decode(padded)).decode() == padded
    except ValueError:
        return False


def _verified(token: str) -> bytes:
    """The payload under a good signature: of the secret, or, while it is being replaced, of the one before."""
    config = current_app.config
    for secret in filter(None, (config["JWT_SECRET"], config["JWT_SECRET_PREVIOUS"])):
        try:
            payload: bytes = _jws.decode_complete(token, secret, algorithms=["HS256"])["payload"]
            return payload
        except InvalidSignatureError:
            continue
        except (PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise TokenInvalid() from error
    raise TokenInvalid()


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_times(said: dict[str, Any], now: float) -> None:
    """Raises TokenInvalid for a token without an end, after it, before its beginning, or from another day."""
    expires, begins, issued = said.get("exp"), said.get("nbf"), said.get("iat")
    if not _is_number(expires) or expires <= now - LEEWAY_S:
        raise TokenInvalid()
    if begins is not None and (not _is_number(begins) or begins > now + LEEWAY_S):
        raise TokenInvalid()
    if _is_number(issued) and issued > now + MAX_AHEAD_S:
        raise TokenInvalid()


def _moment(seconds: float) -> datetime:
    """A time that a column can hold: some programs write milliseconds, and mean for ever."""
    if seconds >= END_OF_TIME.timestamp():
        return END_OF_TIME
    return datetime.fromtimestamp(seconds, UTC)


def _fingerprint(said: Any) -> str:
    """The same for two tokens that say the same, in whatever order, and whether they write 7 or 7.0."""
    text = json.dumps(_plain(said), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value
