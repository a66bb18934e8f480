"""The trading page when things go wrong under it, and when it stays open for long."""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsing import EXPECTED, require_built_pages, watched_pages
from tests.e2e.conftest import ROOT, System, running_system
from tests.e2e.test_page import ask_for, confirm, order, register, status

QUOTE_S = 3
# What the browser says besides while the server is away.
AWAY = re.compile(
    rf"{EXPECTED.pattern}|WebSocket connection to \S+ failed|Failed to load resource: net::ERR_CONNECTION_REFUSED"
)
OPEN_S = float(os.environ.get("PAGE_OPEN_S", "10"))  # two hours were asked for: 7200
GROWTH_BYTES = 2_000_000
# `make screenshots` keeps them in docs/screenshots.
SCREENSHOTS = os.environ.get("SCREENSHOTS")


@pytest.fixture(scope="module")
def system(scratch_database: str, redis_url: str, surroundings: Any) -> Iterator[System]:
    require_built_pages(surroundings)
    variables = {"MAX_PRICE_AGE_S": "20", "QUOTE_LIFETIME_S": str(QUOTE_S)}
    with running_system(scratch_database, redis_url, **variables) as started:
        started.start_simulator()
        started.start_web()
        yield started


@pytest.fixture(autouse=True)
def _fresh_price(system: System) -> None:
    system.flask("market", "fetch")


@pytest.fixture
def new_page(browser: Browser, system: System) -> Iterator[Callable[..., Page]]:
    with watched_pages(browser, f"{system.url}/", AWAY) as open_page:
        yield open_page


def test_a_quote_that_runs_out_buys_nothing(new_page: Callable[..., Page], system: System) -> None:
    page = new_page()
    register(page, system, inr=10_000)
    ask_for(page, "1000")
    expect(page.get_by_test_id("countdown")).to_contain_text("Firm for")
    expect(page.get_by_test_id("countdown")).to_contain_text("run out")
    expect(confirm(page)).to_be_disabled()
    expect(page.get_by_test_id("available-inr")).to_have_text("₹10,000")
    system.flask("market", "fetch")
    ask_for(page, "1000")
    confirm(page).click()
    expect(status(page)).to_contain_text("Bought")


def test_a_price_that_grew_old_is_shown_as_that_and_buys_nothing(
    new_page: Callable[..., Page], system: System
) -> None:
    page = new_page()
    register(page, system, inr=10_000)
    expect(page.get_by_role("region", name="Price")).to_contain_text("Too old to trade on", timeout=60_000)
    ask_for(page, "1000")
    expect(status(page)).to_contain_text("no fresh price")
    expect(confirm(page)).to_have_count(0)
    system.flask("market", "fetch")
    expect(page.get_by_role("region", name="Price")).to_contain_text("Fresh")


def test_a_server_that_restarts_under_the_page_is_said_and_trading_goes_on(
    new_page: Callable[..., Page], system: System
) -> None:
    page = new_page()
    register(page, system, inr=10_000)
    web = system.process("web")
    web.end()
    web.log.unlink()
    system.processes.remove(web)
    expect(page.get_by_role("alert")).to_contain_text("The connection is lost")
    system.start_web()
    expect(page.get_by_role("alert")).to_have_count(0, timeout=60_000)
    system.flask("market", "fetch")
    ask_for(page, "1000")
    confirm(page).click()
    expect(status(page)).to_contain_text("Bought")
    expect(page.get_by_test_id("available-inr")).to_have_text("₹9,000")


def test_a_page_that_stays_open_keeps_its_memory(new_page: Callable[..., Page], system: System) -> None:
    page = new_page()
    register(page, system, inr=10_000)
    worker, scheduler = (
        system.start("worker", "worker.py"),
        system.start("scheduler", "worker.py", "scheduler"),
    )
    rate = page.get_by_test_id("buy-rate")
    usd, heaps = system.rates()["btc_usd_price"], []
    began = time.monotonic()
    try:
        while time.monotonic() - began < OPEN_S:
            before = rate.inner_text()
            usd += 50 if usd < 100_000 else -50
            system.set_source_price(usd)
            expect(rate).not_to_have_text(before)
            heaps.append(heap_of(page))
    finally:
        worker.end()
        scheduler.end()
    print(
        f"{len(heaps)} prices in {OPEN_S:.0f} s: {heaps[0] / 1e6:.1f} MB, at the end {heaps[-1] / 1e6:.1f} MB"
    )
    assert heaps[-1] - heaps[len(heaps) // 4] < GROWTH_BYTES


def heap_of(page: Page) -> int:
    """Bytes that the page's script holds once everything that it let go is gone."""
    inspector = page.context.new_cdp_session(page)
    inspector.send("HeapProfiler.collectGarbage")
    used = int(inspector.send("Runtime.getHeapUsage")["usedSize"])
    inspector.detach()
    return used


def test_the_first_paint_is_told(new_page: Callable[..., Page]) -> None:
    page = new_page()
    expect(page.get_by_test_id("buy-rate")).to_be_visible()
    first = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"first contentful paint after {first:.0f} ms")
    assert first > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_screenshots(
    new_page: Callable[..., Page], system: System, tmp_path: Path, width: int, scheme: str
) -> None:
    if not SCREENSHOTS:
        pytest.skip("make screenshots")
    page = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    register(page, system, inr=100_000)
    ask_for(page, "25000")
    confirm(page).click()
    expect(status(page)).to_contain_text("Bought")
    order(page).get_by_label("Amount").fill("1000")
    expect(page.get_by_role("region", name="Transactions")).to_contain_text("Bought")
    expect(page.get_by_role("region", name="Balance")).not_to_contain_text("is worth₹0")
    expect(page.get_by_role("region", name="Chart")).to_be_visible()
    page.wait_for_load_state("networkidle")
    folder = ROOT / "docs" / "screenshots"
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"trading-{width}-{scheme}.png", full_page=True)
