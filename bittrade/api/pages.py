"""The trading page and the operators' page: the files that `make web` built, each read once and kept compressed.

Where they were not built, the pages' addresses answer as any that does not exist. It must not know what the pages do.
"""

import gzip
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, request

from bittrade.api.security import public
from bittrade.errors import NotFound

BUILT = Path("web") / "dist"
INDEX, ADMIN, DOCS = "index.html", "admin.html", "docs.html"
KEY = "bittrade_pages"
COMPRESSIBLE = ("text/", "application/javascript", "image/svg+xml")
# Its own scripts, styles and images; its own API and socket. Nothing inline, nothing from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FOR_EVER = "public, max-age=31536000, immutable"  # a file's name changes with what is in it

blueprint = Blueprint("pages", __name__)


@dataclass(frozen=True, slots=True)
class File:
    """A built file; `packed` is its gzip form, where that is worth it."""

    body: bytes
    packed: bytes | None
    mimetype: str


def init_pages(app: Flask, folder: Path | None = None) -> None:
    """Read the built page, if it is there."""
    root = folder or Path(app.root_path).parent / BUILT
    app.extensions[KEY] = {
        str(path.relative_to(root)): _read(path) for path in sorted(root.rglob("*")) if path.is_file()
    }


def _read(path: Path) -> File:
    body = path.read_bytes()
    mimetype = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    is_text = mimetype.startswith(COMPRESSIBLE)
    return File(body, gzip.compress(body, 9, mtime=0) if is_text else None, mimetype)


@blueprint.get("/")
@public
def show_page() -> Response:
    """Serve the trading page."""
    return _serve_page(INDEX)


@blueprint.get("/admin")
@public
def show_admin() -> Response:
    """Serve the operators' page: a door, which shows nothing to who has no role."""
    return _serve_page(ADMIN)


@blueprint.get("/assets/<name>")
@public
def get_asset(name: str) -> Response:
    """Serve one of the page's files, to be kept for ever."""
    response = _serve(f"assets/{name}")
    response.headers["Cache-Control"] = FOR_EVER
    return response


@blueprint.get("/api/docs")
@public
def show_docs() -> Response:
    """Serve the API's document as a page where it can be tried."""
    return _serve_page(DOCS)


def _serve_page(name: str) -> Response:
    response = _serve(name)
    response.headers["Cache-Control"] = "no-cache"
    return response


def _serve(name: str) -> Response:
    file: File | None = current_app.extensions[KEY].get(name)
    if file is None:
        raise NotFound()
    is_packed = file.packed is not None and request.accept_encodings.quality("gzip") > 0
    response = Response(file.packed if is_packed else file.body, mimetype=file.mimetype)
    if file.packed is not None:
        response.vary.add("Accept-Encoding")
    if is_packed:
        response.content_encoding = "gzip"
    response.headers["Content-Security-Policy"] = POLICY
    response.add_etag()
    response.make_conditional(request)
    return response
