"""What admins are told over their sockets: what has changed, in the shape of the API's lists, and nobody else a word."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bittrade.domain.roles import Role
from bittrade.services import settings
from bittrade.services.auth import staff
from bittrade.services.operators import news
from bittrade.sockets.upkeep import Upkeep
from tests.fixtures import Person
from tests.sockets.conftest import Client, Connect, MakeUser, member, trade

EVENTS = {event.name for event in news.ALL}


@pytest.fixture(autouse=True)
def _told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However soon it comes after the last; that each waits is a test of its own."""
    at_once = tuple(news.News(event.name, event.load, event.depends_on, 0) for event in news.ALL)
    monkeypatch.setattr(news, "ALL", at_once)


@pytest.fixture
def admin(app: Flask, make_user: MakeUser) -> Person:
    person = make_user()
    give_role(app, person, Role.ADMIN)
    return person


def give_role(app: Flask, person: Person, role: Role) -> None:
    with app.app_context():
        staff.set_role(person.id, role, why="a test")


def told(socket: Client, upkeep: Upkeep) -> dict[str, dict]:
    """The events for staff that a look brings."""
    socket.got()
    upkeep.staff_news.look()
    return {name: payload for name, payload in socket.got() if name.startswith("admin_")}


def test_an_admin_is_told_everything_first_and_then_what_changes(
    client: FlaskClient, connect: Connect, make_user: MakeUser, upkeep: Upkeep, admin: Person, price: None
) -> None:
    socket, customer = member(connect, admin.token), make_user(inr=10_000)
    assert set(told(socket, upkeep)) == EVENTS
    assert told(socket, upkeep) == {}
    trade(client, customer)
    found = told(socket, upkeep)
    assert set(found) == EVENTS - {"admin_settings_update"}
    newest = found["admin_transaction_update"]["transactions"][0]
    assert (newest["type"], newest["user_email"]) == ("MARKET_BUY", customer.email)
    assert found["admin_metrics_update"]["total_trades"] == 1
    settings.set_setting("buy_multiplier", "92")
    found = told(socket, upkeep)
    assert found["admin_settings_update"]["buy_multiplier"]["value"] == 92


def test_it_says_what_the_api_answers(
    client: FlaskClient, connect: Connect, upkeep: Upkeep, admin: Person
) -> None:
    found = told(member(connect, admin.token), upkeep)
    for name, path in (
        ("admin_user_update", "users"),
        ("admin_dca_plans_update", "dca-plans"),
        ("admin_settings_update", "settings"),
        ("admin_metrics_update", "metrics"),
    ):
        answer = client.get(f"/api/admin/{path}", headers=admin.headers).get_json()
        assert {key: value for key, value in found[name].items() if key != "timestamp"} == answer


@pytest.mark.parametrize("role", [Role.USER, Role.SUPPORT])
def test_nobody_else_is_told_a_word(
    app: Flask, connect: Connect, make_user: MakeUser, upkeep: Upkeep, admin: Person, role: Role
) -> None:
    other = make_user(inr=1)
    give_role(app, other, role)
    socket, theirs, nobody = member(connect, other.token), member(connect, admin.token), connect()
    assert told(theirs, upkeep) != {}
    for quiet in (socket, nobody):
        assert not [name for name in quiet.names() if name.startswith("admin_")]


def test_a_demoted_admin_s_socket_is_put_out_before_it_is_told_more(
    app: Flask, connect: Connect, make_user: MakeUser, upkeep: Upkeep, admin: Person
) -> None:
    socket = member(connect, admin.token)
    give_role(app, admin, Role.USER)
    upkeep.sweep()
    assert "authentication_error" in socket.names()
    assert told(socket, upkeep) == {}


def test_a_socket_that_becomes_somebody_else_s_is_told_no_more(
    connect: Connect, make_user: MakeUser, upkeep: Upkeep, admin: Person
) -> None:
    socket = member(connect, admin.token)
    socket.authenticate(make_user(inr=1).token)
    assert told(socket, upkeep) == {}


def test_where_no_admin_is_nothing_is_read(
    connect: Connect, make_user: MakeUser, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    member(connect, make_user(inr=1).token)
    monkeypatch.setattr(news, "read_marks", lambda: pytest.fail("it was read"))
    upkeep.staff_news.look()


def test_an_event_waits_for_its_time(
    client: FlaskClient,
    connect: Connect,
    make_user: MakeUser,
    upkeep: Upkeep,
    admin: Person,
    price: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = tuple(news.News(event.name, event.load, event.depends_on, 3600) for event in news.ALL)
    monkeypatch.setattr(news, "ALL", slow)
    socket = member(connect, admin.token)
    assert set(told(socket, upkeep)) == EVENTS
    trade(client, make_user(inr=10_000))
    assert told(socket, upkeep) == {}
