"""What the clients will send and when: a function of the seed and nothing else, so that a run can be replayed."""

import random
import uuid
from dataclasses import dataclass
from typing import Any

HOT_SHARE = 0.8  # of the trades
HOT_USERS = 5
REPLAY_SHARE = 0.05
HOPELESS_SHARE = 0.02
INVALID_SHARE = 0.02

INVALID_AMOUNTS: tuple[Any, ...] = (
    "NaN",
    "-5",
    "0",
    "1e1000000",
    "Infinity",
    "1_000",
    "٣",
    True,
    1.5,
    "",
    "1e-400",
    10**30,
)


@dataclass(frozen=True, slots=True)
class Order:
    """One order of one client; sent again and again under its key until the answer is definite."""

    at_s: float  # after the drill's beginning
    user: int  # index among the drill's users
    key: str
    body: dict[str, Any]
    expects: str | None  # "executed", "refused", or None where either is right


def make_plan(
    rng: random.Random, *, users: int, trades_per_second: float, seconds: float, hot_users: int = HOT_USERS
) -> list[Order]:
    """An even schedule: most trades by few users, some replays of older keys, some that must be refused."""
    plan: list[Order] = []
    for number in range(int(trades_per_second * seconds)):
        at_s = number / trades_per_second
        if plan and rng.random() < REPLAY_SHARE:
            first = plan[rng.randrange(len(plan))]
            plan.append(Order(at_s, first.user, first.key, first.body, first.expects))
            continue
        user = rng.randrange(hot_users) if rng.random() < HOT_SHARE else rng.randrange(users)
        body, expects = _any_order(rng)
        plan.append(Order(at_s, user, new_key(rng), body, expects))
    return plan


def new_key(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def buy_for(rupees: int) -> dict[str, Any]:
    return _body("buy", "inr", rupees)


def _any_order(rng: random.Random) -> tuple[dict[str, Any], str]:
    kind = rng.random()
    if kind < HOPELESS_SHARE:
        return _body("buy", "inr", 90_000_000), "refused"
    if kind < HOPELESS_SHARE + INVALID_SHARE:
        return _body(rng.choice(["buy", "sell"]), "inr", rng.choice(INVALID_AMOUNTS)), "refused"
    return good_order(rng), "executed"


def good_order(rng: random.Random) -> dict[str, Any]:
    """A small buy or sell, in rupees or bitcoin, in any of the notations that the contract allows."""
    action, currency = rng.choice(["buy", "sell"]), rng.choice(["inr", "btc"])
    if currency == "inr":
        rupees = rng.randint(100, 5_000)
        return _body(action, currency, rng.choice([rupees, str(rupees), f"{rupees}."]))
    satoshis = rng.randint(1_000, 50_000)
    return _body(action, currency, rng.choice([f"{satoshis}e-8", f"0.{satoshis:08d}"]))


def _body(action: str, currency: str, amount: Any) -> dict[str, Any]:
    return {"action": action, "type": "market", "amount": amount, "currency": currency}
