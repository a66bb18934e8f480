"""What a crowd's sockets have heard, held against what the clients were answered: I7. Pure; see `crowd` for the sockets."""

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from drills.crowd import Member
from drills.history import Line


def newest_seqs(lines: Iterable[Line]) -> dict[int, int]:
    """How far each user's books have come, as far as any trade's answer says."""
    newest: dict[int, int] = {}
    for line in lines:
        if line.is_acknowledged and line.body:
            newest[line.user_id] = max(newest.get(line.user_id, 0), int(line.body["seq"]))
    return newest


def out_of_step(members: Iterable[Member], newest: dict[int, int]) -> int:
    """Sockets that have not heard of their user's newest trade."""
    return sum(member.last_seq < newest.get(member.person.id, 0) for member in members if member.person)


def went_back(members: Iterable[Member]) -> int:
    """How often a balance was older than the one before it on the same client (I9)."""
    return sum(
        later < earlier for member in members for earlier, later in itertools.pairwise(member.balance_seqs)
    )


def unheard_rows(members: Iterable[Member]) -> int:
    """Transactions, between what each client knew first and what it knows last, that it was never told of."""
    return sum(
        seq not in member.rows
        for member in members
        if member.person and member.balance_seqs
        for seq in range(member.balance_seqs[0] + 1, member.last_seq + 1)
    )


def unheard_ticks(members: Sequence[Member]) -> int:
    """Prices that one was told and another was not. The first and the last ones may have come to some out of our sight."""
    told = set().union(*(member.ticks for member in members))
    inner = sorted(told)[2:-2]
    return sum(stamp not in member.ticks for member in members for stamp in inner)


def doubled_ticks(members: Iterable[Member]) -> int:
    return sum(count > 1 for member in members for count in member.ticks.values())


def slowest_word_s(members: Iterable[Member], lines: Iterable[Line], since_s: float = 0.0) -> float:
    """From a trade's answer to the moment at which the last of its user's sockets knew of it.

    Of trades that were answered at `since_s` or later; a socket that was cut meanwhile counts until it knows again.
    """
    by_user: dict[int, list[tuple[int, float]]] = {}
    for line in lines:
        if line.is_acknowledged and line.body and not line.is_replay and line.ended_s >= since_s:
            by_user.setdefault(line.user_id, []).append((int(line.body["seq"]), line.ended_s))
    slowest = 0.0
    for member in members:
        for seq, ended_s in by_user.get(member.person.id, ()) if member.person else ():
            position = bisect_left(member.balance_seqs, seq)
            if member.balance_seqs[:1] <= [seq] and position < len(member.balance_at):
                slowest = max(slowest, member.balance_at[position] - ended_s)
    return slowest


def longest_without_tick_s(members: Iterable[Member]) -> float:
    gaps = [later - earlier for member in members for earlier, later in itertools.pairwise(member.tick_at)]
    return max(gaps, default=0.0)


def ways_back_s(members: Iterable[Member]) -> list[float]:
    """For each time that a socket was cut: how long until it knew everything again."""
    return [
        back - closed
        for member in members
        for closed, back in zip(member.closed_at, member.back_at, strict=False)
    ]
