"""The sockets' short drills, end to end; and what judges them: it passes what is honest, and finds each kind of loss."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from drills import heard
from drills.crowd import Member
from drills.history import TRADE, Line
from drills.surroundings import Person
from tests.drills.short import GRACE_S, LIMIT_S, drill

NAMES = ["L3", "L6", "F1", "F2", "F4", "F9"]


@pytest.mark.needs("mariadbd")
@pytest.mark.needs("mariadb-install-db")
@pytest.mark.timeout(LIMIT_S + 2 * GRACE_S)
def test_sockets_lose_nothing_whatever_is_killed_and_whoever_comes(tmp_path: Path) -> None:
    report = drill(",".join(NAMES), tmp_path)
    assert [drill["drill"] for drill in report["drills"]] == NAMES
    kills = {drill["drill"]: drill["kills"] for drill in report["drills"]}
    assert min(kills["F1"], kills["F4"]) >= 1


# --- The judge ----------------------------------------------------------------------------------------------------

ANNE = Person(7, "token")


def honest() -> list[Member]:
    """Two clients of one user, who traded three times, and one of nobody; five ticks."""
    members = [Member(ANNE), Member(ANNE), Member(None)]
    for member in members:
        member.ticks = Counter(f"tick {number}" for number in range(7))
        member.tick_at = [float(number) for number in range(7)]
    for member in members[:2]:
        member.balance_seqs, member.balance_at = [1, 2, 3, 4], [0.5, 2.1, 3.1, 4.1]
        member.rows = {1, 2, 3, 4}
    return members


def lines() -> list[Line]:
    return [
        Line("L3", TRADE, ANNE.id, seq - 0.1, float(seq), status=201, body={"seq": seq}) for seq in (2, 3, 4)
    ]


def faults(members: list[Member]) -> dict[str, float]:
    """What the judge has to say against them."""
    newest = heard.newest_seqs(lines())
    said: dict[str, float] = {
        "out of step": heard.out_of_step(members, newest),
        "went back": heard.went_back(members),
        "unheard rows": heard.unheard_rows(members),
        "unheard ticks": heard.unheard_ticks(members),
        "doubled ticks": heard.doubled_ticks(members),
    }
    return {name: count for name, count in said.items() if count}


def test_the_judge_passes_what_is_honest() -> None:
    assert faults(honest()) == {}
    assert heard.slowest_word_s(honest(), lines()) == pytest.approx(0.1)
    assert heard.longest_without_tick_s(honest()) == 1


def lose_newest(member: Member) -> None:
    member.balance_seqs.pop()
    member.balance_at.pop()


def go_back(member: Member) -> None:
    member.balance_seqs[1:3] = [3, 2]


@pytest.mark.parametrize(
    ("tamper", "fault"),
    [
        (lose_newest, "out of step"),
        (go_back, "went back"),
        (lambda member: member.rows.remove(3), "unheard rows"),
        (lambda member: member.ticks.pop("tick 3"), "unheard ticks"),
        (lambda member: member.ticks.update(["tick 3"]), "doubled ticks"),
    ],
    ids=["a lost balance", "an old balance", "a lost transaction", "a lost price", "a doubled price"],
)
def test_the_judge_finds_what_one_client_was_not_told(tamper: Callable[[Member], object], fault: str) -> None:
    members = honest()
    tamper(members[1])
    assert fault in faults(members)


def test_the_judge_counts_the_time_that_a_word_took() -> None:
    members = honest()
    members[1].balance_at[2] = 5.5  # the trade was answered at 3.0
    assert heard.slowest_word_s(members, lines()) == pytest.approx(2.5)
    members[1].closed_at, members[1].back_at = [1.0, 4.0], [1.25, 6.0]
    assert heard.ways_back_s(members) == [0.25, 2.0]
