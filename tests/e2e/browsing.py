"""A real browser for the tests of the pages: whatever a page complains of fails its test, and axe-core looks at it."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.fixtures import ROOT

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 20_000
# What the browser says of an answer that is no 2xx: the page shows the refusal, and that is what it is about.
EXPECTED = re.compile(r"Failed to load resource: the server responded with a status of (4\d\d|503)")
AXE = Path(__file__).resolve().parent / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")

expect.set_options(timeout=PATIENCE_MS)


def require_built_pages(surroundings: Any) -> None:
    """Skip, or fail where everything must be there, unless `make web` was run."""
    if not (ROOT / "web" / "dist" / "index.html").exists():
        if surroundings.must_be_real:
            pytest.fail("the pages were not built: make web", pytrace=False)
        pytest.skip("needs npm")


@contextmanager
def open_browser(surroundings: Any) -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        if surroundings.must_be_real:
            pytest.fail("BITTRADE_REQUIRE_SERVICES=1 and chromium is not on the PATH", pytrace=False)
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@contextmanager
def watched_pages(
    browser: Browser, url: str, expected: re.Pattern[str] = EXPECTED
) -> Iterator[Callable[..., Page]]:
    """Yield what opens a page in a browser of its own; whatever one of them complains of fails the test at the end,
    but for what is expected."""
    complaints: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not expected.match(message.text):
            complaints.append(message.text)

    def open_page(**options: Any) -> Page:
        context = browser.new_context(locale="en-IN", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def serious_faults(page: Page) -> list[str]:
    """Return what axe-core finds in what is shown now that keeps somebody from using it: rule, and where."""
    if not AXE.exists():
        pytest.skip("needs npm")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']}: {node['html']} {node['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]
