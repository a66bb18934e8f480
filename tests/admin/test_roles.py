"""Who may use the operators' API: nobody without the role, nobody after it was taken away, and no key at all."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import create_app
from bittrade.domain.roles import Role
from bittrade.extensions import db
from bittrade.models import AuditEvent
from bittrade.services import api_keys, audit
from tests.admin.conftest import Member, give_role

DENIED = {"error": "Access denied. Admin privileges required.", "code": "admin_required"}
READS = [
    *("transactions", "dca-plans", "total-balance", "users", "users/1", "settings", "metrics", "approvals"),
    *("trading", "sources", "queues", "sockets", "exposure", "audit", "ledger"),
]


def admin_routes() -> list[tuple[str, str]]:
    found = []
    for rule in create_app().url_map.iter_rules():
        if rule.rule.startswith("/api/admin"):
            path = rule.build(dict.fromkeys(rule.arguments, 1), append_unknown=False)[1]
            found += [(method, path) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    return sorted(found)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "route" in metafunc.fixturenames:
        found = admin_routes()
        metafunc.parametrize("route", found, ids=[f"{method} {path}" for method, path in found])


def test_without_the_role_every_route_is_403_whatever_the_body(
    customer: Member, route: tuple[str, str]
) -> None:
    method, path = route
    answer = customer.ask(method, path, {} if method != "GET" else None)
    assert (answer.status_code, answer.get_json()) == (403, DENIED)


def test_support_reads_and_changes_nothing(support: Member, route: tuple[str, str]) -> None:
    method, path = route
    answer = support.ask(method, path, {} if method != "GET" else None)
    if method == "GET":
        assert answer.status_code in (200, 404)
    elif path.endswith("/notes"):
        assert answer.status_code == 400
    else:
        assert (answer.status_code, answer.get_json()) == (403, DENIED)


def test_no_answer_may_be_kept(admin: Member, route: tuple[str, str]) -> None:
    method, path = route
    if method == "GET":
        assert admin.ask(method, path).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", READS)
def test_an_admin_reads_everything(admin: Member, path: str) -> None:
    assert admin.admin("GET", path.replace("/1", f"/{admin.id}")).status_code == 200


def test_no_key_gets_in(app: Flask, admin: Member) -> None:
    with app.app_context():
        key = api_keys.create_key(admin.id, name="bot", scopes=["read", "trade"])["key"]
    answer = app.test_client().get("/api/admin/users", headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.get_json()["code"]) == (403, "insufficient_scope")


def test_a_demoted_admin_s_token_is_refused_at_once(app: Flask, admin: Member) -> None:
    assert admin.admin("GET", "users").status_code == 200
    give_role(app, admin.id, Role.SUPPORT)
    answer = admin.admin("GET", "users")
    assert (answer.status_code, answer.get_json()["code"]) == (403, "token_invalid")
    assert admin.ask("GET", "/api/balance").status_code == 403


def test_a_promotion_needs_no_new_login(app: Flask, customer: Member) -> None:
    give_role(app, customer.id, Role.SUPPORT)
    assert customer.admin("GET", "users").status_code == 200
    give_role(app, customer.id, Role.ADMIN)
    assert customer.admin("POST", "trading", {"action": "halt", "reason": "a test"}).status_code == 200


def test_the_role_is_in_login_verify_and_profile(app: Flask, admin: Member, customer: Member) -> None:
    for member, flag, role in ((admin, 1, "admin"), (customer, 0, "user")):
        credentials = {"email": member.person.email, "password": member.person.password}
        login = app.test_client().post("/api/auth/login", json=credentials).get_json()["user"]
        verified = member.own("/api/auth/verify")["user"]
        profile = member.own("/api/user/profile")["user"]
        assert login == verified == profile
        assert (profile["is_admin"], profile["role"]) == (flag, role)


def test_who_tried_without_the_role_is_in_the_audit_log(
    app: Flask, customer: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        audit, "refusals", audit.Refusals()
    )  # who was refused in tests before is counted in them
    customer.admin("GET", "users")
    with app.app_context(), db.engine.connect() as connection:
        refused = sa.select(AuditEvent.user_id).where(AuditEvent.action == "admin_refused")
        assert list(connection.scalars(refused)) == [customer.id]


def command(app: Flask, *words: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["user", *words])
    return result.exit_code, result.output


def test_the_command_gives_and_takes_a_role_with_a_reason(app: Flask, customer: Member) -> None:
    email = customer.person.email
    assert command(app, "role", email, "admin") == (0, f"{email} was user and is admin\n")
    assert customer.admin("GET", "users").status_code == 200
    assert command(app, "role", email, "user", "--why", "left us")[0] == 0
    assert customer.admin("GET", "users").status_code == 403
    with app.app_context(), db.engine.connect() as connection:
        rows = connection.execute(
            sa.select(AuditEvent.facts, AuditEvent.actor)
            .where(AuditEvent.action == "role_changed", AuditEvent.user_id == customer.id)
            .order_by(AuditEvent.id.desc())
        ).all()
    assert '"why": "left us"' in rows[0].facts
    assert rows[0].actor.startswith("operator ")


@pytest.mark.parametrize("words", [("god",), ("admin", "--why", " ")])
def test_the_command_refuses_what_is_no_role_or_no_reason(
    app: Flask, customer: Member, words: tuple[str, ...]
) -> None:
    assert command(app, "role", customer.person.email, *words)[0] != 0


def test_a_new_account_is_nobody_s_staff(app: Flask, new_member: Callable[..., Member]) -> None:
    body = {
        "email": "sly@example.com",
        "password": "a long enough pass phrase",
        "name": "Sly",
        "role": "admin",
    }
    user = app.test_client().post("/api/auth/register", json={**body, "is_admin": 1}).get_json()["user"]
    assert (user["is_admin"], user["role"]) == (0, "user")
