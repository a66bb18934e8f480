"""The sockets' events, described for machines at `/api/asyncapi.json` and for people at `/api/docs/events`.

Both are asyncapi.json, beside this file; the tests hold every event that they see to it. Each is made once for the
process: they are the same for everybody.
"""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app

from bittrade.api import documents
from bittrade.api.security import public

HERE = Path(__file__).parent
TEXT = (HERE / "asyncapi.json").read_bytes()
DOCUMENT: dict[str, Any] = json.loads(TEXT)
STYLE = (HERE / "templates" / "events.css").read_text()
# Nothing but this very stylesheet: no script, no image, no other style, wherever they come from.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint("asyncapi", __name__, url_prefix="/api", template_folder="templates")


@blueprint.get("/asyncapi.json")
@public
def get_document() -> Response:
    """Every event of the sockets: AsyncAPI 3."""
    return Response(TEXT, mimetype="application/json")


@blueprint.get("/docs/events")
@public
def show_events() -> Response:
    """The same as a page."""
    return Response(_page(), mimetype="text/html", headers={"Content-Security-Policy": POLICY})


@cache
def _page() -> str:
    return render(DOCUMENT)


def render(document: dict[str, Any]) -> str:
    """The page that shows a document."""
    # The template is asked itself: `render_template` would let it see the request, and this page has none.
    return current_app.jinja_env.get_template("events.html").render(
        info=document["info"],
        servers=document["servers"],
        channel=documents.inlined(document["channels"]["root"], document),
        operations=documents.list_operations(document),
        style=STYLE,
    )
