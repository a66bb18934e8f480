"""The trading page in a real browser, against a whole system: what a person does, and what they must see."""

import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsing import require_built_pages, serious_faults, watched_pages
from tests.e2e.conftest import PASSWORD, System, running_system

SCRIPT_LIMIT_BYTES = 110_000


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
    """Open the page in a browser of its own; whatever it complains of fails the test."""
    with watched_pages(browser, f"{system.url}/") as open_page:
        yield open_page


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    return new_page()


def register(page: Page, system: System, *, inr: int = 0) -> str:
    """Open an account on the page, and let an operator deposit rupees; its e-mail."""
    email = f"page-{secrets.token_hex(4)}@example.com"
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Name", exact=True).fill("Asha")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    if inr:
        system.flask("balance", "deposit", email, "--inr", str(inr))
        expect(page.get_by_test_id("available-inr")).to_have_text(f"₹{indian(inr)}")
    return email


def indian(amount: int) -> str:
    """100000 → 1,00,000."""
    digits = str(amount)
    head, tail = digits[:-3], digits[-3:]
    return ",".join([*re.findall(r"\d{1,2}(?=(?:\d\d)*$)", head), tail]) if head else tail


def order(page: Page) -> Any:
    return page.get_by_role("region", name="Order", exact=True)


def ask_for(page: Page, amount: str, side: str = "Buy") -> None:
    order(page).get_by_label("Amount").fill(amount)
    order(page).get_by_role("button", name=side, exact=True).click()


def confirm(page: Page) -> Any:
    return page.get_by_role("button", name="Confirm")


def status(page: Page) -> Any:
    return page.get_by_role("status")


def test_everybody_sees_the_price_and_follows_it(page: Page, system: System) -> None:
    system.flask("market", "fetch")
    rate = page.get_by_test_id("buy-rate")
    expect(rate).to_have_text(re.compile(r"^₹[\d,]+$"))
    before = rate.inner_text()
    system.set_source_price(system.rates()["btc_usd_price"] * 1.01)
    system.flask("market", "fetch")
    expect(rate).not_to_have_text(before)
    expect(page.get_by_role("region", name="Price")).to_contain_text("Fresh")
    expect(page.get_by_role("region", name="Chart")).to_be_visible()


def test_a_purchase_by_quote_shows_at_once(page: Page, system: System) -> None:
    register(page, system, inr=100_000)
    ask_for(page, "1000")
    expect(page.get_by_test_id("countdown")).to_contain_text("Firm for")
    expect(page.get_by_test_id("offer")).to_contain_text("₹1,000")
    confirm(page).click()
    expect(status(page)).to_contain_text("Bought")
    expect(page.get_by_test_id("available-inr")).to_have_text("₹99,000")
    expect(page.get_by_role("region", name="Transactions")).to_contain_text("Bought")
    ask_for(page, "500", "Sell")
    confirm(page).click()
    expect(status(page)).to_contain_text("Sold")
    expect(page.get_by_test_id("available-inr")).to_have_text("₹99,500")


def test_a_double_click_buys_once(page: Page, system: System) -> None:
    register(page, system, inr=10_000)
    ask_for(page, "1000")
    confirm(page).dblclick(delay=5)
    expect(status(page)).to_contain_text("Bought")
    expect(page.get_by_test_id("available-inr")).to_have_text("₹9,000")
    expect(page.get_by_role("region", name="Transactions").get_by_text("Bought")).to_have_count(1)


@pytest.mark.parametrize(
    ("amount", "words"),
    [("10001", "Insufficient INR balance"), ("-5", "Invalid amount"), ("", "Say how much")],
)
def test_what_cannot_be_bought_is_said_in_words(page: Page, system: System, amount: str, words: str) -> None:
    register(page, system, inr=10_000)
    ask_for(page, amount)
    expect(status(page)).to_contain_text(words)
    expect(confirm(page)).to_have_count(0)
    expect(page.get_by_test_id("available-inr")).to_have_text("₹10,000")


def test_a_wrong_password_is_refused_and_the_right_one_is_not(page: Page, system: System) -> None:
    email = register(page, system)
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill("not my pass phrase")
    page.get_by_role("button", name="Log in").click()
    expect(status(page)).to_contain_text("Invalid email or password")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_halted_trading_is_said(page: Page, system: System) -> None:
    register(page, system, inr=10_000)
    system.flask("trading", "halt", "--why", "a test")
    try:
        ask_for(page, "100")
        expect(status(page)).to_contain_text("Trading is halted")
    finally:
        system.flask("trading", "resume", "--why", "a test")


def test_a_limit_order_is_placed_and_cancelled(page: Page, system: System) -> None:
    register(page, system, inr=10_000)
    order(page).get_by_label("At a limit").check()
    order(page).get_by_label("Limit price").fill("2000000")
    ask_for(page, "1000")
    confirm(page).click()
    expect(status(page)).to_contain_text("The order waits")
    expect(page.get_by_test_id("available-inr")).to_have_text("₹9,000")
    waiting = page.get_by_role("region", name="Open orders")
    expect(waiting.get_by_role("listitem")).to_have_count(1)
    waiting.get_by_role("button", name="Cancel order").click()
    expect(status(page)).to_contain_text("cancelled")
    expect(page.get_by_test_id("available-inr")).to_have_text("₹10,000")
    expect(waiting.get_by_role("listitem")).to_have_count(0)


