"""The API's own description, made from what the handlers declare: schemas, statuses, error codes, security.

`documented(...)` is the one decorator: it validates the body and the query against their schemas (spectree with
pydantic), and writes the route into `/api/openapi.json` (OpenAPI 3.1) with every error it names.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from flask import Flask, Request, current_app, make_response, request
from pydantic import BaseModel, ValidationError
from spectree import Response as Answers
from spectree import SecurityScheme, SpecTree
from spectree.models import SecureType, SecuritySchemeData
from spectree.plugins.base import Context
from spectree.plugins.flask_plugin import FlaskPlugin

from bittrade.api import examples, limits, requests
from bittrade.api.errors import status_of
from bittrade.api.limits import Limit
from bittrade.api.schemas import Body, ErrorAnswer
from bittrade.api.security import protected, public
from bittrade.domain.roles import Role
from bittrade.errors import (
    AdminRequired,
    BitTradeError,
    BodyTooLarge,
    BodyTooSlow,
    BrokenBody,
    DatabaseUnavailable,
    InsufficientScope,
    InvalidInput,
    InvalidJson,
    MissingFields,
    RateLimited,
    TokenInvalid,
    TokenMissing,
    UnsupportedMediaType,
)
from bittrade.version import VERSION

Handler = Callable[..., Any]
ALWAYS = (DatabaseUnavailable, RateLimited)
WITH_BODY = (
    InvalidJson,
    InvalidInput,
    MissingFields,
    UnsupportedMediaType,
    BodyTooLarge,
    BodyTooSlow,
    BrokenBody,
)
WITH_TOKEN = (TokenMissing, TokenInvalid, InsufficientScope)


class StrictFlaskPlugin(FlaskPlugin):
    """Reads bodies strictly (the library takes malformed JSON for an empty object), and checks answers in tests only."""

    def request_validation(self, asked: Request, query: Any, json: Any, *_others: Any) -> None:
        """Raises the contract's error rather than the library's."""
        asked.context = Context(  # type: ignore[attr-defined]
            _read(query, asked.args.to_dict) if query else None,
            _read(json, _body_of(json)) if json else None,
            None,
            None,
            None,
        )

    def validate_response(self, resp: Any, *args: Any) -> Any:
        if current_app.testing:
            return super().validate_response(resp, *args)
        return make_response(resp), None


def _body_of(schema: type[Body]) -> Callable[[], dict[str, Any]]:
    """Return what reads the request's body; where the schema may be left out, no body at all is an empty one."""
    if schema.MAY_BE_MISSING and not request.get_data(cache=True):
        return dict
    return requests.read_object


def _read(schema: type[Body], source: Callable[[], dict[str, Any]]) -> Body:
    try:
        return schema.model_validate(source())
    except ValidationError as error:
        raise schema.complaint(error) from error


spec = SpecTree(
    "flask",
    backend=StrictFlaskPlugin,
    validation_error_status=400,
    validation_error_model=ErrorAnswer,
    title="BitTrade API",
    version=VERSION,
    description="Buy and sell bitcoin against rupees. Money is in whole rupees and satoshis.",
    mode="strict",
    naming_strategy=lambda model: model.__name__,
    nested_naming_strategy=lambda _parent, child: child,
    security_schemes=[
        SecurityScheme(
            name="token",
            data=SecuritySchemeData(
                type=SecureType.HTTP, scheme="bearer", bearer_format="JWT, or an API key (bt_…)"
            ),
        )
    ],
)


def documented(
    answer: Any,
    *raises: type[BitTradeError],
    tag: str,
    status: int = 200,
    needs_token: bool = False,
    scope: Collection[str] = (),
    roles: Collection[Role] = (),
    limit: Sequence[Limit] = limits.READ,
) -> Callable[[Handler], Handler]:
    """Validate a handler's input, check its token, and document it with its answer and the errors it `raises`.

    `answer` is the schema of the `status`, or a dict of schemas by status. A handler takes its body as an argument `json` and its query as `query`, each annotated with a schema. One of the
    scopes is what an API key needs, one of the `roles` what a person needs; `limit` is how often it may be asked.
    """

    def decorate(handler: Handler) -> Handler:
        takes = handler.__annotations__
        errors = {
            *raises,
            *ALWAYS,
            *(WITH_BODY if "json" in takes else ()),
            *((InvalidInput,) if "query" in takes else ()),
            *(WITH_TOKEN if needs_token else ()),
            *((AdminRequired,) if roles else ()),
        }
        answers = answer if isinstance(answer, dict) else {status: answer}
        validated = spec.validate(
            resp=Answers(
                **{f"HTTP_{code}": shape for code, shape in answers.items()}, **_error_answers(errors)
            ),
            security={"token": []} if needs_token else {},
            tags=[tag],
        )(handler)
        if needs_token:
            return protected(validated, scope=scope, roles=roles, limit=limit)
        return public(validated, limit=limit)

    return decorate


def _error_answers(errors: set[type[BitTradeError]]) -> dict[str, tuple[type[BaseModel], str]]:
    codes: dict[int, list[str]] = defaultdict(list)
    for error in errors:
        codes[status_of(error)].append(error.code)
    return {f"HTTP_{status}": (ErrorAnswer, ", ".join(sorted(names))) for status, names in codes.items()}


def register_openapi(app: Flask) -> None:
    """Serve the document. It is made once for the process: making it uses up the library's own state."""

    @app.get("/api/openapi.json")
    @public
    def openapi() -> Any:
        """This document."""
        return app.json.response(_document(app))


_documents: list[dict[str, Any]] = []


def _document(app: Flask) -> dict[str, Any]:
    if not _documents:
        spec.app = app
        _documents.append(examples.add_to(spec.spec))
    return _documents[0]
