"""Orders, plans, transfers and loans under races: two web workers, and matchers and runners of this process, on one MariaDB.

Requests of one user queue up inside one process; across processes only the database decides, and that is what is tried.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import requests
import sqlalchemy as sa
from flask import Flask

from bittrade import unit_of_work
from bittrade.extensions import db, socketio
from bittrade.models import LimitOrderRow
from bittrade.services import ledger, loans, orders, plans
from tests.e2e.conftest import System, running_system
from tests.fixtures import Person, add_prices, build_app, new_user, together

LIMIT = 4_090_000  # between what a bitcoin costs at HIGH, 4,095,000 rupees, and at LOW, 4,085,900
HIGH, LOW = 45_000, 44_900


@dataclass
class House:
    """The web server with two workers, and an application of this process on the same database."""

    system: System
    app: Flask

    def ask(self, method: str, path: str, person: Person, body: object = None) -> requests.Response:
        url = f"{self.system.url}{path}"
        return requests.request(method, url, json=body, headers=person.headers, timeout=60)

    def place(self, person: Person, amount: int) -> int:
        body = {"side": "buy", "type": "limit", "limit_price": LIMIT, "amount": amount, "currency": "inr"}
        answer = self.ask("POST", "/api/orders", person, body)
        assert answer.status_code == 201, answer.text
        assert answer.json()["status"] == "OPEN"
        return int(answer.json()["id"])

    def cancel(self, person: Person, order_id: int) -> int:
        return self.ask("DELETE", f"/api/orders/{order_id}", person).status_code

    def statuses(self, order_ids: list[int]) -> dict[int, str]:
        """How these orders stand, from the database."""
        with self.app.app_context(), unit_of_work.reading() as session:
            query = sa.select(LimitOrderRow.id, LimitOrderRow.status).where(LimitOrderRow.id.in_(order_ids))
            return {row.id: row.status for row in session.execute(query)}

    def rupees(self, person: Person) -> tuple[int, int]:
        """Available and reserved, from the database."""
        with self.app.app_context(), unit_of_work.reading() as session:
            held = ledger.read_balance(session, person.id)
        return held["available_inr"], held["reserved_inr"]

    def inside(self, work: Callable[[], int]) -> int:
        with self.app.app_context():
            return work()

    def count(self, kind: str, person: Person) -> int:
        """How many transactions of a type a person has."""
        rows = self.ask("GET", f"/api/transactions?type={kind}", person).json()["transactions"]
        return len(rows)

    def verify(self) -> None:
        with self.app.app_context():
            assert ledger.verify().faults == ()


@pytest.fixture(scope="module")
def house(scratch_database: str, redis_url: str) -> Iterator[House]:
    if scratch_database.startswith("sqlite"):
        pytest.skip("needs MariaDB")  # SQLite is for one web process
    bound = socketio.server
    with running_system(scratch_database, redis_url, MAX_PRICE_AGE_S="600") as system:
        app = build_app(DATABASE_URL=scratch_database, REDIS_URL=redis_url, MAX_PRICE_AGE_S=600)
        system.start_web(workers=2)
        try:
            yield House(system, app)
        finally:
            socketio.server = bound
            with app.app_context():
                db.engine.dispose()


@pytest.fixture(autouse=True)
def _high_price(house: House) -> None:
    add_prices(house.app, HIGH)


@pytest.mark.timeout(300)
def test_cancel_against_fill_200_times_has_one_winner_and_moves_the_money_once(house: House) -> None:
    people = [new_user(house.app, inr=10_000) for _ in range(10)]
    filled = dict.fromkeys((person.id for person in people), 0)
    for _ in range(20):
        add_prices(house.app, HIGH)
        ids = together(len(people), lambda number: house.place(people[number], 100))
        add_prices(house.app, LOW)

        def race(number: int, ids: list[int] = ids) -> int:
            if number >= len(people):
                return house.inside(orders.match)
            return house.cancel(people[number], ids[number])

        *answers, one, other = together(len(people) + 2, race)
        assert set(answers) <= {200, 409}
        assert answers.count(409) == one + other  # who could not cancel was filled, by one of two matchers
        ends = house.statuses(ids)
        for person, order_id, answer in zip(people, ids, answers, strict=True):
            ended = ends[order_id]
            assert ended == ("CANCELLED" if answer == 200 else "FILLED")
            filled[person.id] += ended == "FILLED"
    for person in people:
        assert house.rupees(person) == (10_000 - 100 * filled[person.id], 0)
    house.verify()


def test_fifty_cancels_of_one_order_give_back_once(house: House) -> None:
    person = new_user(house.app, inr=1000)
    order_id = house.place(person, 1000)
    assert house.rupees(person) == (0, 1000)
    answers = together(50, lambda _: house.cancel(person, order_id))
    assert sorted(answers) == [200] + [409] * 49
    assert house.rupees(person) == (1000, 0)
    house.verify()


@pytest.mark.timeout(180)
def test_an_order_and_a_trade_cannot_have_the_same_rupees(house: House) -> None:
    trade = {"action": "buy", "type": "market", "amount": 1000, "currency": "inr"}
    order = {"side": "buy", "type": "limit", "limit_price": LIMIT, "amount": 1000, "currency": "inr"}
    for _ in range(10):
        person = new_user(house.app, inr=1000)

        def spend(number: int, person: Person = person) -> requests.Response:
            if number % 2:
                return house.ask("POST", "/api/trade", person, trade)
            return house.ask("POST", "/api/orders", person, order)

        answers = together(8, spend)
        assert sorted(answer.status_code for answer in answers) == [201] + [400] * 7
        codes = {answer.json()["code"] for answer in answers if answer.status_code == 400}
        assert codes == {"insufficient_funds"}
        available, reserved = house.rupees(person)
        (winner,) = (number for number, answer in enumerate(answers) if answer.status_code == 201)
        assert (available, reserved) == ((0, 0) if winner % 2 else (0, 1000))
    house.verify()


@pytest.mark.timeout(180)
def test_a_plan_that_is_paused_while_it_runs_ran_once_or_not_at_all(house: House) -> None:
    body = {"plan_type": "DCA_BUY", "frequency": "DAILY", "amount_per_execution_inr": 100}
    person = new_user(house.app, inr=10_000)
    executed = 0
    for _ in range(20):
        plan_id = house.ask("POST", "/api/dca-plans", person, body).json()["planId"]

        def race(number: int, plan_id: int = plan_id) -> int:
            if number:
                return house.inside(plans.run_due)
            path = f"/api/dca-plans/{plan_id}/status"
            return house.ask("PATCH", path, person, {"status": "PAUSED"}).status_code

        assert together(3, race)[0] == 200
        assert house.inside(plans.run_due) == 0  # it is paused, whoever came first
        runs = house.ask("GET", f"/api/dca-plans/{plan_id}/runs", person).json()["runs"]
        assert [run["outcome"] for run in runs] in ([], ["executed"])
        executed += len(runs)
    assert house.rupees(person) == (10_000 - 100 * executed, 0)
    house.verify()


@pytest.mark.timeout(180)
def test_users_who_send_to_each_other_at_once_see_no_deadlock(house: House) -> None:
    pair = [new_user(house.app, inr=1000) for _ in range(2)]

    def cross(number: int) -> list[int]:
        sender, recipient = pair[number % 2], pair[1 - number % 2]
        body = {"recipientEmail": recipient.email, "amount": 1 + number, "currency": "inr"}
        return [house.ask("POST", "/api/send-transaction", sender, body).status_code for _ in range(10)]

    statuses = together(8, cross)
    assert {status for row in statuses for status in row} == {200}
    to_second, to_first = 10 * (1 + 3 + 5 + 7), 10 * (2 + 4 + 6 + 8)
    assert house.rupees(pair[0]) == (1000 + to_first - to_second, 0)
    assert house.rupees(pair[1]) == (1000 + to_second - to_first, 0)
    house.verify()


@pytest.mark.timeout(180)
def test_repay_against_liquidation_never_sells_what_was_healed(house: House) -> None:
    """A fifth of the debt heals a loan at 83 %: whoever repays before the sale keeps all that they pledged."""
    kept = sold_in_all = 0
    for _ in range(3):
        add_prices(house.app, HIGH)
        people = [new_user(house.app, inr=10_000, btc=1_000_000) for _ in range(8)]
        body = {"collateral_btc": 1_000_000, "borrow_inr": 19_800}
        ids = [house.ask("POST", "/api/loans", person, body).json()["id"] for person in people]
        add_prices(house.app, 27_000)

        def race(number: int, ids: list[int] = ids, people: list[Person] = people) -> int:
            if number >= len(people):
                return house.inside(lambda: loans.watch()[0])
            path = f"/api/loans/{ids[number]}/repay"
            return house.ask("POST", path, people[number], {"amount_inr": 4_000}).status_code

        *answers, one, other = together(len(people) + 2, race)
        assert set(answers) == {200}
        sold = 0
        for person, loan_id in zip(people, ids, strict=True):
            loan = house.ask("GET", f"/api/loans/{loan_id}", person).json()
            sales = house.count("PARTIAL_LIQUIDATION", person)
            assert sales <= 1
            assert (loan["collateral_btc"] == 1_000_000) == (sales == 0)
            assert loan["ltv_pct"] < 80
            sold += sales
        assert one + other == sold
        assert house.inside(lambda: loans.watch()[0]) == 0
        kept, sold_in_all = kept + len(people) - sold, sold_in_all + sold
    assert kept + sold_in_all == 24
    house.verify()