def test_two_tabs_agree(page: Page, new_page: Callable[..., Page], system: System) -> None:
    email = register(page, system, inr=10_000)
    other = new_page()
    other.get_by_label("E-mail").fill(email)
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Log in").click()
    expect(other.get_by_test_id("available-inr")).to_have_text("₹10,000")
    ask_for(page, "1000")
    confirm(page).click()
    expect(other.get_by_test_id("available-inr")).to_have_text("₹9,000")


def region(page: Page, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True)


def test_rupees_are_sent_to_another_user_once(page: Page, system: System) -> None:
    friend = system.new_person()
    register(page, system, inr=10_000)
    transfers = region(page, "Transfers")
    transfers.get_by_label("Send to").fill(friend.email)
    transfers.get_by_label("How much to send").fill("250")
    transfers.get_by_role("button", name="Send", exact=True).click()
    expect(transfers).to_contain_text("It cannot be taken back")
    transfers.get_by_role("button", name="Send now").dblclick(delay=5)
    expect(status(page)).to_contain_text("Sent ₹250 to Person")
    expect(page.get_by_test_id("available-inr")).to_have_text("₹9,750")
    expect(region(page, "Transactions")).to_contain_text("Sent")


def test_a_loan_is_taken_and_repaid(page: Page, system: System) -> None:
    register(page, system, inr=100_000)
    ask_for(page, "50000")
    confirm(page).click()
    expect(status(page)).to_contain_text("Bought")
    loans = region(page, "Loans")
    loans.get_by_label("Bitcoin to pledge").fill("0.001")
    loans.get_by_label("Rupees to borrow").fill("1000")
    loans.get_by_role("button", name="Borrow", exact=True).click()
    expect(status(page)).to_contain_text("Borrowed ₹1,000")
    expect(page.get_by_test_id("available-inr")).to_have_text("₹51,000")
    expect(loans.get_by_role("listitem")).to_contain_text("owed against")
    loans.get_by_label("How many rupees").fill("5000")
    loans.get_by_role("button", name="Repay", exact=True).click()
    expect(status(page)).to_contain_text("Nothing is owed any more")
    loans.get_by_label("What to do").select_option(label="Take back collateral")
    loans.get_by_label("How much bitcoin").fill("0.001")
    loans.get_by_role("button", name="Take back collateral").click()
    expect(status(page)).to_contain_text("The loan has ended")
    expect(loans.get_by_role("listitem")).to_have_count(0)


def test_the_account_s_own_settings(page: Page, system: System) -> None:
    email = register(page, system)
    system.post("/api/auth/login", {"email": email, "password": PASSWORD})
    page.get_by_role("button", name="Account settings").click()
    profile = region(page, "Profile")
    name = profile.get_by_role("form", name="Change name")
    name.get_by_label("New name").fill("Asha Rao")
    name.get_by_label("Current password").fill("not my password")
    name.get_by_role("button", name="Change name").click()
    expect(status(page)).to_contain_text("The current password is not right")
    name.get_by_label("Current password").fill(PASSWORD)
    name.get_by_role("button", name="Change name").click()
    expect(profile).to_contain_text("Asha Rao")
    sessions = region(page, "Sessions")
    sessions.get_by_role("button", name="End session").click()
    expect(status(page)).to_contain_text("That session has ended")
    keys = region(page, "API keys")
    keys.get_by_label("What for").fill("bot")
    keys.get_by_role("button", name="Make key").click()
    expect(keys.locator("code")).to_contain_text("bt_")
    keys.get_by_role("button", name="Revoke").click()
    expect(keys.get_by_role("listitem")).to_have_count(0)
    expect(region(page, "Activity")).to_contain_text("registered")
    assert serious_faults(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_sticks_out_at_any_width(
    new_page: Callable[..., Page], system: System, width: int, scheme: str
) -> None:
    page = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    register(page, system, inr=100_000)
    page.get_by_role("button", name="Account settings").click()
    expect(page.get_by_role("region", name="Activity")).to_contain_text("registered")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_view(
    new_page: Callable[..., Page], system: System, scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    expect(page.get_by_test_id("buy-rate")).to_be_visible()
    assert serious_faults(page) == []
    register(page, system, inr=100_000)
    assert serious_faults(page) == []
    ask_for(page, "1000")
    expect(page.get_by_test_id("countdown")).to_be_visible()
    assert serious_faults(page) == []


def test_the_first_page_is_small_and_kept(page: Page, system: System) -> None:
    scripts: dict[str, int] = {}
    page.on("response", lambda answer: scripts.update({answer.url: len(answer.body())}))
    answer = page.request.get(f"{system.url}/", headers={"Accept-Encoding": "gzip"})
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    names = re.findall(r"/assets/[\w.-]+\.js", answer.text())
    total = 0
    for name in names:
        script = page.request.get(f"{system.url}{name}", headers={"Accept-Encoding": "gzip"})
        assert "immutable" in script.headers["cache-control"]
        total += int(script.headers["content-length"])
    assert 0 < total <= SCRIPT_LIMIT_BYTES
