"""Accounts as staff sees and changes them."""

from collections.abc import Callable

import pytest
from flask import Flask

from tests.admin.conftest import WHY, Member, verify
from tests.fixtures import PASSWORD

NEW = "entirely different words"


def log_in(app: Flask, member: Member, password: str = PASSWORD) -> int:
    body = {"email": member.person.email, "password": password}
    return app.test_client().post("/api/auth/login", json=body).status_code


def test_users_are_listed_newest_first_in_the_later_client_s_shape(
    admin: Member, customer: Member, support: Member
) -> None:
    told = admin.get("users")
    assert [user["id"] for user in told["users"]] == sorted({admin.id, customer.id, support.id}, reverse=True)
    (shown,) = [user for user in told["users"] if user["id"] == customer.id]
    assert (shown["name"], shown["email"], shown["is_admin"]) == ("A Person", customer.person.email, 0)
    assert (shown["inrBalance"], shown["btcBalance"]) == (10_000, 500_000)
    assert (told["totalCount"], told["adminCount"], told["regularCount"]) == (3, 1, 2)


def test_the_list_goes_on_by_cursor(admin: Member, new_member: Callable[..., Member]) -> None:
    ids = sorted([admin.id, *(new_member().id for _ in range(4))], reverse=True)
    seen, cursor = [], ""
    for _ in range(3):
        page = admin.get(f"users?limit=2{cursor}")
        seen += [user["id"] for user in page["users"]]
        cursor = f"&before_id={page['next_before_id']}"
    assert (seen, page["hasMore"]) == (ids, False)


@pytest.mark.parametrize("search", ["email", "name", "id", "EMAIL"])
def test_a_search_finds_by_email_name_and_number(admin: Member, customer: Member, search: str) -> None:
    words = {
        "email": customer.person.email[5:12],
        "EMAIL": customer.person.email.upper(),
        "name": "person",
        "id": str(customer.id),
    }[search]
    assert customer.id in [user["id"] for user in admin.get(f"users?search={words}")["users"]]


@pytest.mark.parametrize("search", ["100%", "_", "нет", "' OR 1=1"])
def test_a_search_s_signs_mean_themselves(admin: Member, customer: Member, search: str) -> None:
    answer = admin.ask("GET", f"/api/admin/users?search={search.replace('%', '%25').replace(' ', '+')}")
    assert (answer.status_code, answer.get_json()["users"]) == (200, [])


def test_support_sees_all_that_it_needs(
    support: Member, admin: Member, customer: Member, price: None
) -> None:
    limit = {"side": "buy", "type": "limit", "limit_price": 4_000_000, "amount": "1000", "currency": "inr"}
    assert customer.ask("POST", "/api/orders", limit).status_code == 201
    support.admin("POST", f"users/{customer.id}/notes", {"note": "wrote about a lost phone"})
    told = support.get(f"users/{customer.id}")
    assert (told["user"]["email"], told["balance"]["reserved_inr"]) == (customer.person.email, 1000)
    assert [order["status"] for order in told["orders"]] == ["OPEN"]
    assert told["transactions"][0]["status"] == "PENDING"
    assert [(note["note"], note["author"]) for note in told["notes"]] == [
        ("wrote about a lost phone", support.person.email)
    ]
    assert len(told["sessions"]) == 1
    assert "id" not in told["sessions"][0]
    assert PASSWORD not in str(told)
    viewed = admin.get("audit?action=user_viewed")["events"][0]
    assert viewed["facts"] == {"about": customer.id}
    assert str(support.id) in viewed["actor"]


def test_a_note_and_a_look_are_not_in_the_owner_s_activity(support: Member, customer: Member) -> None:
    support.get(f"users/{customer.id}")
    support.admin("POST", f"users/{customer.id}/notes", {"note": "x"})
    actions = {event["action"] for event in customer.own("/api/account/activity")["events"]}
    assert actions.isdisjoint({"note_added", "user_viewed"})


@pytest.mark.parametrize("note", ["", "  ", "x" * 2001, None, 5])
def test_a_note_says_something(support: Member, customer: Member, note: object) -> None:
    assert support.admin("POST", f"users/{customer.id}/notes", {"note": note}).status_code == 400


