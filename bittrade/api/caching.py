"""Answers that others may keep, and answers made small: Cache-Control, ETag and 304 for what everybody gets; gzip.

What everybody gets is marked `@shared`. Its ETag is weak: two answers are the same when they differ only in what moves
with the clock (`age_ms`, `timestamp`) or in where they came from (`cached`).
"""

import gzip
import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

import orjson
from flask import Flask, Response, g, request

MAX_AGE_S = 1
STALE_IF_ERROR_S = 10  # a proxy may go on with its last answer so long while we don't answer
MOVING = frozenset({"age_ms", "timestamp", "cached"})
WORTH_GZIP_BYTES = 1000
GZIP_LEVEL = 5  # half a year of a chart in a third of a millisecond; 9 takes three times as long for 2 % less

Handler = Callable[..., Any]


def shared(handler: Handler) -> Handler:
    """Everybody gets the same: it may be kept for a second by whoever passes it on, and asked for by its ETag."""

    @wraps(handler)
    def fingerprinted(*args: Any, **kwargs: Any) -> Any:
        value = handler(*args, **kwargs)
        g.fingerprint = fingerprint(value)
        return value

    fingerprinted.is_shared = True  # type: ignore[attr-defined]
    return fingerprinted


def fingerprint(value: dict[str, Any] | list[dict[str, Any]]) -> str:
    """A digest of what an answer says, but for what moves by itself."""
    rows = value if isinstance(value, list) else [value]
    settled = [{key: part for key, part in row.items() if key not in MOVING} for row in rows]
    return hashlib.sha256(orjson.dumps(settled)).hexdigest()[:32]


def init_app(app: Flask) -> None:
    app.after_request(_compress)
    app.after_request(_share)  # before it: Flask runs the last one first


def _share(response: Response) -> Response:
    tag = g.get("fingerprint")
    if tag is None or response.status_code != 200:
        return response
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_S}, stale-if-error={STALE_IF_ERROR_S}"
    response.set_etag(tag, weak=True)
    if request.if_none_match.contains_weak(tag):
        response.status_code = 304
        response.set_data(b"")
    return response


def _compress(response: Response) -> Response:
    if response.mimetype != "application/json" or response.is_streamed:
        return response
    response.vary.add("Accept-Encoding")
    body = response.get_data()
    if len(body) > WORTH_GZIP_BYTES and request.accept_encodings.quality("gzip") > 0:
        response.set_data(gzip.compress(body, GZIP_LEVEL, mtime=0))
        response.content_encoding = "gzip"
    return response
