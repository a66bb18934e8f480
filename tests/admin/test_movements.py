"""Deposits, withdrawals and reversals by staff: at once below the limit, by a second admin above it, exactly once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import wire
from bittrade.domain.roles import Role
from bittrade.extensions import db
from bittrade.models import Approval, IdempotencyKey, Transaction
from tests.admin.conftest import LIMIT_INR, WHY, Member, give_role, verify
from tests.fixtures import together

MUCH = LIMIT_INR + 1


def ask_for_much(admin: Member, customer: Member) -> int:
    answer = admin.cash(customer, MUCH)
    assert answer.status_code == 202, answer.data
    return int(answer.get_json()["approval_id"])


def test_cash_is_deposited_and_withdrawn_in_the_later_client_s_shape(
    app: Flask, admin: Member, customer: Member
) -> None:
    told = admin.cash(customer, 500).get_json()
    assert (told["success"], told["depositedAmount"], told["newBalance"]) == (True, 500, 10_500)
    assert told["user"]["email"] == customer.person.email
    told = admin.cash(customer, "200", kind="withdraw").get_json()
    assert (told["success"], told["withdrawnAmount"], told["newBalance"]) == (True, 200, 10_300)
    assert customer.rupees() == 10_300
    verify(app)


@pytest.mark.parametrize(
    ("amount", "satoshis"), [(50_000, 50_000), (50_000.0004, 50_000), (49_999.9995, 50_000), (1e5, 100_000)]
)
def test_bitcoin_computed_as_a_float_is_rounded_to_its_satoshi(
    app: Flask, admin: Member, customer: Member, price: None, amount: float, satoshis: int
) -> None:
    told = admin.admin("POST", f"users/{customer.id}/deposit-bitcoin", {"amount": amount}).get_json()
    assert (told["depositedAmount"], told["newBalance"]) == (satoshis, 500_000 + satoshis)
    told = admin.admin("POST", f"users/{customer.id}/withdraw-bitcoin", {"amount": amount}).get_json()
    assert (told["withdrawnAmount"], told["newBalance"]) == (satoshis, 500_000)
    verify(app)


@pytest.mark.parametrize("amount", [0.5, 50_000.01, 0, -1, "x", 1e17, None, True])
def test_bitcoin_that_is_no_whole_satoshi_is_refused(
    admin: Member, customer: Member, price: None, amount: Any
) -> None:
    answer = admin.admin("POST", f"users/{customer.id}/deposit-bitcoin", {"amount": amount})
    assert answer.status_code == 400
    assert customer.own("/api/balance")["available_btc"] == 500_000


@pytest.mark.parametrize("amount", [0.5, 0, -1, "x", 1e17, None, "1e99"])
def test_cash_that_is_no_whole_rupee_is_refused(admin: Member, customer: Member, amount: Any) -> None:
    assert admin.cash(customer, amount).status_code == 400
    assert customer.rupees() == 10_000


def test_more_than_there_is_cannot_be_withdrawn(admin: Member, customer: Member) -> None:
    for amount in (10_001, MUCH):
        answer = admin.cash(customer, amount, kind="withdraw")
        assert (answer.status_code, answer.get_json()["code"]) == (400, "insufficient_funds")


def test_who_is_not_there_gets_nothing(admin: Member) -> None:
    answer = admin.admin("POST", "users/999999/deposit-cash", {"amount": 1})
    assert (answer.status_code, answer.get_json()["code"]) == (404, "user_not_found")


def test_a_movement_is_in_its_owner_s_activity_with_its_reason(admin: Member, customer: Member) -> None:
    admin.cash(customer, 500)
    event = customer.own("/api/account/activity")["events"][0]
    assert (event["action"], event["by"]) == ("deposit", "staff")
    assert event["facts"] == {"inr": 500, "satoshis": 0, "why": WHY["reason"]}
    admin.admin("POST", f"users/{customer.id}/deposit-cash", {"amount": 1})
    event = admin.get(f"audit?user_id={customer.id}")["events"][0]
    assert event["facts"]["why"] == "by the later client"
    assert event["actor"] == f"operator {admin.person.email} (user {admin.id})"


@pytest.mark.parametrize("reason", [" ", "—", "x" * 501])
def test_a_reason_that_says_nothing_is_none(admin: Member, customer: Member, reason: str) -> None:
    answer = admin.admin("POST", f"users/{customer.id}/deposit-cash", {"amount": 1, "reason": reason})
    assert answer.status_code == 400
    assert customer.rupees() == 10_000


def test_one_key_moves_money_once(app: Flask, admin: Member, second: Member, customer: Member) -> None:
    answers = together(4, lambda _: admin.cash(customer, 500, Idempotency_Key="k1"))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.get_json()["transaction_id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 3
    assert customer.rupees() == 10_500
    for other in (
        admin.cash(customer, 501, Idempotency_Key="k1"),
        second.cash(customer, 500, Idempotency_Key="k1"),
    ):
        assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")
    waiting = [admin.cash(customer, MUCH, Idempotency_Key="k2") for _ in range(2)]
    assert [answer.status_code for answer in waiting] == [202, 202]
    assert len({answer.get_json()["approval_id"] for answer in waiting}) == 1
    with app.app_context(), db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(IdempotencyKey)) == 2


def test_a_name_is_used_once(admin: Member, customer: Member) -> None:
    body = {"amount": 5, "client_order_id": "salary-1", **WHY}
    path = f"users/{customer.id}/deposit-cash"
    assert admin.admin("POST", path, body).get_json()["client_order_id"] == "salary-1"
    answer = admin.admin("POST", path, body)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "client_order_id_reused")


# --- approvals ----------------------------------------------------------------------------------------------------


def test_what_is_worth_more_waits_for_a_second_admin(
    app: Flask, admin: Member, second: Member, customer: Member
) -> None:
    answer = admin.cash(customer, MUCH)
    told = answer.get_json()
    assert (answer.status_code, told["approval"]["status"], told["approval"]["value_inr"]) == (
        202,
        "PENDING",
        MUCH,
    )
    assert customer.rupees() == 10_000
    (listed,) = second.get("approvals?status=PENDING")["approvals"]
    assert listed == told["approval"]
    assert listed["requested_by"] == {"id": admin.id, "email": admin.person.email}
    decided = second.decide(told["approval_id"]).get_json()
    assert (decided["status"], decided["decided_by"]["id"]) == ("APPROVED", second.id)
    assert decided["updated_balance"]["available_inr"] == customer.rupees() == 10_000 + MUCH
    assert second.get("approvals?status=PENDING")["approvals"] == []
    row = customer.own("/api/transactions")["transactions"][0]
    assert (row["id"], row["type"], row["inr_amount"]) == (decided["transaction_id"], "DEPOSIT_INR", MUCH)
    actions = [event["action"] for event in customer.own("/api/account/activity")["events"][:3]]
    assert actions == ["deposit", "approval_given", "approval_requested"]
    verify(app)


def test_the_limit_itself_does_not_wait(admin: Member, customer: Member) -> None:
    assert admin.cash(customer, LIMIT_INR).status_code == 200


def test_bitcoin_is_valued_at_the_current_rate(admin: Member, customer: Member, price: None) -> None:
    # 4,095,000 rupees for one bitcoin: ₹100,000 are 2,442,002.4 satoshis.
    path = f"users/{customer.id}/deposit-bitcoin"
    assert admin.admin("POST", path, {"amount": 2_442_002}).status_code == 200
    assert admin.admin("POST", path, {"amount": 2_442_003}).status_code == 202


def test_bitcoin_that_never_had_a_price_waits(admin: Member, customer: Member) -> None:
    answer = admin.admin("POST", f"users/{customer.id}/deposit-bitcoin", {"amount": 1})
    assert (answer.status_code, answer.get_json()["approval"]["value_inr"]) == (202, None)


def test_nobody_approves_what_they_asked_for(admin: Member, customer: Member) -> None:
    number = ask_for_much(admin, customer)
    for how in ("approve", "reject"):
        answer = admin.decide(number, how=how)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "own_approval")
    assert customer.rupees() == 10_000


def test_nobody_approves_for_their_own_account(admin: Member, second: Member) -> None:
    answer = second.decide(ask_for_much(admin, second))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "own_approval")


def test_the_database_refuses_one_person_in_both_parts(app: Flask, admin: Member, customer: Member) -> None:
    number = ask_for_much(admin, customer)
    change = sa.update(Approval).where(Approval.id == number).values(decided_by=admin.id)
    with app.app_context(), db.engine.begin() as connection, pytest.raises(sa.exc.DBAPIError):
        connection.execute(change)


def test_of_two_who_approve_at_once_one_does(
    app: Flask, admin: Member, customer: Member, new_member: Callable[..., Member]
) -> None:
    deciders = [new_member(Role.ADMIN) for _ in range(4)]
    number = ask_for_much(admin, customer)
    answers = together(4, lambda index: deciders[index].decide(number, how=("approve", "reject")[index % 2]))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 409, 409, 409]
    won = next(answer.get_json() for answer in answers if answer.status_code == 200)
    assert customer.rupees() == 10_000 + (MUCH if won["status"] == "APPROVED" else 0)
    for answer in answers:
        if answer.status_code == 409:
            assert (answer.get_json()["code"], answer.get_json()["approval"]["id"]) == (
                "approval_not_pending",
                number,
            )
    verify(app)


def test_what_is_rejected_is_never_done(admin: Member, second: Member, customer: Member) -> None:
    number = ask_for_much(admin, customer)
    told = second.decide(number, how="reject").get_json()
    assert (told["status"], told["decision"], told["transaction_id"]) == ("REJECTED", WHY["reason"], None)
    assert second.decide(number).status_code == 409
    assert customer.rupees() == 10_000


def test_a_withdrawal_that_is_not_covered_any_more_still_waits(
    app: Flask, admin: Member, second: Member, new_member: Callable[..., Member]
) -> None:
    rich = new_member(inr=MUCH)
    number = int(admin.cash(rich, MUCH, kind="withdraw").get_json()["approval_id"])
    assert admin.cash(rich, 1, kind="withdraw").status_code == 200
    answer = second.decide(number)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "insufficient_funds")
    assert second.get("approvals")["approvals"][0]["status"] == "PENDING"
    assert admin.cash(rich, 1).status_code == 200
    assert second.decide(number).status_code == 200
    assert rich.rupees() == 0
    verify(app)


def test_a_demoted_admin_decides_nothing(app: Flask, admin: Member, second: Member, customer: Member) -> None:
    number = ask_for_much(admin, customer)
    give_role(app, second.id, Role.USER)
    assert second.decide(number).status_code == 403
    assert customer.rupees() == 10_000


def test_what_nobody_decided_on_for_a_week_is_over(
    app: Flask, admin: Member, second: Member, customer: Member
) -> None:
    number = ask_for_much(admin, customer)
    long_ago = sa.update(Approval).values(requested_at=wire.now() - timedelta(days=8))
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(long_ago)
    assert second.decide(number).get_json()["code"] == "approval_not_pending"
    assert [row["status"] for row in second.get("approvals?status=EXPIRED")["approvals"]] == ["EXPIRED"]
    assert second.get("approvals?status=PENDING")["approvals"] == []


def test_what_is_not_there_cannot_be_decided_on(admin: Member) -> None:
    answer = admin.decide(999)
    assert (answer.status_code, answer.get_json()["code"]) == (404, "approval_not_found")


def test_a_decision_needs_a_reason(admin: Member, second: Member, customer: Member) -> None:
    number = ask_for_much(admin, customer)
    assert second.admin("POST", f"approvals/{number}/approve", {}).status_code == 400
    assert second.admin("POST", f"approvals/{number}/approve", {"reason": "…"}).status_code == 400
    assert customer.rupees() == 10_000


# --- reversals ----------------------------------------------------------------------------------------------------


def test_a_transaction_is_reversed_without_a_body(app: Flask, admin: Member, customer: Member) -> None:
    number = admin.cash(customer, 500).get_json()["transaction_id"]
    told = admin.admin("POST", f"transactions/{number}/reverse").get_json()
    assert (told["success"], told["newBalance"]) == (True, 10_000)
    again = admin.admin("POST", f"transactions/{number}/reverse", WHY)
    assert (again.status_code, again.get_json()["code"]) == (409, "already_reversed")
    verify(app)


def test_a_large_reversal_waits_and_is_done_once(
    app: Flask, admin: Member, second: Member, customer: Member
) -> None:
    number = second.decide(ask_for_much(admin, customer)).get_json()["transaction_id"]
    waiting = [admin.admin("POST", f"transactions/{number}/reverse", WHY) for _ in range(2)]
    assert [answer.status_code for answer in waiting] == [202, 202]
    first, other = (answer.get_json()["approval_id"] for answer in waiting)
    assert second.decide(first).get_json()["updated_balance"]["available_inr"] == 10_000
    answer = second.decide(other)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "already_reversed")
    with app.app_context(), db.engine.connect() as connection:
        reversals = sa.select(sa.func.count()).where(Transaction.reverses_id == number)
        assert connection.scalar(reversals) == 1
    verify(app)


def test_a_reversal_and_what_is_not_there_cannot_be_reversed(admin: Member, customer: Member) -> None:
    number = admin.cash(customer, 500).get_json()["transaction_id"]
    reversal = admin.admin("POST", f"transactions/{number}/reverse").get_json()["transaction_id"]
    answer = admin.admin("POST", f"transactions/{reversal}/reverse")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "not_reversible")
    assert admin.admin("POST", "transactions/999999/reverse").status_code == 404
