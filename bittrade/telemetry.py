"""Errors to Sentry and traces to OpenTelemetry, where an operator asks for them: requirements-extras.txt has the packages.

What leaves this machine is told as little as the log is: no body, no cookie, no variable of a traceback's frames, and no
token, whoever wrote it there. config.py has refused to start where a package is missing.
"""

from typing import Any

from flask import Flask, Response, g, request

from bittrade import logs
from bittrade.version import VERSION


def init_app(app: Flask) -> None:
    """Begin what is configured. After the extensions, before anything is wrapped around the application."""
    if app.config["SENTRY_DSN"]:
        _start_sentry(app.config["SENTRY_DSN"], app.config["BITTRADE_ENV"])
    if app.config["OTEL_EXPORTER_OTLP_ENDPOINT"]:
        _start_tracing(app, app.config["OTEL_EXPORTER_OTLP_ENDPOINT"])


# --- Sentry -------------------------------------------------------------------------------------------------------


def _start_sentry(dsn: str, environment: str, **more: Any) -> None:
    import sentry_sdk
    from sentry_sdk.integrations.flask import FlaskIntegration
    from sentry_sdk.integrations.rq import RqIntegration

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        release=f"bittrade@{VERSION}",
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_enabling_integrations=False,
        integrations=[FlaskIntegration(), RqIntegration()],
        before_send=prepare_event,
        **more,
    )


def prepare_event(event: Any, _hint: Any = None) -> Any:
    """Return what Sentry may have of an event: the request without what the client sent, and the ids of its log lines."""
    asked = event.get("request")
    if asked is not None:
        event["request"] = {name: asked[name] for name in ("method", "url") if name in asked}
    event["tags"] = {**(event.get("tags") or {}), **logs.current()}
    return _redacted(event)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return logs.redact(value)
    if isinstance(value, dict):
        return {key: _redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    return value


# --- OpenTelemetry ------------------------------------------------------------------------------------------------


def _start_tracing(app: Flask, endpoint: str) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    trace_requests(app, BatchSpanProcessor(exporter))


def trace_requests(app: Flask, processor: Any) -> None:
    """Make a span of each request that Flask answers, within the client's trace where it names one (`traceparent`)."""
    from opentelemetry.propagate import extract
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanKind, Status, StatusCode

    provider = TracerProvider(
        resource=Resource.create({"service.name": "bittrade", "service.version": VERSION})
    )
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("bittrade")

    def begin() -> None:
        route = request.url_rule.rule if request.url_rule is not None else "unmatched"
        g.span = tracer.start_span(
            f"{request.method} {route}",
            context=extract({name.lower(): value for name, value in request.headers}),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": request.method, "http.route": route, **logs.current()},
        )

    def note(response: Response) -> Response:
        if (span := g.get("span")) is not None:
            span.set_attribute("http.response.status_code", response.status_code)
            if response.status_code >= 500:
                span.set_status(Status(StatusCode.ERROR))
        return response

    def end(_error: BaseException | None) -> None:
        if (span := g.pop("span", None)) is not None:
            span.end()

    app.before_request(begin)
    app.after_request(note)
    app.teardown_request(end)
