"""Every answer that is not 2xx: JSON with `error` for people, `code` for machines, and the facts as further keys."""

import logging
from typing import Any

from flask import Flask, Response, current_app, jsonify, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from bittrade import errors
from bittrade.errors import BitTradeError

log = logging.getLogger(__name__)

# The most specific class wins; what is not here is a 500.
STATUS: dict[type[BitTradeError], int] = {
    errors.InvalidInput: 400,
    errors.UnsupportedMediaType: 415,
    errors.BodyTooLarge: 413,
    errors.BodyTooSlow: 408,
    errors.TokenMissing: 401,
    errors.TokenInvalid: 403,
    errors.InsufficientScope: 403,
    errors.AdminRequired: 403,
    errors.OwnApproval: 403,
    errors.StaffAccount: 409,
    errors.ApprovalNotFound: 404,
    errors.ApprovalNotPending: 409,
    errors.TooManyApprovals: 409,
    errors.RateLimited: 429,
    errors.KeyNotFound: 404,
    errors.TooManyKeys: 409,
    errors.SessionNotFound: 404,
    errors.InvalidCredentials: 401,
    errors.AccountLocked: 429,
    errors.TooBusy: 503,
    errors.EmailTaken: 409,
    errors.UserNotFound: 404,
    errors.InsufficientFunds: 400,
    errors.PriceMoved: 409,
    errors.QuoteNotFound: 404,
    errors.QuoteExpired: 409,
    errors.QuoteUsed: 409,
    errors.TooManyQuotes: 429,
    errors.ClientOrderIdReused: 409,
    errors.TradingHalted: 503,
    errors.OrderNotFound: 404,
    errors.OrderNotOpen: 409,
    errors.TooManyOrders: 409,
    errors.PlanNotFound: 404,
    errors.LoanNotFound: 404,
    errors.LoanNotActive: 409,
    errors.TooManyLoans: 409,
    errors.PlanEnded: 409,
    errors.TooManyPlans: 409,
    errors.AlreadyReversed: 409,
    errors.NotReversible: 409,
    errors.TransactionNotFound: 404,
    errors.NoReceipt: 404,
    errors.RatesUnavailable: 503,
    errors.PriceUncertain: 503,
    errors.IdempotencyKeyReused: 409,
    errors.NotFound: 404,
    errors.NoData: 404,
    errors.DatabaseUnavailable: 503,
    errors.ShuttingDown: 503,
    errors.OutcomeUnknown: 503,
    errors.ProviderError: 503,
}
HTTP_CODES = {
    400: ("bad_request", "Bad request"),
    404: (errors.NotFound.code, errors.NotFound.message),
    405: ("method_not_allowed", "Method not allowed"),
    413: (errors.BodyTooLarge.code, errors.BodyTooLarge.message),
    415: (errors.UnsupportedMediaType.code, errors.UnsupportedMediaType.message),
    500: ("internal_error", BitTradeError.message),
}
DEFAULT_RETRY_AFTER_S = 5


def init_app(app: Flask) -> None:
    app.register_error_handler(BitTradeError, answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(ParseException, _answer_broken_body)
    app.register_error_handler(Exception, _answer_bug)


def status_of(error: type[BitTradeError]) -> int:
    return next((STATUS[kind] for kind in error.__mro__ if kind in STATUS), 500)


def answer(error: BitTradeError) -> Response:
    """The answer to an error that BitTrade raised on purpose."""
    status = status_of(type(error))
    if status == 500:
        return _answer_bug(error)
    response = _response(status, error.code, error.message, error.facts)
    if status in (429, 503):
        response.headers["Retry-After"] = str(error.facts.get("retry_after_s", DEFAULT_RETRY_AFTER_S))
    return response


def _answer_http(error: HTTPException) -> Response:
    """Werkzeug's own refusals, in our shape and with their headers (Allow, for one)."""
    if error.response is not None and error.code is None:
        return current_app.make_response(error.response)
    if request.method == "OPTIONS" and request.routing_exception is error:
        return Response(status=204)  # a preflight that fails would hide our 404 from the page that asks
    status = error.code or 500
    code, message = HTTP_CODES.get(status, (f"http_{status}", error.name))
    response = _response(status, code, message, {})
    for name, value in error.get_headers(request.environ):
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _answer_broken_body(_error: ParseException) -> Response:
    """A malformed chunk: gunicorn finds it only while we read the body."""
    response = _response(400, "bad_request", HTTP_CODES[400][1], {})
    response.headers["Connection"] = "close"
    return response


def _answer_bug(error: Exception) -> Response:
    """The last resort: the log gets everything, the client a request id and nothing else."""
    log.exception("unexpected error", exc_info=error)
    code, message = HTTP_CODES[500]
    return _response(500, code, message, {})


def _response(status: int, code: str, message: str, facts: dict[str, Any]) -> Response:
    response = jsonify({"error": message, "code": code, **facts})
    response.status_code = status
    return response