def test_who_is_not_there_is_not_found(admin: Member) -> None:
    assert admin.admin("GET", "users/999999").status_code == 404
    for method, path, body in (
        ("POST", "notes", {"note": "x"}),
        ("POST", "enable", WHY),
        ("POST", "unlock", WHY),
        ("PUT", "password", {"password": NEW}),
    ):
        assert admin.admin(method, f"users/999999/{path}", body).status_code == 404
    assert admin.admin("DELETE", "users/999999").status_code == 404


def test_a_disabled_user_is_out_at_once_and_nothing_is_erased(
    app: Flask, admin: Member, customer: Member
) -> None:
    assert admin.admin("DELETE", f"users/{customer.id}").status_code == 200
    assert customer.ask("GET", "/api/balance").status_code == 403
    assert log_in(app, customer) == 401
    told = admin.get(f"users/{customer.id}")
    assert told["user"]["disabled_at"] is not None
    assert told["balance"]["available_inr"] == 10_000
    shut = next(event for event in told["activity"] if event["action"] == "user_disabled")
    assert shut["facts"] == {"why": "by the later client"}
    assert admin.admin("POST", f"users/{customer.id}/enable", WHY).status_code == 200
    assert log_in(app, customer) == 200
    verify(app)


def test_a_new_password_ends_the_old_tokens(app: Flask, admin: Member, customer: Member) -> None:
    assert admin.admin("PUT", f"users/{customer.id}/password", {"password": NEW}).status_code == 200
    assert customer.ask("GET", "/api/balance").status_code == 403
    assert (log_in(app, customer), log_in(app, customer, NEW)) == (401, 200)
    assert admin.get(f"audit?user_id={customer.id}&action=password_reset")["events"][0]["by"] == "staff"


def test_a_weak_password_is_refused_in_error_and_message(admin: Member, customer: Member) -> None:
    answer = admin.admin("PUT", f"users/{customer.id}/password", {"password": "bittrade for ever"})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "weak_password")
    assert answer.get_json()["message"] == answer.get_json()["error"]


def test_staff_is_changed_by_the_command_alone(
    app: Flask, admin: Member, second: Member, support: Member
) -> None:
    """Who could give another admin a new password could approve what they asked for themselves."""
    for member in (second, support, admin):
        for answer in (
            admin.admin("PUT", f"users/{member.id}/password", {"password": NEW}),
            admin.admin("DELETE", f"users/{member.id}"),
        ):
            assert (answer.status_code, answer.get_json()["code"]) == (409, "staff_account")
    assert log_in(app, second) == 200
    result = app.test_cli_runner().invoke(args=["user", "disable", second.person.email])
    assert result.exit_code == 0
    assert second.admin("GET", "users").status_code == 403


def test_locks_are_seen_and_lifted(
    app: Flask, admin: Member, customer: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "LOGIN_FAILURES_BEFORE_LOCK", 1)
    log_in(app, customer, "wrong words altogether")
    assert log_in(app, customer) == 429
    assert any(lock["locked_until"] for lock in admin.get(f"users/{customer.id}")["locks"])
    assert admin.admin("POST", f"users/{customer.id}/unlock", WHY).status_code == 200
    assert log_in(app, customer) == 200


def test_the_profile_is_changed_in_the_later_client_s_shape(app: Flask, customer: Member) -> None:
    path, current = "/api/user/profile", {"currentPassword": PASSWORD}
    told = customer.ask("PUT", f"{path}/name", {"name": "Asha", **current}).get_json()
    assert (type(told["message"]), told["name"]) == (str, "Asha")
    told = customer.ask("PUT", f"{path}/email", {"email": "asha@example.com", **current}).get_json()
    assert (type(told["message"]), told["email"]) == (str, "asha@example.com")
    words = {"newPassword": NEW, "confirmPassword": "other words entirely"}
    assert customer.ask("PUT", f"{path}/password", {**words, **current}).status_code == 400
    words["confirmPassword"] = NEW
    assert customer.ask("PUT", f"{path}/password", {**words, "currentPassword": "wrong"}).status_code == 401
    assert customer.ask("PUT", f"{path}/password", {**words, **current}).status_code == 200
    user = customer.own(path)["user"]
    assert (user["name"], user["email"], user["is_admin"]) == ("Asha", "asha@example.com", 0)
