"""The operators' page in a real browser: what staff does there, and that nobody else sees anything of it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsing import require_built_pages, serious_faults, watched_pages
from tests.e2e.conftest import PASSWORD, Person, System, running_system

LIMIT_INR = 50_000
VIEWS = (
    *("Overview", "Users", "Approvals", "Transactions", "Spread and trading"),
    *("Sources", "Queues and sockets", "Ledger", "Audit"),
)


@dataclass(frozen=True)
class House:
    """A running system with two admins, somebody of support, and a customer."""

    system: System
    admin: Person
    second: Person
    support: Person
    customer: Person


@pytest.fixture(scope="module")
def house(scratch_database: str, redis_url: str, surroundings: Any) -> Iterator[House]:
    require_built_pages(surroundings)
    variables = {"MAX_PRICE_AGE_S": "3600", "APPROVAL_ABOVE_INR": str(LIMIT_INR)}
    with running_system(scratch_database, redis_url, **variables) as system:
        system.start_simulator()
        system.flask("market", "fetch")
        system.start_web()
        people = [system.new_person() for _ in range(3)]
        for person, role in zip(people, ("admin", "admin", "support"), strict=True):
            system.flask("user", "role", person.email, role, "--why", "a test")
        customer = system.new_person(inr=10_000)
        customer.trade("buy", "1000")
        yield House(system, *people, customer)


@pytest.fixture
def new_page(browser: Browser, house: House) -> Iterator[Callable[..., Page]]:
    with watched_pages(browser, f"{house.system.url}/admin") as open_page:
        yield open_page


@pytest.fixture
def log_in(new_page: Callable[..., Page]) -> Callable[..., Page]:
    """Open the page and log somebody in."""

    def enter(person: Person, **options: Any) -> Page:
        page = new_page(**options)
        page.get_by_label("E-mail").fill(person.email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(status(page)).not_to_be_empty()
        return page

    return enter


def status(page: Page) -> Any:
    return page.get_by_role("status")


def go_to(page: Page, view: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=view, exact=True).click()
    expect(page.get_by_role("heading", name=view, level=2)).to_be_visible()


def find(page: Page, person: Person) -> None:
    go_to(page, "Users")
    page.get_by_label("E-mail, name or number").fill(person.email)
    page.get_by_role("button", name="Search").click()
    page.get_by_role("main").get_by_role("link", name=person.email).click()
    expect(page.get_by_role("region", name="Account")).to_contain_text(person.email)


def move(page: Page, amount: str, what: str = "Deposit rupees") -> None:
    form = page.get_by_role("region", name="Move money")
    form.get_by_label("What").select_option(label=what)
    form.get_by_label("Amount").fill(amount)
    form.get_by_label("Reason").fill("a bank transfer came")
    form.get_by_role("button", name="Continue").click()
    form.get_by_role("button", name="Confirm").dblclick(delay=5)


def balance(house: House) -> int:
    headers = {"Authorization": f"Bearer {house.customer.token}"}
    held = requests.get(f"{house.system.url}/api/balance", headers=headers, timeout=60).json()
    return int(held["available_inr"])


def test_who_has_no_role_sees_nothing_of_it(house: House, log_in: Callable[..., Page]) -> None:
    scripts: list[str] = []
    page = log_in(house.customer)
    page.on("request", lambda request: scripts.append(request.url))
    expect(status(page)).to_contain_text("Your account has no role here")
    expect(page.get_by_role("navigation")).to_have_count(0)
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert not [url for url in scripts if "Desk" in url or "/api/admin" in url]


def test_a_small_deposit_is_done_once(house: House, log_in: Callable[..., Page]) -> None:
    before = balance(house)
    page = log_in(house.admin)
    find(page, house.customer)
    move(page, "1,000")
    expect(status(page)).to_contain_text("Deposited")
    assert balance(house) == before + 1000
    expect(page.get_by_role("region", name="What belongs to it")).to_contain_text("Deposit of rupees")


def test_a_second_admin_approves_a_deposit_of_the_first(house: House, log_in: Callable[..., Page]) -> None:
    before = balance(house)
    first = log_in(house.admin)
    find(first, house.customer)
    move(first, str(LIMIT_INR + 1))
    expect(status(first)).to_contain_text("It waits for a second one")
    go_to(first, "Approvals")
    expect(first.get_by_role("region", name="Approvals")).to_contain_text("waits for another admin")
    expect(first.get_by_role("button", name="Approve")).to_have_count(0)
    assert balance(house) == before

    second = log_in(house.second)
    go_to(second, "Approvals")
    second.get_by_role("button", name="Approve").click()
    second.get_by_label("Reason").fill("seen on the account")
    second.get_by_role("button", name="Confirm").click()
    expect(status(second)).to_contain_text("Approved, and done")
    expect(second.get_by_role("region", name="Approvals")).to_contain_text("None.")
    assert balance(house) == before + LIMIT_INR + 1
    go_to(second, "Audit")
    expect(second.get_by_role("region", name="Audit")).to_contain_text("approval given")


def test_trading_is_halted_and_resumed(house: House, log_in: Callable[..., Page]) -> None:
    page = log_in(house.admin)
    go_to(page, "Spread and trading")
    page.get_by_role("button", name="Halt trading").click()
    page.get_by_label("Reason").first.fill("a broken source")
    page.get_by_role("button", name="Confirm").click()
    expect(status(page)).to_contain_text("Trading is halted")
    trade = {"action": "buy", "type": "market", "amount": "100", "currency": "inr"}
    refused = house.system.post("/api/trade", trade, house.customer.login())
    assert refused.json()["code"] == "trading_halted"
    page.get_by_role("button", name="Resume trading").click()
    page.get_by_label("Reason").first.fill("mended")
    page.get_by_role("button", name="Confirm").click()
    expect(status(page)).to_contain_text("Trading goes on")
    house.customer.trade("buy", "100")


def test_the_spread_is_changed_and_a_large_step_asks_again(house: House, log_in: Callable[..., Page]) -> None:
    page = log_in(house.admin)
    go_to(page, "Spread and trading")
    spread = page.get_by_role("region", name="Spread", exact=True)
    spread.get_by_label("Buy multiplier").fill("930")
    spread.get_by_label("Reason").fill("a new rate")
    spread.get_by_role("button", name="Change spread").click()
    expect(status(page)).to_contain_text("Are you sure?")
    spread.get_by_label("Buy multiplier").fill("92")
    spread.get_by_role("button", name="Change spread").click()
    expect(status(page)).to_contain_text("The new rates hold")
    expect(spread).to_contain_text("92")


def test_support_reads_and_writes_notes_and_has_no_lever(house: House, log_in: Callable[..., Page]) -> None:
    page = log_in(house.support)
    find(page, house.customer)
    page.get_by_role("textbox", name="Note").fill("asked how to withdraw")
    page.get_by_role("button", name="Add note").click()
    expect(page.get_by_role("region", name="Notes")).to_contain_text("asked how to withdraw")
    for name in ("Disable", "Continue", "Unlock"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    go_to(page, "Spread and trading")
    expect(page.get_by_role("region", name="Trading")).to_contain_text("open")
    expect(page.get_by_role("button", name=re.compile("Halt|Change"))).to_have_count(0)


def test_who_is_demoted_is_shown_the_door(house: House, log_in: Callable[..., Page]) -> None:
    passing = house.system.new_person()
    house.system.flask("user", "role", passing.email, "admin", "--why", "a test")
    page = log_in(passing)
    go_to(page, "Users")
    house.system.flask("user", "role", passing.email, "user", "--why", "left us")
    page.get_by_role("navigation").get_by_role("link", name="Audit").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    expect(page.get_by_role("navigation")).to_have_count(0)


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1440, "light")])
def test_every_view_fits_and_axe_finds_nothing_serious(
    house: House, log_in: Callable[..., Page], width: int, scheme: str
) -> None:
    page = log_in(house.admin, viewport={"width": width, "height": 900}, color_scheme=scheme)
    for view in VIEWS:
        go_to(page, view)
        expect(page.get_by_text("Loading …")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        assert serious_faults(page) == [], view
    find(page, house.customer)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page) == []


def test_it_works_by_keyboard_and_keeps_its_place(house: House, log_in: Callable[..., Page]) -> None:
    page = log_in(house.admin)
    page.get_by_role("navigation").get_by_role("link", name="Ledger").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Ledger")).to_be_focused()
    page.go_back()
    expect(page.get_by_role("heading", name="Overview", level=2)).to_be_visible()


def test_the_page_has_a_strict_policy_and_no_token_outside_its_memory(
    house: House, log_in: Callable[..., Page]
) -> None:
    page = log_in(house.admin)
    answer = page.request.get(f"{house.system.url}/admin")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-cache"
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
