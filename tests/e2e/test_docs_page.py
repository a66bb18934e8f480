"""The API's document as a page, in a real browser: every operation is there, and trying one asks this server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsing import require_built_pages, watched_pages
from tests.e2e.conftest import PASSWORD, System, running_system


@pytest.fixture(scope="module")
def system(scratch_database: str, redis_url: str, surroundings: Any) -> Iterator[System]:
    require_built_pages(surroundings)
    with running_system(scratch_database, redis_url, MAX_PRICE_AGE_S="3600") as started:
        started.start_simulator()
        started.flask("market", "fetch")
        started.start_web()
        yield started


@pytest.fixture
def new_page(browser: Browser, system: System) -> Iterator[Callable[..., Page]]:
    with watched_pages(browser, f"{system.url}/api/docs") as open_page:
        yield open_page


def operation(page: Page, method: str, path: str) -> Any:
    """Open one operation; its block."""
    block = page.locator(".opblock", has=page.locator(f'.opblock-summary-path[data-path="{path}"]')).filter(
        has=page.locator(f'.opblock-summary-method:text-is("{method}")')
    )
    block.locator(".opblock-summary-control").click()
    expect(block.get_by_role("button", name="Execute")).to_be_visible()
    return block


def execute(block: Any) -> Any:
    block.get_by_role("button", name="Execute").click()
    return block.locator(".live-responses-table tbody .response-col_status").first


def test_every_operation_is_shown_and_nothing_is_asked_elsewhere(
    new_page: Callable[..., Page], system: System
) -> None:
    asked: list[str] = []
    page = new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    document = page.request.get(f"{system.url}/api/openapi.json").json()
    count = sum(len(item) for item in document["paths"].values())
    expect(page.locator(".opblock")).to_have_count(count)
    assert {url for url in asked if not url.startswith((system.url, "data:"))} == set()


def test_an_operation_is_tried_with_a_token(new_page: Callable[..., Page], system: System) -> None:
    person = system.new_person(inr=10_000)
    page = new_page()
    rates = operation(page, "GET", "/api/market-rates")
    expect(execute(rates)).to_contain_text("200")
    expect(rates).to_contain_text("buy_rate_inr")

    balance = operation(page, "GET", "/api/balance")
    expect(execute(balance)).to_contain_text("401")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".auth-container input").fill(person.token)
    page.locator(".auth-btn-wrapper button.authorize").click()
    page.locator(".auth-btn-wrapper button.btn-done").click()
    expect(execute(balance)).to_contain_text("200")
    expect(balance).to_contain_text("10000")
    assert PASSWORD not in page.content()


def test_a_link_shows_no_other_document(new_page: Callable[..., Page], system: System) -> None:
    page = new_page()
    page.goto(
        f"{system.url}/api/docs?url=http://127.0.0.1:9/evil.json&configUrl=http://127.0.0.1:9/evil.json"
    )
    expect(page.locator(".opblock").first).to_be_visible()
    expect(page.locator(".info .title")).to_contain_text("BitTrade API")
