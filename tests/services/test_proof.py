"""The proof as such: where it begins, that it ends, what it leaves behind, and who hears when it does not end."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from bittrade import unit_of_work, wire
from bittrade.domain.proof import Row, UserBooks
from bittrade.errors import InvalidInput
from bittrade.extensions import db
from bittrade.jobs import ledger as jobs
from bittrade.models import Balance, LedgerCheckpoint, LedgerLeg, LedgerProof, TradedPrice
from bittrade.services import doctor, funds, halt, health, ledger
from bittrade.services.funds import Funds
from bittrade.services.ledger import ranges
from bittrade.services.market import retention
from tests.fixtures import Person, new_user, set_price
from tests.services.test_ledger import ORDER, run, trader

__all__ = ["trader"]  # a fixture


def backdate(**columns: timedelta) -> None:
    """Make the newest proof older than it is."""
    values = {name: wire.now() - age for name, age in columns.items()}
    newest = sa.select(sa.func.max(LedgerProof.id)).scalar_subquery()
    with db.engine.begin() as connection:
        number = connection.scalar(sa.select(newest))
        connection.execute(sa.update(LedgerProof).where(LedgerProof.id == number).values(**values))


# --- Checkpoints --------------------------------------------------------------------------------------------------


def test_a_recent_proof_reads_only_what_came_after_the_last_one(on_both_databases: Flask) -> None:
    with on_both_databases.app_context():
        users = [new_user(on_both_databases, inr=1000) for _ in range(3)]
        assert ledger.verify_recent().transactions == 3
        assert ledger.verify_recent().transactions == 0
        funds.deposit(users[1].id, Funds(5, 0))
        proof = ledger.verify_recent()
        assert (proof.transactions, proof.balances, proof.faults, proof.kind) == (1, 3, (), "recent")
        assert ledger.verify().transactions == 4


def test_a_proof_that_found_faults_moves_no_checkpoint(inside: Flask, trader: Person) -> None:
    run(sa.update(Balance).where(Balance.user_id == trader.id).values(available_inr=1))
    assert ledger.verify().faults
    with db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(LedgerCheckpoint)) == 0


def test_a_checkpoint_that_was_tampered_with_is_found_by_the_whole_proof(
    inside: Flask, trader: Person
) -> None:
    assert ledger.verify().is_right
    run(sa.update(LedgerCheckpoint).where(LedgerCheckpoint.user_id == trader.id).values(link="0" * 64))
    assert any("the last proof" in fault for fault in ledger.verify().faults)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_ranges_of_any_size_come_to_the_same(
    inside: Flask, trader: Person, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(ranges, "ROWS", rows)
    recent, whole = ledger.verify_recent(), ledger.verify()
    assert (recent.transactions, recent.faults, recent.legs) == (whole.transactions, (), whole.legs)


def test_a_range_that_is_too_long_for_one_text_is_read_row_by_row(
    on_both_databases: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_of_work, "PROOF_TEXT_BYTES", 1024)
    with on_both_databases.app_context():
        set_price(on_both_databases)
        user = new_user(on_both_databases, inr=5000)
        client = on_both_databases.test_client()
        for _ in range(4):
            assert client.post("/api/trade", json=ORDER, headers=user.headers).status_code == 201
        proof = ledger.verify()
        assert (proof.transactions, proof.legs, proof.faults) == (5, 18, ())


def test_legs_that_lie_far_apart_are_all_read(inside: Flask, trader: Person) -> None:
    with db.engine.connect() as connection:
        first = connection.scalar(sa.select(sa.func.min(LedgerLeg.id)))
    run(sa.update(LedgerLeg).where(LedgerLeg.id == first).values(id=10**6))
    proof = ledger.verify()
    assert (proof.legs, proof.faults) == (16, ())


# --- It ends, or says that it did not -----------------------------------------------------------------------------


def test_a_proof_that_takes_too_long_is_unfinished_and_no_success(
    inside: Flask, trader: Person, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = ledger.verify(run_s=0)
    assert (unfinished.is_complete, unfinished.is_right) == (False, False)
    monkeypatch.setattr(ledger, "verify", lambda: unfinished)
    with caplog.at_level(logging.CRITICAL):
        assert jobs.verify_whole().startswith("UNFINISHED")
    assert "the proof did not end in its time" in caplog.text
    assert "none has ended" in caplog.text


def test_an_unfinished_proof_is_an_alarm_in_log_health_and_doctor(
    inside: Flask, trader: Person, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ledger.verify_recent().is_right
    assert ledger.find_standing().state == "right"
    backdate(ended_at=timedelta(minutes=65))
    funds.deposit(trader.id, Funds(1, 0))
    ledger.verify_recent(run_s=0)  # as if it had been killed
    assert not ledger.find_standing().is_alarm  # it may still be running
    backdate(began_at=timedelta(minutes=6))
    monkeypatch.setattr(health, "_memory", health._Memory())
    report = health.check()
    assert (report["status"], report["ledger_proof"]) == ("DEGRADED", "unfinished")
    assert 65 * 60_000 <= report["ledger_proof_age_ms"] < 75 * 60_000
    assert any("books is unfinished" in finding.fault for finding in doctor.examine())
    with caplog.at_level(logging.ERROR):
        halt.verify_or_halt(is_whole=False)
    assert "the proof of the books is unfinished; the last ended 39" in caplog.text
    assert ledger.find_standing().state == "right"


def test_a_proof_that_has_not_run_for_long_is_late_and_faults_are_wrong(
    inside: Flask, trader: Person
) -> None:
    assert ledger.find_standing().state == "none"
    ledger.verify_recent()
    backdate(began_at=timedelta(hours=4), ended_at=timedelta(hours=4))
    assert ledger.find_standing().state == "late"
    run(sa.update(Balance).where(Balance.user_id == trader.id).values(available_inr=1))
    ledger.verify_recent()
    assert ledger.find_standing().state == "wrong"


def test_the_server_itself_ends_a_statement_of_a_proof_that_takes_too_long(
    databases: object, mariadb_url: str
) -> None:
    with databases(mariadb_url).app.app_context(), unit_of_work.proving() as session:  # type: ignore[operator]
        limit = session.scalar(sa.text("SELECT @@SESSION.max_statement_time"))
        assert 0 < float(limit) <= unit_of_work.PROOF_STATEMENT_S


# --- The chain ----------------------------------------------------------------------------------------------------


def test_posting_goes_on_with_the_chain_and_the_backfill_makes_the_same(on_both_databases: Flask) -> None:
    with on_both_databases.app_context():
        set_price(on_both_databases)
        user = new_user(on_both_databases, inr=5000, btc=7)
        client = on_both_databases.test_client()
        assert client.post("/api/trade", json=ORDER, headers=user.headers).status_code == 201
        posted = list(ledger.write_digest())[1]
        run(sa.update(Balance).values(chain="", chain_seq=0))
        assert ledger.list_unchained() == [user.id]
        result = on_both_databases.test_cli_runner().invoke(args=["ledger", "chain"])
        assert "of 1 users chained" in result.output
        assert list(ledger.write_digest())[1] == posted
        assert ledger.verify().is_right


def test_a_chain_that_an_older_process_left_behind_waits_for_its_backfill(
    inside: Flask, trader: Person
) -> None:
    run(sa.update(Balance).values(chain_seq=2))
    funds.deposit(trader.id, Funds(1, 0))
    with db.engine.connect() as connection:
        assert connection.scalar(sa.select(Balance.chain_seq)) == 2
    assert any("not chained" in finding.fault for finding in doctor.examine())


def test_a_digest_is_compared_and_a_damaged_one_refused(
    inside: Flask, trader: Person, tmp_path: Path
) -> None:
    runner = inside.test_cli_runner()
    kept = tmp_path / "digest"
    kept.write_text(runner.invoke(args=["ledger", "digest"]).output)
    funds.deposit(trader.id, Funds(1, 0))
    assert "the books are right" in runner.invoke(args=["ledger", "verify", "--against", str(kept)]).output
    lines = kept.read_text().splitlines(keepends=True)
    changed = [lines[0], lines[1].upper(), *lines[2:]]
    for damaged in (lines[:-1], [lines[0], *lines[2:]], changed, []):
        with pytest.raises(InvalidInput):
            ledger.read_digest(damaged)


def test_the_daily_digest_is_in_the_audit_log(inside: Flask, trader: Person) -> None:
    assert jobs.digest().startswith("sha256 ")


def row(number: int, seq: int, created_at: str) -> Row:
    return Row(
        number,
        1,
        seq,
        "DEPOSIT_INR",
        "EXECUTED",
        0,
        1,
        created_at,
        created_at,
        None,
        None,
        None,
        None,
        (),
        str(number),
    )


def test_rows_may_come_in_any_order_and_halves_of_one_deposit_may_have_later_ids() -> None:
    rows = [row(1, 1, "a"), row(9, 2, "a"), row(3, 3, "b")]
    forward, backward = UserBooks(1), UserBooks(1)
    for one in rows:
        forward.add(one)
    for one in reversed(rows):
        backward.add(one)
    assert (forward.link, forward.faults) == (backward.link, [])


def test_a_gap_in_the_numbers_and_what_lies_beyond_it_are_told() -> None:
    whole, gap, short = UserBooks(1), UserBooks(1), UserBooks(1)
    for number in (1, 2, 3):
        whole.add(row(number, number, str(number)))
    for number in (1, 3):
        gap.add(row(number, number, str(number)))
    short.add(row(1, 1, "1"))
    balance = {"seq": 3}
    assert [*whole.close(balance)] == []
    said = "user 1: the transactions are numbered 1 to 1"
    assert [*gap.close(balance)] == [f"{said} and 1 beyond a gap, the balance says 3"]
    assert [*short.close(balance)] == [f"{said}, the balance says 3"]


def test_two_rows_whose_numbers_were_swapped_are_out_of_order() -> None:
    books = UserBooks(1)
    for one in (row(3, 1, "b"), row(1, 2, "a")):
        books.add(one)
    assert books.faults == ["transaction 1: it stands after 3"]


# --- The prices of receipts ---------------------------------------------------------------------------------------


def test_a_price_that_a_receipt_names_is_never_thinned_out(inside: Flask, trader: Person) -> None:
    ledger.verify_recent()
    with db.engine.connect() as connection:
        (named,) = connection.scalars(sa.select(TradedPrice.price_id))
    assert retention._delete([named]) == 0
    assert ledger.verify().is_right
