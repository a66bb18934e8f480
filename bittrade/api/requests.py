"""What every request passes through: an id, its origin for the audit log, a bounded and strict body, safe headers."""

import json
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
from flask import Flask, Response, current_app, g, request
from flask.json.provider import JSONProvider

from bittrade.api import observed
from bittrade.errors import BodyTooLarge, InvalidJson, UnsupportedMediaType
from bittrade.services import audit
from bittrade.services.audit import Origin
from bittrade.wire import HSTS, SAFE_HEADERS

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 16
GZIP = ("gzip", "x-gzip")


def init_app(app: Flask) -> None:
    app.json = StrictJson(app)
    # One byte more, so that it is us who say that it is too large.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.before_request(_begin)
    app.after_request(_finish)


class StrictJson(JSONProvider):
    """orjson writes; the standard library reads, because it alone can refuse duplicate keys and NaN."""

    def dumps(self, obj: Any, **_kwargs: Any) -> str:
        return orjson.dumps(obj).decode()

    def response(self, *args: Any, **kwargs: Any) -> Any:
        body = orjson.dumps(self._prepare_response_obj(args, kwargs))
        return self._app.response_class(body, mimetype="application/json")  # type: ignore[arg-type]

    def loads(self, s: str | bytes, *, parse_float: Callable[[str], Any] = float, **_kwargs: Any) -> Any:
        """Raises ValueError with a reason that may be shown."""
        text = s.decode("utf-8-sig") if isinstance(s, bytes) else s  # some Windows clients begin with a BOM
        value = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=parse_float,
        )
        _check_depth(value)
        return value


def read_object() -> dict[str, Any]:
    """The request's body: a JSON object. Raises InvalidJson, UnsupportedMediaType or BodyTooLarge."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise BodyTooLarge()
    raw = request.get_data(cache=True)
    if not request.is_json:
        raise UnsupportedMediaType()
    raw = _decoded(raw, request.headers.get("Content-Encoding", ""))
    try:
        value = current_app.json.loads(raw, parse_float=Decimal)  # every digit that was sent, as it was sent
    except UnicodeDecodeError as error:
        raise InvalidJson("The body is not UTF-8") from error
    except RecursionError as error:
        raise InvalidJson("The body is nested too deeply") from error
    except ValueError as error:
        raise InvalidJson(_reason(error)) from error
    if not isinstance(value, dict):
        raise InvalidJson("The body must be a JSON object")
    return value


def _decoded(raw: bytes, coding: str) -> bytes:
    """Return the body without its content coding, which must not hide more than a body may have.

    Raises UnsupportedMediaType, BodyTooLarge or InvalidJson.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return raw
    if name not in GZIP:
        raise UnsupportedMediaType("The body may be sent with Content-Encoding: gzip, or without any")
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        body = unpacker.decompress(
            raw, MAX_BODY_BYTES + 1
        )  # and not a byte more, whatever the rest would become
    except zlib.error as error:
        raise InvalidJson("The body is not gzip, as its Content-Encoding says") from error
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge()
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidJson("The body is not one whole gzip stream")
    return body


def _reason(error: ValueError) -> str:
    return str(error) if isinstance(error, _Refused) else InvalidJson.message


class _Refused(ValueError):
    """JSON that we do not take, though a parser would; its text may be shown."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Refused("The body has a key twice")
    return value


def _refuse_constant(name: str) -> Any:
    raise _Refused(f"{name} is not JSON")


def _check_depth(value: Any) -> None:
    level, depth = [value] if isinstance(value, dict | list) else [], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _Refused("The body is nested too deeply")
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]


def _begin() -> None:
    g.request_id = request.environ.get(observed.ID) or observed.request_id(None)
    device = request.headers.get("User-Agent")
    audit.origin.set(Origin(address=request.remote_addr or "", request_id=g.request_id, device=device))


def _finish(response: Response) -> Response:
    for name, value in SAFE_HEADERS.items():
        response.headers.setdefault(name, value)
    if current_app.config["CORS_ORIGINS"] != ["*"]:
        response.vary.add("Origin")  # also where none was sent: a cache must not give that answer to a page
    if current_app.config["IS_PRODUCTION"]:
        response.headers.update(HSTS)
    response.headers["X-Request-Id"] = g.get("request_id", "")
    if (seen := request.environ.get(observed.SEEN)) is not None:
        seen["route"] = request.url_rule.rule if request.url_rule is not None else None
        seen["user_id"] = g.identity.user_id if "identity" in g else None
    return response
